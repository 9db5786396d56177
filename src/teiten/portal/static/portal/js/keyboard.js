// Rows that open something can be walked with the arrow keys.

export function moveInTable(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest?.("tr[data-open]");
  if (!step || !row) return;
  const rows = [...row.closest("table").querySelectorAll("tr[data-open]")];
  const next = rows[rows.indexOf(row) + step];
  if (!next) return;
  event.preventDefault();
  next.querySelector("a, button")?.focus();
}
