// Dragging over a chart chooses a part of the period; letting go asks for just that part.

import { echarts } from "./canvas.js";
import { readTokens, fade } from "../theme.js";

const SMALLEST_PX = 6;

/** Undoes the "wall clock read as UTC" of the chart: the server reads the text in its own zone. */
function wallText(ms) {
  return new Date(ms).toISOString().slice(0, 16);
}

function addressOf(element, from, to) {
  const address = new URL(element.dataset.zoom, location.href);
  address.searchParams.set("period", "custom");
  address.searchParams.set("start", wallText(from));
  address.searchParams.set("end", wallText(to));
  return address;
}

export function watchBrush(chart, plot, element, figures) {
  const paper = chart.getZr();
  let startedAt = null;
  let shade = null;
  const valueAt = (x) => chart.convertFromPixel({ xAxisIndex: 0 }, x);
  const clear = () => { if (shade) paper.remove(shade); shade = null; startedAt = null; };

  paper.on("mousedown", (event) => {
    if (!chart.containPixel({ gridIndex: 0 }, [event.offsetX, event.offsetY])) return;
    startedAt = event.offsetX;
  });
  paper.on("mousemove", (event) => {
    if (startedAt === null) return;
    const { accent } = readTokens(["accent"]);
    if (shade) paper.remove(shade);
    const box = { x: Math.min(startedAt, event.offsetX), y: 12, width: Math.abs(event.offsetX - startedAt), height: plot.clientHeight - 74 };
    shade = new echarts.graphic.Rect({ shape: box, style: { fill: fade(accent, 0.1), stroke: accent }, z: 100, silent: true });
    paper.add(shade);
  });
  paper.on("mouseup", (event) => {
    if (startedAt === null) return;
    const [left, right] = [startedAt, event.offsetX].sort((a, b) => a - b);
    clear();
    if (right - left < SMALLEST_PX) return;
    const from = Math.max(figures.starts[0], Math.floor(valueAt(left) / 60_000) * 60_000);
    const to = Math.min(figures.end, Math.ceil(valueAt(right) / 60_000) * 60_000);
    if (to > from) location.assign(addressOf(element, from, to));
  });
  paper.on("globalout", clear);
}
