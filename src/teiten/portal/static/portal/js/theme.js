// Colours: the stylesheet's tokens as values that a canvas can use, and the switch between light and dark.

const COOKIE = "teiten_theme";
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  return (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
}

/** Reads tokens by name: a probe resolves light-dark(), which the variable's own text does not. */
export function readTokens(names) {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const tokens = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    tokens[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return tokens;
}

/** Gives the same colour with another opacity. */
export function fade(colour, opacity) {
  const [r, g, b] = colour.match(/[\d.]+/g);
  return `rgba(${r}, ${g}, ${b}, ${opacity})`;
}

export function onThemeChange(redraw) {
  system.addEventListener("change", redraw);
  root.addEventListener("teiten:theme", redraw);
  return () => {
    system.removeEventListener("change", redraw);
    root.removeEventListener("teiten:theme", redraw);
  };
}

export function switchTheme() {
  const chosen = isDark() ? "light" : "dark";
  root.dataset.theme = chosen;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${COOKIE}=${chosen}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  root.dispatchEvent(new CustomEvent("teiten:theme"));
}
