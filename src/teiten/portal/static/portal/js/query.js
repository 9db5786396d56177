// The filter's text field: colours its words behind the caret and completes fields, operators and values.
// Attributes are read by name: the form has a control called "dataset", which hides its own property.

const form = document.getElementById("query");
const field = document.getElementById("q");
const back = form.querySelector(".qback");
const list = document.getElementById("q-list");
const KEYWORDS = new Set(["and", "or", "not", "in", "has", "lacks"]);
const TOKEN = /("(?:[^"\\]|\\.)*"?)|(<=|>=|!=|=|<|>|\(|\)|,)|([^\s"()<>=!,]+)|(\s+)/g;
let completions = [];
let chosen = -1;
let asked = 0;

function classOf(text, kind, previous) {
  if (kind === "quoted") return "q-v";
  if (kind === "sign") return "q-o";
  if (KEYWORDS.has(text.toLowerCase())) return "q-k";
  if (!/[=<>,(]|in|has|lacks/i.test(previous)) return "q-f";
  return /^[\d.:/]+$/.test(text) ? "q-n" : "q-v";
}

function paint() {
  back.replaceChildren();
  let previous = "";
  for (const [text, quoted, sign, word] of field.value.matchAll(TOKEN)) {
    const part = document.createElement("span");
    part.textContent = text;
    if (text.trim()) {
      part.className = classOf(text, quoted ? "quoted" : sign ? "sign" : "word", previous);
      previous = word && KEYWORDS.has(word.toLowerCase()) && !/^(in|has|lacks)$/i.test(word) ? "" : text;
    }
    back.append(part);
  }
  back.scrollLeft = field.scrollLeft;
}

async function complete() {
  const turn = ++asked;
  const address = new URL(form.getAttribute("data-complete"), location.href);
  address.searchParams.set("text", field.value);
  address.searchParams.set("cursor", field.selectionStart);
  address.searchParams.set("dataset", form.elements.dataset.value);
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  const found = answer.ok ? (await answer.json()).completions.slice(0, 12) : [];
  // Answers overtake each other: only the last question's counts, and none once the list was closed.
  if (turn !== asked) return;
  completions = found;
  show();
}

function show() {
  list.replaceChildren(...completions.map(option));
  chosen = -1;
  list.hidden = completions.length === 0;
  field.setAttribute("aria-expanded", String(!list.hidden));
  field.removeAttribute("aria-activedescendant");
}

function option({ text, meaning }, place) {
  const item = document.createElement("li");
  item.id = `q-${place}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", "false");
  const name = document.createElement("b");
  name.textContent = text;
  const small = document.createElement("span");
  small.textContent = meaning;
  item.append(name, small);
  item.addEventListener("mousedown", (event) => { event.preventDefault(); take(place); });
  return item;
}

function hide() {
  asked += 1;
  completions = [];
  show();
}

function choose(step) {
  if (list.hidden) return;
  list.children[chosen]?.setAttribute("aria-selected", "false");
  chosen = (chosen + step + completions.length) % completions.length;
  const item = list.children[chosen];
  item.setAttribute("aria-selected", "true");
  item.scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", item.id);
}

/** Puts a completion in place of the word at the cursor. */
function take(place) {
  const cursor = field.selectionStart;
  const head = field.value.slice(0, cursor).replace(/("(?:[^"\\]|\\.)*|[^\s"()<>=!,]*)$/, "");
  const text = `${head}${head && !/[\s(]$/.test(head) ? " " : ""}${completions[place].text} `;
  field.value = text + field.value.slice(cursor).trimStart();
  field.setSelectionRange(text.length, text.length);
  field.focus();
  paint();
  complete();
}

const keys = {
  ArrowDown: () => choose(1),
  ArrowUp: () => choose(-1),
  Escape: () => hide(),
};

field.addEventListener("keydown", (event) => {
  if (list.hidden) return;
  if (event.key in keys) {
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  } else if ((event.key === "Tab" && !event.shiftKey) || (event.key === "Enter" && chosen >= 0)) {
    event.preventDefault();
    take(Math.max(0, chosen));
  }
});
field.addEventListener("input", () => { paint(); complete(); });
field.addEventListener("scroll", () => { back.scrollLeft = field.scrollLeft; });
field.addEventListener("blur", hide);
paint();
form.classList.add("painted");
