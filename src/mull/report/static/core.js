"use strict";
// The page's ground floor: the data, numbers in words, elements. Text from a study is
// only ever set as text, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const S = DATA.summary;
const BINS = ["1 easiest", "2", "3", "4", "5 hardest"];
const POLICIES = ["oracle", "predicted", "charged"];
const POLICY_NAMES = { oracle: "Policy, oracle", predicted: "Policy, predicted", charged: "Policy, charged" };
const XS = {
  generations: { label: "Generations a problem", unit: "generations" },
  completion_tokens: { label: "Completion tokens a problem", unit: "tokens" },
  flops: { label: "FLOPs a problem, verifier included", unit: "FLOPs" },
};

const isNumber = (v) => typeof v === "number" && Number.isFinite(v);

// A null, a gap in the study, prints as a dash with its meaning on hover.
const DASH = "–";

const percent = (v, digits = 1) => (isNumber(v) ? (100 * v).toFixed(digits) : DASH);

const span = (ci, digits = 1) =>
  Array.isArray(ci) && isNumber(ci[0]) && isNumber(ci[1])
    ? `${(100 * ci[0]).toFixed(digits)} to ${(100 * ci[1]).toFixed(digits)}`
    : "";

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const superscript = (n) =>
  (n < 0 ? "⁻" : "") + String(Math.abs(n)).replace(/\d/g, (d) => SUPERSCRIPTS[+d]);

// 1,234; 45.6k; 2.1×10⁹: short enough for an axis, exact numbers are in the tables.
function compact(v, digits = 3) {
  if (!isNumber(v)) return DASH;
  const size = Math.abs(v);
  if (size >= 1e6) {
    const power = Math.floor(Math.log10(size) + 1e-12);
    const front = +(v / 10 ** power).toPrecision(digits);
    return (front === 1 ? "" : `${front}×`) + `10${superscript(power)}`;
  }
  if (size >= 1e4) return `${+(v / 1e3).toPrecision(digits)}k`;
  return (+v.toPrecision(Math.max(digits, 4))).toLocaleString("en-GB");
}

function full(v) {
  if (!isNumber(v)) return DASH;
  if (Math.abs(v) >= 1e9) {
    const [front, power] = v.toExponential(4).split("e");
    return `${+front}×10${superscript(+power)}`;
  }
  return v.toLocaleString("en-GB", { maximumFractionDigits: 2 });
}

// el("p.note", {title: "..."}, child, "text", ...): an element; strings become text.
function el(spec, attributes = {}, ...children) {
  const [name, ...classes] = spec.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== "") node.append(child);
  return node;
}

// "beam(width=4)@16" -> "Beam, width 4"; objects as {strategy, params}.
function armName(arm) {
  if (arm === null || arm === undefined || arm === "") return DASH;
  let name, inner;
  if (typeof arm === "object") {
    name = String(arm.strategy ?? "");
    inner = paramsText(arm.params);
  } else {
    const match = /^([^(@]+)(?:\((.*)\))?(?:@.*)?$/.exec(String(arm));
    if (!match) return String(arm);
    name = match[1].trim();
    inner = (match[2] ?? "").replace(/(\w\w)=/g, "$1 ").replace(/\bsqrt\b/g, "√N");
  }
  const plain = Object.hasOwn(DATA.names, name)
    ? DATA.names[name]
    : name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
  return inner ? `${plain}, ${inner}` : plain;
}

const paramsText = (params) =>
  Object.entries(params ?? {}).filter(([, v]) => v !== null)
    .map(([k, v]) => `${k}${k.length === 1 ? "=" : " "}${v === "sqrt" ? "√N" : v}`).join(", ");

// A table; numbers right, and a scroller of its own so that the page never scrolls sideways.
function tableOf(headings, rows, { caption, sortable = false, textColumns = 1 } = {}) {
  const cell = (value, i) => {
    const text = value === null || value === undefined || value === "" ? DASH : String(value.text ?? value);
    return el(i < textColumns ? "td.text" : "td", text === DASH ? { title: "not measured" } : {}, text);
  };
  const body = el("tbody");
  const show = (list) => body.replaceChildren(...list.map((row) => el("tr", {}, row.map(cell))));
  const heads = headings.map((text, i) => {
    if (!sortable) return el(i < textColumns ? "th.text" : "th", { scope: "col" }, text);
    const head = el(i < textColumns ? "th.text" : "th", { scope: "col", "aria-sort": "none" });
    head.append(el("button.sort", { type: "button", onclick: () => sort(i) }, text));
    return head;
  });
  const key = (value) => (value !== null && typeof value === "object" ? value.value : value);
  function sort(column) {
    const up = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head, i) =>
      head.setAttribute("aria-sort", i === column ? (up ? "ascending" : "descending") : "none"));
    const sorted = rows.slice().sort((a, b) => {
      const [x, y] = [key(a[column]), key(b[column])];
      const [noX, noY] = [x === null || x === undefined, y === null || y === undefined];
      if (noX || noY) return noX - noY; // gaps last, whichever way
      const order = isNumber(x) && isNumber(y) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return up ? order : -order;
    });
    show(sorted);
  }
  show(rows);
  const made = el("table", {}, caption ? el("caption", {}, caption) : null,
    el("thead", {}, el("tr", {}, heads)), body);
  return el("div.scroll", { tabindex: 0, role: "region", "aria-label": caption ?? "Table" }, made);
}

function numbers(rows, headings, options) {
  return el("details.numbers", {}, el("summary", {}, "The numbers"), tableOf(headings, rows, options));
}

// Radio buttons in a row; calls back with the chosen key.
let groups = 0;
function choice(label, options, chosen, onChange) {
  const name = `choice-${groups++}`;
  return el("fieldset.choice", {}, el("legend", {}, label),
    Object.entries(options).map(([key, text]) =>
      el("label", {},
        el("input", { type: "radio", name, value: key, checked: key === chosen, onchange: () => onChange(key) }),
        el("span", {}, text))));
}

// One tooltip for the page, also read out by screen readers when the keyboard moves it.
const TIP = el("div.tip", { role: "status", hidden: true });
function showTip(lines, x, y) {
  const [head, ...rest] = lines;
  TIP.replaceChildren(el("strong", {}, head),
    ...rest.map(([name, value]) => el("div", {}, el("span", {}, name), el("b", {}, value))));
  TIP.hidden = false;
  const { offsetWidth: w, offsetHeight: h } = TIP;
  const left = x + 14 + w > innerWidth - 8 ? x - 14 - w : x + 14;
  TIP.style.left = `${Math.max(8, Math.min(left, innerWidth - w - 8))}px`;
  TIP.style.top = `${Math.max(8, Math.min(y - h / 2, innerHeight - h - 8))}px`;
}
const hideTip = () => { TIP.hidden = true; };
