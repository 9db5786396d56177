// Every chart has a table, and every table can be taken away as CSV.

function panelOf(button) {
  return button.closest(".panel");
}

/** Shows a chart's figures as a table in its place, and back. */
export function showTable(button) {
  const panel = panelOf(button);
  const isShown = button.getAttribute("aria-pressed") === "true";
  button.setAttribute("aria-pressed", String(!isShown));
  for (const part of panel.querySelectorAll("[data-as]")) part.hidden = (part.dataset.as === "table") === isShown;
}

/** A cell that a spreadsheet would run as a formula is written as text. */
function quote(text) {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-?[\d.,]+$/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function textOf(cell) {
  return cell.dataset.value ?? cell.textContent.replace(/\s+/g, " ").trim();
}

export function downloadTable(button) {
  const table = panelOf(button).querySelector("table[data-file]");
  const rows = [...table.rows].map((row) =>
    [...row.cells].filter((cell) => !cell.hasAttribute("data-skip")).map((cell) => quote(textOf(cell))).join(","));
  // The mark lets spreadsheets read the file as UTF-8.
  save(new Blob(["\ufeff", rows.join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" }), `${table.dataset.file}.csv`);
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
