// The one place where ECharts is used. Canvas and rich-text tooltips only: HTML tooltips and the SVG renderer
// set inline styles, which `style-src 'self'` refuses, and would render what strangers sent as markup.

import * as echarts from "../../../vendor/echarts-6.1.0/echarts.min.js";
import { onThemeChange, readTokens } from "../theme.js";

const TOKENS = [
  "surface-0", "surface-1", "surface-2", "surface-3", "ink-1", "ink-2", "ink-3", "ink-4", "line-1", "line-2", "line-3",
  "accent", "cov", "watch", "hatch", "sim", "series-1", "series-2", "series-3", "series-4", "series-5", "series-6",
  "series-7", "series-8", "seq-0", "seq-1", "seq-2", "seq-3", "seq-4", "seq-5", "seq-6",
];
const FONT = '"Noto Sans JP", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic UI", Meiryo, system-ui, sans-serif';

export { echarts };

/** The hatch that means "not watched", as a pattern for a canvas. */
export function hatchPattern(tokens, background = null) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  if (background) {
    pen.fillStyle = background;
    pen.fillRect(0, 0, 8, 8);
  }
  pen.strokeStyle = tokens.hatch;
  pen.lineWidth = 1;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
  }
  pen.stroke();
  return { image: tile, repeat: "repeat" };
}

function tooltipStyle(tokens) {
  return {
    renderMode: "richText", confine: true, transitionDuration: 0,
    backgroundColor: tokens["surface-1"], borderColor: tokens["line-2"], borderWidth: 1, padding: [8, 12],
    textStyle: { color: tokens["ink-2"], fontSize: 12, lineHeight: 18, fontFamily: FONT },
    extraCssText: "",
  };
}

/**
 * Draws a chart and keeps it right: on a new theme it is built again, on a new size it is laid out again.
 * @param {HTMLElement} element where to draw; its aria-label describes the chart.
 * @param {(tokens: object, size: {width: number, height: number}) => object} build gives ECharts' option.
 */
export function drawChart(element, build, { locale = "EN", events = {} } = {}) {
  const chart = echarts.init(element, null, { renderer: "canvas", locale });
  const redraw = () => {
    const tokens = readTokens(TOKENS);
    const option = build(tokens, { width: element.clientWidth, height: element.clientHeight });
    const tooltip = { ...tooltipStyle(tokens), ...(option.tooltip ?? {}), renderMode: "richText" };
    chart.setOption({
      animation: false, textStyle: { fontFamily: FONT }, aria: { enabled: false }, ...option, tooltip,
    }, { notMerge: true });
  };
  redraw();
  for (const [name, act] of Object.entries(events)) chart.on(name, act);
  const sizes = new ResizeObserver(() => { chart.resize(); redraw(); });
  sizes.observe(element);
  const forget = onThemeChange(redraw);
  return { chart, redraw, element, dispose() { sizes.disconnect(); forget(); chart.dispose(); } };
}
