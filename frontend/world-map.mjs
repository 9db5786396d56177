// Natural Earth 1:50m (npm `world-atlas`, ISC; data in the public domain) as a planar, Pacific-centred map.
//
// Projected here and not in the browser: ECharts draws longitudes as they come, so that Russia and Fiji
// would be streaked across the map at the antimeridian. The data show borders de facto; npm offers no
// other point of view, so the places where Japan's view differs are moved below, each by name.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { geoNaturalEarth1, geoCentroid, geoPath } from "d3-geo";
import { geoProject } from "d3-geo-projection";
import * as client from "topojson-client";
import { topology } from "topojson-server";
import { presimplify, simplify, filter, filterWeight } from "topojson-simplify";

const WIDTH = 1000;
const MARKER_BELOW_AREA = 14; // square units of a map 1000 wide: smaller is not seen as a surface
const SIMPLIFY_WEIGHT = 0.035;
const require = createRequire(import.meta.url);

/** Polygons of one territory, inside [west, south, east, north], that Japan's view gives to another. */
const MOVES = [
  { from: "RU", to: "JP", box: [145.2, 43.3, 149.2, 45.7], what: "Northern Territories" },
  { from: "RU", to: "UA", box: [32.3, 44.2, 36.7, 46.3], what: "Crimea" },
];
/** Names without an ISO number, and the code each is drawn with ("" = no figures are ever shown). */
const WITHOUT_NUMBER = { Kosovo: "XK", Somaliland: "SO", "N. Cyprus": "CY", "Indian Ocean Ter.": "AU", "Siachen Glacier": "" };

function codeOf(geometry, codes) {
  return geometry.id ? codes.get(geometry.id) : WITHOUT_NUMBER[geometry.properties.name];
}

function polygonsOf(geometry) {
  return geometry.type === "Polygon" ? [geometry.arcs] : geometry.arcs;
}

function isInside([lon, lat], [west, south, east, north]) {
  return lon >= west && lon <= east && lat >= south && lat <= north;
}

function ownerOf(atlas, code, arcs) {
  const centre = geoCentroid(client.feature(atlas, { type: "Polygon", arcs }));
  return MOVES.find((move) => move.from === code && isInside(centre, move.box))?.to ?? code;
}

function groupByTerritory(atlas, codes) {
  const groups = new Map();
  for (const geometry of atlas.objects.countries.geometries) {
    const code = codeOf(geometry, codes);
    if (code === undefined) throw new Error(`no code for ${geometry.properties.name}`);
    if (code === "AQ") continue;
    for (const arcs of polygonsOf(geometry)) {
      const owner = ownerOf(atlas, code, arcs);
      groups.set(owner, [...(groups.get(owner) ?? []), { type: "Polygon", arcs }]);
    }
  }
  return groups;
}

function mergeTerritories(atlas, codes) {
  return [...groupByTerritory(atlas, codes)].map(([code, polygons]) => ({
    type: "Feature", properties: { code }, geometry: client.merge(atlas, polygons),
  }));
}

function simplifyFeatures(features) {
  const built = presimplify(topology({ world: { type: "FeatureCollection", features } }, 1e5));
  const light = filter(simplify(built, SIMPLIFY_WEIGHT), filterWeight(built, SIMPLIFY_WEIGHT));
  return client.feature(light, light.objects.world).features;
}

function roundRing(ring) {
  const points = ring.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
  return points.filter((point, i) => i === 0 || point[0] !== points[i - 1][0] || point[1] !== points[i - 1][1]);
}

function roundFeature(feature) {
  const { type, coordinates } = feature.geometry;
  const polygons = (type === "Polygon" ? [coordinates] : coordinates)
    .map((rings) => rings.map(roundRing).filter((ring) => ring.length > 3)).filter((rings) => rings.length);
  return { ...feature, geometry: { type: "MultiPolygon", coordinates: polygons } };
}

/** @returns {{features: object[], markers: object[], width: number, height: number}} */
export function buildWorldMap(names, codes) {
  const atlas = JSON.parse(readFileSync(require.resolve("world-atlas/countries-50m.json"), "utf8"));
  const merged = { type: "FeatureCollection", features: mergeTerritories(atlas, codes) };
  const projection = geoNaturalEarth1().rotate([-150, 0]).fitWidth(WIDTH, merged);
  const planar = geoProject(merged, projection).features.filter((f) => f.geometry);
  const flat = geoPath();
  const height = Math.ceil(flat.bounds({ type: "FeatureCollection", features: planar })[1][1]);
  const named = (code) => ({ code, name: code, ...names.get(code) });
  const markers = planar.filter((f) => f.properties.code && flat.area(f) < MARKER_BELOW_AREA)
    .map((f) => ({ ...named(f.properties.code), at: flat.centroid(f).map((v) => Math.round(v * 10) / 10) }));
  const features = simplifyFeatures(planar).filter((f) => f.geometry).map(roundFeature)
    .filter((f) => f.geometry.coordinates.length)
    .map((f) => ({ type: "Feature", properties: named(f.properties.code), geometry: f.geometry }));
  return { type: "FeatureCollection", width: WIDTH, height, markers, features };
}
