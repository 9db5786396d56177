// What every page does: theme, menus, keyboard, tables behind charts, and drawing the charts that a page holds.

import { switchTheme } from "./theme.js";
import { downloadTable, showTable } from "./tables.js";
import { moveInTable } from "./keyboard.js";

const acts = {
  theme: () => switchTheme(),
  table: (button) => showTable(button),
  csv: (button) => downloadTable(button),
  png: (button) => withCharts((charts) => charts.downloadPicture(button)),
  copy: (button) => copyText(button),
  reveal: (button) => revealPassword(button),
  close: (button) => closeDrawer(button),
  pause: (button) => hold(button),
};

async function withCharts(use) {
  use(await import("./charts/mount.js"));
}

async function copyText(button) {
  await navigator.clipboard.writeText(button.dataset.text || location.href);
  say(button.dataset.done);
}

function say(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text || "";
  setTimeout(() => { if (notice.textContent === text) notice.textContent = ""; }, 2500);
}

function revealPassword(button) {
  const input = document.getElementById(button.dataset.for);
  const isHidden = input.type === "password";
  input.type = isHidden ? "text" : "password";
  button.setAttribute("aria-pressed", String(isHidden));
}

/** Holds the live feed still; it is not asked for either while nobody sees the page. */
function hold(button) {
  const isHeld = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(isHeld));
  document.getElementById("feed").classList.toggle("held", isHeld);
}

function followFeed(event) {
  if (event.detail?.ctx?.target?.id !== "feed") return;
  const figures = document.getElementById("live-data");
  if (figures) document.dispatchEvent(new CustomEvent("teiten:live", { detail: JSON.parse(figures.textContent) }));
}

document.addEventListener("htmx:before:request", (event) => {
  const feed = event.target.closest?.("#feed");
  if (feed && (document.hidden || feed.classList.contains("held"))) event.preventDefault();
});

function closeDrawer(button) {
  const drawer = document.getElementById(button.dataset.for || "drawer");
  drawer.replaceChildren();
  drawer.hidden = true;
  document.querySelector("tr.sel a, tr.sel button, .cell.sel")?.focus();
  document.querySelectorAll(".sel").forEach((chosen) => chosen.classList.remove("sel"));
}

function drawCharts(root) {
  if (root.querySelector?.("[data-chart]")) withCharts((charts) => charts.mountCharts(root));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) acts[button.dataset.act]?.(button, event);
  for (const menu of document.querySelectorAll("details.who[open], details.pick[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

/** Finds the sensor of a large fleet by the place of its cell, and opens it in the drawer. */
document.addEventListener("click", (event) => {
  const map = event.target.closest?.(".map-of");
  const fleet = map?.closest("[data-sensor]");
  if (!fleet) return;
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
  const place = Math.floor(point.y / 7) * Number(map.dataset.columns) + Math.floor(point.x / 7);
  const sensor = map.dataset.sensors.split(",")[place];
  if (sensor > 0) window.htmx.ajax("GET", fleet.dataset.sensor.replace("/0/", `/${sensor}/`), { target: "#drawer" });
});

/** A form is sent once: the second press of a button would throw the first one's answer away, a download above all. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  setTimeout(() => { delete form.dataset.sent; }, "downloads" in form.dataset ? 15000 : 4000);
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-go]")) location.assign(event.target.value);
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    document.getElementById("find")?.focus();
  }
  if (event.key === "Escape") leave(event);
  moveInTable(event);
});

function leave(event) {
  const menu = document.querySelector("details.who[open], details.pick[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (event.target.id === "find") {
    event.target.blur();
  } else {
    document.querySelector("[data-act=close]")?.click();
  }
}

/** The drawer opens when something is put into it; the row it belongs to is marked. */
function openDrawer(event) {
  const { target, sourceElement } = event.detail?.ctx ?? {};
  if (target?.id !== "drawer") return;
  target.hidden = target.childElementCount === 0;
  document.querySelectorAll(".sel").forEach((chosen) => chosen.classList.remove("sel"));
  (sourceElement?.closest("tr") ?? sourceElement)?.classList.add("sel");
}

document.addEventListener("htmx:after:swap", (event) => {
  openDrawer(event);
  followFeed(event);
  drawCharts(document);
});
document.addEventListener("htmx:before:swap", () => withLoadedCharts((charts) => charts.forgetDetached()));

function withLoadedCharts(use) {
  if (document.querySelector("[data-drawn]")) withCharts((charts) => requestAnimationFrame(() => use(charts)));
}

/** On a narrow screen the result comes first: what narrows it down waits folded. */
function foldRail() {
  const rail = document.querySelector(".rail details");
  if (rail && matchMedia("(max-width: 1180px)").matches) rail.open = false;
}

foldRail();
drawCharts(document);
