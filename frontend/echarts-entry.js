// The parts of ECharts that the portal draws with. Canvas only: under `style-src 'self'` the SVG renderer
// and HTML tooltips set inline styles (upstream #19938, #19398).
export { init, use, registerMap, registerLocale, graphic } from "echarts/core";
import { use, registerLocale } from "echarts/core";
import { LineChart, BarChart, ScatterChart, CustomChart } from "echarts/charts";
import {
  GridComponent, TooltipComponent, GeoComponent, MarkAreaComponent, AxisPointerComponent,
} from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";
import langJA from "echarts/i18n/langJA-obj.js";

use([
  LineChart, BarChart, ScatterChart, CustomChart,
  GridComponent, TooltipComponent, GeoComponent, MarkAreaComponent, AxisPointerComponent,
  CanvasRenderer,
]);
registerLocale("JA", langJA.default ?? langJA);
