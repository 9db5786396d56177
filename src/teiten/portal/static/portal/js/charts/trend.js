// A value over time: stacked or plain lines, the previous period dashed, the coverage strip below, gaps hatched
// through both, and a veil over the newest interval until it is complete.

import { drawChart, hatchPattern } from "./canvas.js";
import { fade } from "../theme.js";
import { momentText, shortNumber, timeAxis, valueAxis } from "./axes.js";
import { watchBrush } from "./brush.js";

const LEFT = 52, RIGHT = 12, TOP = 12, PINS = 14, STRIP = 22, AXIS = 28;

/** Buckets hold from their start to the next, so a line needs the end of the last one. */
function points(figures, values) {
  return values.map((value, i) => [figures.starts[i] + figures.step / 2, value]);
}

function areaOf(line, figures, tokens) {
  const colour = tokens[`series-${line.series}`];
  return {
    name: line.name, type: "line", data: points(figures, line.values), symbol: "none", connectNulls: false, z: 3,
    stack: figures.isStacked ? "all" : undefined, sampling: figures.isStacked ? undefined : "lttb",
    lineStyle: { color: colour, width: 1.5 }, itemStyle: { color: colour }, emphasis: { disabled: true },
    areaStyle: figures.isStacked ? { color: colour, opacity: 0.26 } : undefined, tooltip: { show: true },
  };
}

function plainLine(name, values, figures, lineStyle, z) {
  return {
    name, type: "line", data: points(figures, values), symbol: "none", connectNulls: false, z, silent: true,
    lineStyle, itemStyle: { color: lineStyle.color }, emphasis: { disabled: true },
  };
}

function bandSeries(figures, tokens) {
  if (!figures.band) return [];
  const base = { type: "line", symbol: "none", stack: "band", silent: true, lineStyle: { opacity: 0 }, emphasis: { disabled: true }, z: 4 };
  const width = figures.band.high.map((high, i) => (high === null ? null : high - figures.band.low[i]));
  return [
    { ...base, data: points(figures, figures.band.low) },
    { ...base, data: points(figures, width), areaStyle: { color: fade(tokens["ink-1"], 0.1) } },
  ];
}

/** Stretches of buckets where too little was watched to read the plot as it stands. */
function gapsOf(figures) {
  const gaps = [];
  figures.strip.forEach((share, i) => {
    if (share !== null && share >= figures.gapBelow) return;
    const last = gaps.at(-1);
    const [from, to] = [figures.starts[i], figures.starts[i] + figures.step];
    if (last && last[1] === from) last[1] = to;
    else gaps.push([from, to]);
  });
  return gaps;
}

function shadeSeries(figures, tokens) {
  const hatch = hatchPattern(tokens);
  const areas = gapsOf(figures).map(([from, to]) => [{ xAxis: from, itemStyle: { color: hatch, opacity: 0.6 } }, { xAxis: to }]);
  if (figures.pendingFrom !== null) {
    areas.push([{ xAxis: figures.pendingFrom, itemStyle: { color: tokens["surface-1"], opacity: 0.62 } }, { xAxis: figures.end }]);
  }
  return { type: "line", data: [], silent: true, z: 6, markArea: { silent: true, animation: false, data: areas } };
}

/** What happened at a time, by the number that the list beside the chart explains: a pin, and a tint for what lasted. */
function markSeries(figures, tokens) {
  return {
    type: "custom", silent: true, z: 8, data: figures.marks.filter((mark) => mark.at <= figures.end).map((mark) => [mark.at, mark.number, mark.until]),
    renderItem(params, api) {
      const { y, height } = params.coordSys;
      const x = Math.round(api.coord([api.value(0), 0])[0]);
      const until = Number.isFinite(api.value(2)) ? api.coord([Math.min(api.value(2), figures.end), 0])[0] : x;
      const text = { text: String(api.value(1)), x, y: y - 8, fill: tokens["surface-1"], font: "700 11px sans-serif", align: "center", verticalAlign: "middle" };
      return { type: "group", children: [
        { type: "rect", shape: { x, y, width: Math.max(0, until - x), height }, style: { fill: fade(tokens["ink-1"], 0.06) } },
        { type: "line", shape: { x1: x, y1: y, x2: x, y2: y + height }, style: { stroke: tokens["ink-1"], lineWidth: 1, lineDash: [2, 2] } },
        { type: "circle", shape: { cx: x, cy: y - 8, r: 8 }, style: { fill: tokens["ink-1"] } },
        { type: "text", style: text },
      ] };
    },
  };
}

