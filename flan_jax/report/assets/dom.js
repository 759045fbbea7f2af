// Building blocks of the page: elements, numbers as people read them, controls, tables and figures.
// Texts of data sets and models become text nodes only; nothing here parses markup.

const NOTHING = "–";

/** Makes an element; attributes that are null or false are left out, functions named on… are listeners. */
function h(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) node.style.setProperty(key, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const color = (index) => `var(--c${index % 10})`;
const percent = (value, digits = 1) => (isNumber(value) ? (100 * value).toFixed(digits) : NOTHING);
const count = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en") : NOTHING);
const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const minus = (text) => text.replace("-", "−");
const signed = (value) => (isNumber(value) ? (value >= 0 ? "+" : "") + minus(percent(value)) : NOTHING);
const interval = (pair, text = percent) => (pair ? `${text(pair[0])} to ${text(pair[1])}` : NOTHING);

/** 1.2M rather than 1,234,567. */
function compact(value) {
  if (!isNumber(value)) return NOTHING;
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

/** A score as it is shown: in per cent, or as it stands on a scale of the task's own. */
const score = (task, value) => (!isNumber(value) ? NOTHING : task.native_scale ? String(Number(value.toPrecision(4))) : percent(value));

function duration(seconds) {
  if (!isNumber(seconds)) return NOTHING;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A name that may break behind its underscores. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, h("wbr")]);

/** Radio buttons that look like one switch; state[key] is what is chosen. */
function choice(label, key, options, changed) {
  if (!options.some(([value]) => value === state[key])) state[key] = options[0][0];
  if (options.length < 2) return null;
  const buttons = options.map(([value, text]) =>
    h("label", {},
      h("input", { type: "radio", name: key, value, checked: state[key] === value, onchange: () => { state[key] = value; changed(); } }),
      h("span", {}, text)));
  return h("fieldset", { class: "choice" }, h("legend", { class: "hidden" }, label), buttons);
}

/** A labelled list to choose from; state[key] is what is chosen. */
function picker(label, key, options, changed) {
  if (!options.some(([value]) => value === state[key])) state[key] = options[0][0];
  const choices = options.map(([value, text]) => h("option", { value, selected: state[key] === value }, text));
  return h("label", {}, label, h("select", { id: `pick-${key}`, onchange: (event) => { state[key] = event.target.value; changed(); } }, choices));
}

function legend(entries) {
  return h("ul", { class: "legend" }, entries.map(([text, tint, shape]) => h("li", {}, h("span", { class: `key ${shape ?? ""}`, "--color": tint }), text)));
}

/**
 * A table that sorts by a click on a column's name.
 * columns: {name, of: row → what is sorted by, show: row → what is shown, number, title}; the first one names the row.
 * pinned rows stay on top.
 */
function table(caption, columns, rows, { pinned = [], key = caption } = {}) {
  const body = h("tbody");
  const heads = columns.map((column, at) =>
    h("th", { scope: "col", class: column.number ? "number" : column.css, title: column.title },
      h("button", { type: "button", onclick: () => { const old = state.sorts[key]; state.sorts[key] = [at, old && old[0] === at ? -old[1] : column.number ? -1 : 1]; fill(); } }, column.name)));
  const line = (row, css) =>
    h("tr", { class: css }, columns.map((column, at) =>
      h(at ? "td" : "th", { scope: at ? null : "row", class: column.number ? "number" : column.css }, column.show ? column.show(row) : column.of(row) ?? NOTHING)));
  const fill = () => {
    const [at, direction] = state.sorts[key] ?? [-1, 1];
    heads.forEach((head, index) => {
      if (index === at) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...pinned.map((row) => line(row, "mean")), ...(at < 0 ? rows : sorted(rows, columns[at].of, direction)).map((row) => line(row)));
  };
  fill();
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, heads)), body));
}

/** Rows in order of a value; those without one come last, whichever way. */
function sorted(rows, of, direction) {
  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  return [...rows].sort((a, b) => {
    const [left, right] = [of(a), of(b)];
    if (missing(left) || missing(right)) return missing(left) - missing(right);
    return direction * (isNumber(left) && isNumber(right) ? left - right : String(left).localeCompare(String(right), "en", { numeric: true }));
  });
}

const drawings = new WeakMap();
const observer = new ResizeObserver((entries) => { for (const entry of entries) drawings.get(entry.target)?.(); });

/** A chart that is drawn for the width it has; label says in words what it shows. */
function figure(label, draw, caption) {
  const box = h("div", { class: "plot" });
  let drawn = 0;
  drawings.set(box, () => {
    const width = Math.floor(box.clientWidth);
    if (!width || width === drawn) return;
    drawn = width;
    const svg = draw(width);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    box.replaceChildren(svg);
  });
  observer.observe(box);
  return h("figure", {}, box, caption && h("figcaption", {}, caption));
}

function card(id, title, words, controls, ...content) {
  return h("section", { class: "card", id, "aria-labelledby": `${id}-title` },
    h("header", {}, h("div", {}, h("h2", { id: `${id}-title` }, title), words && h("p", {}, words)), controls),
    content);
}
