// Ports by day: one row a port, one column a day, area = packets; days that were not watched are hatched columns.

import { drawChart, hatchPattern } from "./canvas.js";
import { dayText, shortNumber } from "./axes.js";

const LEFT = 92, RIGHT = 12, STRIP = 12, AXIS = 26;
const LARGEST_PX = 20, SMALLEST_PX = 4;

function sizeOf(packets, most) {
  return Math.max(SMALLEST_PX, Math.sqrt(packets / most) * LARGEST_PX);
}

function build(figures, tokens) {
  const most = Math.max(1, ...figures.cells.map((cell) => cell.packets));
  const days = figures.days.map((ms) => String(ms));
  const hatch = hatchPattern(tokens);
  const unwatched = figures.coverage.flatMap((share, i) => (share ? [] : [[{ xAxis: days[i], itemStyle: { color: hatch, opacity: 0.7 } }, { xAxis: days[i] }]]));
  const every = Math.ceil(days.length / 9);
  return {
    grid: [{ left: LEFT, right: RIGHT, top: 6, bottom: STRIP + AXIS + 10 }, { left: LEFT, right: RIGHT, height: STRIP, bottom: 2, show: true, borderWidth: 0, backgroundColor: hatchPattern(tokens, tokens["surface-2"]) }],
    xAxis: [
      { type: "category", data: days, axisLine: { show: false }, axisTick: { show: false }, splitArea: { show: false },
        axisLabel: { color: tokens["ink-3"], fontSize: 11, interval: (i) => (days.length - 1 - i) % every === 0, formatter: (ms) => dayText(Number(ms)) } },
      { type: "category", data: days, gridIndex: 1, show: false },
    ],
    yAxis: [
      { type: "category", inverse: true, data: figures.ports, axisLine: { show: false }, axisTick: { show: false },
        axisLabel: { color: tokens["ink-2"], fontSize: 11, margin: 10 }, splitLine: { show: true, interval: 0, lineStyle: { color: tokens["line-1"] } } },
      { type: "value", min: 0, max: 1, gridIndex: 1, show: false },
    ],
    tooltip: {
      trigger: "item",
      formatter: ({ data }) => (data.cell ? `${figures.ports[data.cell.port]}  ${dayText(figures.days[data.cell.day])}\n${figures.words.packets} ${shortNumber(data.cell.packets)}${data.cell.isNew ? `\n${figures.words.isNew}` : ""}` : ""),
    },
    series: [
      {
        type: "scatter", z: 4, emphasis: { scale: false },
        data: figures.cells.map((cell) => ({
          value: [days[cell.day], figures.ports[cell.port]], cell, symbolSize: sizeOf(cell.packets, most),
          itemStyle: { color: tokens[cell.isNew ? "series-2" : "series-1"], opacity: 0.88 },
        })),
        markArea: { silent: true, data: unwatched },
      },
      { type: "bar", xAxisIndex: 1, yAxisIndex: 1, barCategoryGap: "6%", silent: true, itemStyle: { color: tokens.cov }, data: figures.coverage.map((share) => share ?? 0) },
    ],
  };
}

export function draw(plot, figures) {
  return drawChart(plot, (tokens) => build(figures, tokens));
}