function stripSeries(figures, tokens) {
  return {
    type: "custom", xAxisIndex: 1, yAxisIndex: 1, silent: true, z: 3, data: figures.strip.map((share, i) => [figures.starts[i], share ?? 0]),
    renderItem(_, api) {
      const [left, top] = api.coord([api.value(0), api.value(1)]);
      const [right, bottom] = api.coord([Math.min(api.value(0) + figures.step, figures.end), 0]);
      return { type: "rect", shape: { x: Math.floor(left), y: Math.round(top), width: Math.max(0, Math.ceil(right) - Math.floor(left)), height: Math.round(bottom) - Math.round(top) }, style: { fill: tokens.cov } };
    },
  };
}

/** ECharts gives each series' mark in its colour; a tooltip in rich text takes no other styles. */
function lineOf(params, name, value) {
  const marker = params.find((param) => param.seriesName === name)?.marker ?? "";
  return `${marker}${name}  ${shortNumber(value)}`;
}

function describePoint(figures, hidden, params) {
  const at = params[0]?.axisValue;
  const i = Math.min(figures.starts.length - 1, Math.max(0, Math.floor((at - figures.starts[0]) / figures.step)));
  const share = figures.strip[i];
  const lines = [`${momentText(figures.starts[i], figures.step)} ${figures.words.zone}`];
  lines.push(share === null ? figures.words.notWatched : `${figures.words.coverage} ${(share * 100).toFixed(1)} %`);
  if (figures.total) lines.push(lineOf(params, figures.words.total, figures.total[i]));
  if (figures.previous) lines.push(lineOf(params, figures.words.previous, figures.previous[i]));
  const next = figures.starts[i] + figures.step;
  for (const mark of figures.marks) if (mark.at >= figures.starts[i] && mark.at < next) lines.push(`(${mark.number}) ${mark.text}`);
  for (const line of figures.lines) if (!hidden.has(line.name)) lines.push(lineOf(params, line.name, line.values[i]));
  return lines.join("\n");
}

function build(figures, hidden, tokens, size) {
  const width = size.width - LEFT - RIGHT;
  const frame = { start: figures.starts[0], end: figures.end, width };
  const lines = figures.lines.filter((line) => !hidden.has(line.name));
  const isWhole = hidden.size === 0;
  return {
    grid: [
      { left: LEFT, right: RIGHT, top: TOP + (figures.marks.length ? PINS : 0), bottom: STRIP + AXIS + 12 },
      { left: LEFT, right: RIGHT, height: STRIP, bottom: 4, show: true, borderWidth: 0, backgroundColor: hatchPattern(tokens, tokens["surface-2"]) },
    ],
    xAxis: [timeAxis(tokens, frame), timeAxis(tokens, { ...frame, isLabelled: false, gridIndex: 1 })],
    yAxis: [
      valueAxis(tokens),
      { type: "value", min: 0, max: 1, gridIndex: 1, axisLine: { show: false }, axisTick: { show: false }, splitLine: { show: false },
        axisLabel: { customValues: [0.5], formatter: () => figures.words.coverageShort, color: tokens["ink-3"], fontSize: 11, margin: 8, lineHeight: 13 } },
    ],
    tooltip: {
      trigger: "axis", axisPointer: { type: "line", lineStyle: { color: tokens["ink-3"], width: 1, type: "solid" }, z: 5 },
      formatter: (params) => describePoint(figures, hidden, params),
    },
    series: [
      ...[...lines].reverse().map((line) => areaOf(line, figures, tokens)),
      ...(isWhole ? bandSeries(figures, tokens) : []),
      ...(figures.previous && isWhole ? [plainLine(figures.words.previous, figures.previous, figures, { color: tokens["ink-4"], width: 1.25, type: [4, 3] }, 5)] : []),
      ...(figures.total && isWhole ? [plainLine(figures.words.total, figures.total, figures, { color: tokens["ink-1"], width: 1.75 }, 5)] : []),
      shadeSeries(figures, tokens), markSeries(figures, tokens), stripSeries(figures, tokens),
    ],
  };
}

/** A click on a name in the legend leaves its line out, or takes it in again. */
function followLegend(element, hidden, redraw) {
  for (const button of element.querySelectorAll("button[data-line]")) {
    button.addEventListener("click", () => {
      const isOff = hidden.delete(button.dataset.line) || !hidden.add(button.dataset.line);
      button.setAttribute("aria-pressed", String(isOff));
      redraw();
    });
  }
}

export function draw(plot, figures, element) {
  const hidden = new Set();
  const picture = drawChart(plot, (tokens, size) => build(figures, hidden, tokens, size), { locale: document.documentElement.lang.toUpperCase() });
  followLegend(element, hidden, picture.redraw);
  if (element.dataset.zoom) watchBrush(picture.chart, plot, element, figures);
  return picture;
}
