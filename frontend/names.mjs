// Names of countries and areas in English and Japanese, from Unicode CLDR (short forms where CLDR has one).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const LANGUAGES = ["en", "ja"];
// Codes that CLDR names but that are not places an address can be registered in.
const NOT_PLACES = new Set(["EU", "EZ", "UN", "QO", "XA", "XB", "ZZ"]);

function readJson(path) {
  return JSON.parse(readFileSync(require.resolve(path), "utf8"));
}

function territories(language) {
  return readJson(`cldr-localenames-full/main/${language}/territories.json`)
    .main[language].localeDisplayNames.territories;
}

/** @returns {Map<string, {en: string, ja: string}>} by ISO 3166-1 alpha-2 (and XK). */
export function readNames() {
  const tables = LANGUAGES.map((language) => territories(language));
  const codes = Object.keys(tables[0]).filter((code) => /^[A-Z]{2}$/.test(code) && !NOT_PLACES.has(code));
  const shortOnly = new Set(["HK", "MO", "PS"]);
  const nameIn = (table, code) => (shortOnly.has(code) && table[`${code}-alt-short`]) || table[code];
  return new Map(codes.sort().map((code) => [code, { en: nameIn(tables[0], code), ja: nameIn(tables[1], code) }]));
}

/** @returns {Map<string, string>} ISO 3166-1 numeric (three digits) to alpha-2. */
export function readNumericCodes() {
  const mappings = readJson("cldr-core/supplemental/codeMappings.json").supplemental.codeMappings;
  const pairs = Object.entries(mappings).filter(([code, m]) => /^[A-Z]{2}$/.test(code) && m._numeric);
  return new Map(pairs.map(([code, m]) => [m._numeric, code]));
}
