// Time axes in the installation's zone: times come as that zone's wall clock read as UTC, and are shown in UTC.

const DAY_MS = 86_400_000;
const WEEKDAYS = { ja: "日月火水木金土", en: ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] };
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (n) => String(n).padStart(2, "0");

export function language() {
  return document.documentElement.lang === "ja" ? "ja" : "en";
}

export function dayText(ms, isLong = true) {
  const at = new Date(ms);
  const weekday = WEEKDAYS[language()][at.getUTCDay()];
  if (language() === "ja") return isLong ? `${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ${weekday}` : `${at.getUTCDate()} ${weekday}`;
  return isLong ? `${weekday} ${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}` : `${weekday} ${at.getUTCDate()}`;
}

export function clockText(ms, withSeconds = false) {
  const at = new Date(ms);
  const text = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  return withSeconds ? `${text}:${two(at.getUTCSeconds())}` : text;
}

export function momentText(ms, stepMs) {
  return stepMs >= DAY_MS ? dayText(ms) : `${dayText(ms)} ${clockText(ms, stepMs < 60_000)}`;
}

/** Ticks at midnights, or at round hours or minutes when the period is short. */
export function chooseTicks(startMs, endMs, width) {
  const most = Math.max(2, Math.floor(width / 92));
  const steps = [1, 5, 10, 15, 30].map((n) => n * 1000)
    .concat([1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((n) => n * 60_000))
    .concat([1, 2, 7, 14, 28, 56].map((n) => n * DAY_MS));
  const step = steps.find((size) => (endMs - startMs) / size <= most) ?? 112 * DAY_MS;
  const ticks = [];
  for (let at = Math.ceil(startMs / step) * step; at <= endMs; at += step) ticks.push(at);
  return { step, ticks };
}

export function tickText(ms, step, place) {
  if (step >= DAY_MS) {
    const isLong = place === 0 || new Date(ms).getUTCDate() <= Math.max(1, step / DAY_MS);
    return dayText(ms, isLong);
  }
  if (ms % DAY_MS === 0 && step >= 60_000) return dayText(ms);
  return clockText(ms, step < 60_000);
}

export function timeAxis(tokens, { start, end, width, isLabelled = true, gridIndex = 0 }) {
  const { step, ticks } = chooseTicks(start, end, width);
  return {
    type: "value", min: start, max: end, gridIndex, splitLine: { show: false },
    axisLine: { show: isLabelled, lineStyle: { color: tokens["line-3"] }, onZero: false },
    axisTick: { show: isLabelled, customValues: ticks, lineStyle: { color: tokens["line-2"] }, length: 5 },
    axisLabel: {
      show: isLabelled, customValues: ticks, color: tokens["ink-3"], fontSize: 11, margin: 9, hideOverlap: true,
      formatter: (ms) => tickText(ms, step, ticks.indexOf(ms)),
    },
  };
}

export function valueAxis(tokens, extra = {}) {
  return {
    type: "value", min: 0, splitNumber: 4, axisLine: { show: false }, axisTick: { show: false },
    axisLabel: { color: tokens["ink-3"], fontSize: 11, margin: 8, formatter: shortNumber },
    splitLine: { lineStyle: { color: tokens["line-1"] } }, ...extra,
  };
}

export function shortNumber(value) {
  if (value === null || value === undefined) return "—";
  return new Intl.NumberFormat(language(), { notation: Math.abs(value) >= 10_000 ? "compact" : "standard", maximumSignificantDigits: 3 }).format(value);
}
