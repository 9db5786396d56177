// The last minute, second by second; the page asks for new figures and hands them over.

import { drawChart, hatchPattern } from "./canvas.js";
import { fade } from "../theme.js";
import { clockText, shortNumber, timeAxis, valueAxis } from "./axes.js";

function build(figures, tokens, size) {
  const end = figures.starts.at(-1) + figures.step;
  const isPending = (i) => figures.pendingFrom !== null && figures.starts[i] + figures.step > figures.pendingFrom;
  const hosts = figures.hosts.map((value, i) => [figures.starts[i] + figures.step / 2, isPending(i) && !value ? null : value]);
  const veil = figures.pendingFrom === null ? [] : [[{ xAxis: figures.pendingFrom, itemStyle: { color: hatchPattern(tokens), opacity: 0.6 } }, { xAxis: end }]];
  return {
    grid: { left: 52, right: 12, top: 12, bottom: 28 },
    xAxis: timeAxis(tokens, { start: figures.starts[0], end, width: size.width - 64 }),
    yAxis: valueAxis(tokens, { minInterval: 1 }),
    tooltip: {
      trigger: "axis", axisPointer: { type: "line", lineStyle: { color: tokens["ink-3"] } },
      formatter: ([first]) => {
        const i = Math.max(0, Math.floor((first.axisValue - figures.starts[0]) / figures.step));
        return `${clockText(figures.starts[i], true)}\n${figures.words.packets}  ${shortNumber(figures.packets[i])}\n${figures.words.hosts}  ${shortNumber(figures.hosts[i])}${isPending(i) ? `\n${figures.words.pending}` : ""}`;
      },
    },
    series: [
      { type: "custom", data: figures.packets.map((value, i) => [figures.starts[i], value]), z: 2,
        renderItem(_, api) {
          const [left, top] = api.coord([api.value(0), api.value(1)]);
          const [right, bottom] = api.coord([api.value(0) + figures.step, 0]);
          return { type: "rect", shape: { x: left + 0.5, y: top, width: Math.max(1, right - left - 1), height: bottom - top }, style: { fill: fade(tokens["series-1"], 0.75) } };
        } },
      { type: "line", data: hosts, symbol: "none", z: 3, lineStyle: { color: tokens["series-2"], width: 1.75 }, emphasis: { disabled: true },
        connectNulls: false, markArea: { silent: true, animation: false, data: veil } },
    ],
  };
}

export function draw(plot, figures) {
  let newest = figures;
  const picture = drawChart(plot, (tokens, size) => build(newest, tokens, size));
  const take = (event) => { newest = { ...newest, ...event.detail }; picture.redraw(); };
  document.addEventListener("teiten:live", take);
  return { ...picture, dispose() { document.removeEventListener("teiten:live", take); picture.dispose(); } };
}
