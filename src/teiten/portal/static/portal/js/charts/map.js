// Where packets come from: a choropleth on a map that was projected when the assets were built, with circles for
// territories too small to see. Classes are logarithmic; a territory without packets is drawn, and says so.

import { drawChart, echarts } from "./canvas.js";
import { language, shortNumber } from "./axes.js";

const CLASSES = 6;
let world = null;

async function loadWorld(address) {
  if (world) return world;
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`the map was not found: ${answer.status}`);
  world = await answer.json();
  echarts.registerMap("world", { type: "FeatureCollection", features: world.features });
  return world;
}

/** Class 1-6 on a logarithmic scale between the least and the most; 0 is "none seen". */
export function classOf(value, low, high) {
  if (!value) return 0;
  if (high <= low) return CLASSES;
  const share = Math.log(value / low) / Math.log(high / low);
  return Math.min(CLASSES, 1 + Math.floor(Math.max(0, share) * CLASSES));
}

function build(figures, tokens, size) {
  const colourOf = (value) => tokens[`seq-${classOf(value, figures.low, figures.high)}`];
  const border = { borderColor: tokens["surface-1"], borderWidth: 0.6 };
  const regions = figures.values.map(([code, value]) => ({
    name: code, itemStyle: { areaColor: colourOf(value), ...border }, emphasis: { itemStyle: { areaColor: colourOf(value) } },
  }));
  const known = new Map(figures.values);
  const nameOf = new Map([...world.features.map((f) => f.properties), ...world.markers].map((p) => [p.code, p[language()] ?? p.code]));
  const scale = size.width / world.width;
  const describe = ({ name }) => (nameOf.has(name) ? `${nameOf.get(name)} ${name}\n${figures.words.metric} ${known.has(name) ? shortNumber(known.get(name)) : figures.words.none}` : "");
  return {
    tooltip: { trigger: "item", formatter: describe },
    geo: {
      map: "world", nameProperty: "code", roam: false, left: 0, right: 0, top: 0, bottom: 0, boundingCoords: [[0, 0], [world.width, world.height]],
      projection: { project: (point) => point, unproject: (point) => point },
      itemStyle: { areaColor: tokens["seq-0"], borderColor: tokens["line-2"], borderWidth: 0.5 },
      emphasis: { label: { show: false }, itemStyle: { areaColor: tokens["seq-0"], borderColor: tokens["ink-1"], borderWidth: 1.2 } },
      select: { disabled: true }, label: { show: false }, regions, tooltip: { show: true, formatter: describe },
    },
    series: [
      {
        type: "scatter", coordinateSystem: "geo", symbolSize: Math.max(5, Math.min(9, 8 * scale)), z: 4,
        data: world.markers.filter((m) => known.has(m.code)).map((m) => ({
          name: m.code, value: [...m.at, known.get(m.code)],
          itemStyle: { color: colourOf(known.get(m.code)), borderColor: tokens["surface-1"], borderWidth: 1 },
        })),
      },
    ],
  };
}

export async function draw(plot, figures, element) {
  await loadWorld(element.dataset.map);
  plot.style.aspectRatio = `${world.width} / ${world.height}`;
  const go = ({ name }) => { if (figures.links[name]) location.assign(figures.links[name]); };
  return drawChart(plot, (tokens, size) => build(figures, tokens, size), { events: { click: go } });
}
