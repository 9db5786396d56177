// Finds the charts of a page and draws each with its own module.

import { save } from "../tables.js";

const modules = {
  trend: () => import("./trend.js"),
  map: () => import("./map.js"),
  bubbles: () => import("./bubbles.js"),
  live: () => import("./live.js"),
};
const drawn = new Map();

export async function mountCharts(root) {
  for (const element of root.querySelectorAll("[data-chart]:not([data-drawn])")) {
    element.dataset.drawn = "";
    const figures = JSON.parse(element.querySelector("script[type='application/json']").textContent);
    const plot = element.querySelector(".plot");
    const { draw } = await modules[element.dataset.chart]();
    drawn.set(element, await draw(plot, figures, element));
  }
}

/** Frees the charts whose elements have left the page. */
export function forgetDetached() {
  for (const [element, picture] of drawn) {
    if (document.contains(element)) continue;
    picture.dispose();
    drawn.delete(element);
  }
}

export function downloadPicture(button) {
  const element = button.closest(".panel").querySelector("[data-chart]");
  const { chart } = drawn.get(element);
  const background = getComputedStyle(button.closest(".panel")).backgroundColor;
  fetchPicture(chart.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: background }), button.dataset.file);
}

/** A data: address may not be fetched under connect-src 'self', so it is decoded here. */
function fetchPicture(address, name) {
  const bytes = Uint8Array.from(atob(address.split(",")[1]), (c) => c.charCodeAt(0));
  save(new Blob([bytes], { type: "image/png" }), `${name || "chart"}.png`);
}
