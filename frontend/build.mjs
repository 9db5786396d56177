// Builds everything third-party that the portal ships, and writes where each file came from.
// Run by `frontend/build.sh` (make vendor). The result is committed, so installing needs no Node.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { readNames, readNumericCodes } from "./names.mjs";
import { buildWorldMap } from "./world-map.mjs";

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const portal = join(here, "..", "src", "teiten", "portal");
const vendor = join(portal, "static", "vendor");
const written = [];

function packageOf(name) {
  const folder = join(here, "node_modules", name);
  return { folder, ...JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) };
}

function write(path, content, { source, licence }) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  const sha256 = createHash("sha256").update(content).digest("hex");
  written.push({ path: relative(portal, path), source, licence, sha256 });
}

function copyLicence(name, file, folder) {
  cpSync(join(packageOf(name).folder, file), join(folder, `LICENSE.${name.replaceAll("/", "-")}.txt`));
}

/** The manifest storage would look for the map file that a source map comment names. */
function withoutSourceMap(text) {
  return text.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");
}

function vendorHtmx() {
  const htmx = packageOf("htmx.org");
  const folder = join(vendor, `htmx-${htmx.version}`);
  const text = readFileSync(join(htmx.folder, "dist", "htmx.min.js"), "utf8");
  write(join(folder, "htmx.min.js"), withoutSourceMap(text), { source: `npm htmx.org@${htmx.version}`, licence: "0BSD" });
  copyLicence("htmx.org", "LICENSE", folder);
}

async function vendorEcharts() {
  const echarts = packageOf("echarts");
  const folder = join(vendor, `echarts-${echarts.version}`);
  const result = await build({
    entryPoints: [join(here, "echarts-entry.js")], bundle: true, minify: true, format: "esm",
    target: "es2022", write: false, legalComments: "none", define: { "process.env.NODE_ENV": '"production"' },
  });
  const source = `npm echarts@${echarts.version} with zrender@${packageOf("zrender").version}, custom bundle (frontend/echarts-entry.js)`;
  write(join(folder, "echarts.min.js"), result.outputFiles[0].text, { source, licence: "Apache-2.0, BSD-3-Clause (zrender), 0BSD (tslib)" });
  copyLicence("echarts", "LICENSE", folder);
  copyLicence("zrender", "LICENSE", folder);
  copyLicence("tslib", "LICENSE.txt", folder);
}

function vendorWorld(names) {
  const atlas = packageOf("world-atlas");
  const world = buildWorldMap(names, readNumericCodes());
  write(join(vendor, `world-atlas-${atlas.version}`, "world.json"), JSON.stringify(world), {
    source: `npm world-atlas@${atlas.version}, countries-50m (Natural Earth 1:50m), projected by frontend/world-map.mjs; names from Unicode CLDR`,
    licence: "public domain (data), ISC (package), Unicode-3.0 (names)",
  });
  copyLicence("world-atlas", "LICENSE", join(vendor, `world-atlas-${atlas.version}`));
}

function vendorNames(names) {
  const cldr = packageOf("cldr-localenames-full");
  const rows = [...names].map(([code, { en, ja }]) => [code, en, ja].join("\t"));
  write(join(portal, "naming", "countries.tsv"), `code\ten\tja\n${rows.join("\n")}\n`, {
    source: `npm cldr-localenames-full@${cldr.version} (Unicode CLDR)`, licence: "Unicode-3.0",
  });
  cpSync(join(packageOf("cldr-core").folder, "LICENSE"), join(portal, "naming", "LICENSE.cldr.txt"));
}

/** The accessibility checker of the browser tests: never served, never in the wheel. */
function vendorAxe() {
  const axe = packageOf("axe-core");
  const folder = join(here, "..", "tests", "acceptance", "vendor", `axe-core-${axe.version}`);
  const text = withoutSourceMap(readFileSync(join(axe.folder, "axe.min.js"), "utf8"));
  write(join(folder, "axe.min.js"), text, { source: `npm axe-core@${axe.version}`, licence: "MPL-2.0" });
  copyLicence("axe-core", "LICENSE", folder);
}

function writeRecord() {
  const lines = written.map((w) => `| \`${w.path}\` | ${w.source} | ${w.licence} | \`${w.sha256}\` |`);
  writeFileSync(join(vendor, "VENDORED.md"), [
    "# Third-party files of the portal", "",
    "Written by `make vendor` (`frontend/build.sh`); do not edit by hand. Paths are below `src/teiten/portal/`.", "",
    "| file | source | licence | sha256 |", "|---|---|---|---|", ...lines, "",
  ].join("\n"));
}

rmSync(vendor, { recursive: true, force: true });
const names = readNames();
vendorHtmx();
await vendorEcharts();
vendorWorld(names);
vendorNames(names);
vendorAxe();
writeRecord();
for (const { path, sha256 } of written) console.log(sha256.slice(0, 12), path);
