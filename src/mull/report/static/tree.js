"use strict";
// The search-tree viewer: rounds run left to right, best score first, pruned branches
// faint. One tab stop; arrow keys walk the tree; the chosen node's whole path is shown.

const RAMP = ["#1d3557", "#3b5778", "#6b7480", "#a39b74", "#d4bf58", "#fbe45b"];
const ROW = 26, GAP = 26, NARROWEST = 210, WIDEST = 420;

function rampColour(t) {
  const at = Math.max(0, Math.min(1, t)) * (RAMP.length - 1);
  const i = Math.min(Math.floor(at), RAMP.length - 2);
  const channel = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  return `rgb(${[0, 1, 2].map((k) =>
    Math.round(channel(RAMP[i], k) * (1 - at + i) + channel(RAMP[i + 1], k) * (at - i))).join(",")})`;
}

// Scores are probabilities; others (log-likelihoods) are coloured by their own range.
function scoreScale(nodes) {
  const all = nodes.map((n) => n.score).filter(isNumber);
  const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
  return (v) => (v - low) / (high - low);
}

function chip(score, scale) {
  if (!isNumber(score)) return el("span.chip.none", { title: "unscored" }, "n/s");
  const t = scale(score);
  return el("span.chip", { style: { background: rampColour(t), color: t > 0.5 ? "#111" : "#fff" } },
    score >= 0 && score < 1 ? score.toFixed(2).slice(1) : String(+score.toFixed(2)));
}

// The recorded steps; a root without text stands for the prompt, which is shown above.
const stepsOf = (tree) => tree.nodes.filter((n) =>
  !((n.parent === null || n.parent === undefined) && !n.text && !isNumber(n.score)));

// Children by score, leaves one to a row; a parent stands beside its first child.
function layOut(nodes, showPruned) {
  const byId = new Map(nodes.map((n) => [n.id, { node: n, children: [] }]));
  const roots = [];
  for (const item of byId.values()) {
    item.parent = byId.get(item.node.parent ?? undefined) ?? null;
    (item.parent ? item.parent.children : roots).push(item);
  }
  const order = (a, b) => (b.node.kept === true) - (a.node.kept === true)
    || (b.node.score ?? -Infinity) - (a.node.score ?? -Infinity);
  const placed = [];
  let row = 0;
  const stack = roots.sort(order).reverse().map((item) => ({ item, depth: 0 }));
  while (stack.length) {
    const { item, depth } = stack.pop();
    if (!showPruned && item.node.kept === false && !item.children.length) continue;
    item.depth = depth;
    item.children.sort(order);
    const shown = item.children.filter((c) => showPruned || c.node.kept !== false || c.children.length);
    item.shown = shown;
    item.row = row;
    if (!shown.length) row += 1;
    placed.push(item);
    for (const child of shown.slice().reverse()) stack.push({ item: child, depth: depth + 1 });
  }
  return { placed, rows: Math.max(row, 1), columns: Math.max(0, ...placed.map((i) => i.depth)) + 1 };
}

function drawTree(tree, showPruned, room, onChoose) {
  const { placed, rows, columns } = layOut(stepsOf(tree), showPruned);
  const scale = scoreScale(tree.nodes);
  const column = Math.max(NARROWEST, Math.min(WIDEST, Math.floor((room + GAP) / columns)));
  const cell = column - GAP;
  const edges = svg("svg", { width: columns * column, height: rows * ROW, "aria-hidden": "true" });
  for (const item of placed) {
    if (!item.parent) continue;
    const [x, y] = [item.depth * column, item.row * ROW + ROW / 2];
    const [px, py] = [item.parent.depth * column + cell, item.parent.row * ROW + ROW / 2];
    edges.append(svg("path", { class: item.node.kept === false ? "edge pruned" : "edge",
      d: py === y ? `M${px},${py}H${x}` : `M${px},${py}h${(x - px) / 2}V${y}H${x}` }));
  }
  const cells = placed.map((item) => {
    const { node } = item;
    const pruned = node.kept === false;
    const state = pruned ? "pruned" : "kept";
    const score = isNumber(node.score) ? `score ${node.score.toFixed(3)}` : "unscored";
    const text = String(node.text ?? "").trim() || "(empty)";
    const button = el(pruned ? "button.node.pruned" : "button.node",
      { type: "button", tabindex: -1, title: text, "aria-label": `${text}, ${score}, ${state}${node.answer ? `, answer ${node.answer}` : ""}`,
        style: { left: `${item.depth * column}px`, top: `${item.row * ROW + 2}px`, width: `${cell}px` }, onclick: () => choose(item) },
      chip(node.score, scale), el("span.words", {}, text),
      node.finish && node.answer !== null && node.answer !== undefined ? el("span.end", { "aria-hidden": "true" }, "●") : null);
    item.cell = button;
    return button;
  });
  function choose(item, focus = false) {
    for (const other of placed) { other.cell.classList.remove("chosen", "onpath"); other.cell.tabIndex = -1; }
    const path = [];
    for (let at = item; at; at = at.parent) { path.unshift(at.node); at.cell?.classList.add("onpath"); }
    item.cell.classList.add("chosen");
    item.cell.tabIndex = 0;
    if (focus) item.cell.focus();
    onChoose(path, scale);
  }
  const holder = el("div.tree", { style: { width: `${columns * column - GAP}px`, height: `${rows * ROW + 4}px` },
    onkeydown: (event) => {
      const i = placed.findIndex((item) => item.cell === document.activeElement);
      if (i < 0) return;
      const item = placed[i];
      const peers = placed.filter((o) => o.depth === item.depth);
      const at = peers.indexOf(item);
      const next = { ArrowRight: item.shown[0], ArrowLeft: item.parent,
        ArrowDown: peers[at + 1], ArrowUp: peers[at - 1] }[event.key];
      if (event.key.startsWith("Arrow")) event.preventDefault();
      if (next) choose(next, true);
    } }, edges, cells);
  const ends = placed.filter((i) => i.node.kept !== false && i.node.finish);
  const chosen = ends.find((i) => String(i.node.answer) === String(tree.answer)) ?? ends[0] ?? placed[0];
  if (chosen) choose(chosen);
  return holder;
}

function votes(tree) {
  const rows = Object.entries(tree.weights ?? {}).filter(([, w]) => isNumber(w)).sort((a, b) => b[1] - a[1]);
  if (!rows.length) return el("p.quiet", {}, "No votes were recorded.");
  const most = Math.max(...rows.map(([, w]) => w), 1e-12);
  return el("ol.votes", {}, rows.slice(0, 12).map(([answer, weight]) => {
    const tags = [answer === String(tree.answer) ? "chosen" : "", answer === String(tree.gold) ? "gold" : ""].filter(Boolean);
    return el("li", {}, el("span.answer", {}, answer || "(no answer)"),
      el("span.bar", {}, el("i", { style: { width: `${Math.max(0, (100 * weight) / most)}%` } })),
      el("span.weight", {}, (+weight.toPrecision(3)).toString()),
      el("span.tags", {}, tags.join(", ")));
  }), rows.length > 12 ? el("li.quiet", {}, `and ${rows.length - 12} more`) : null);
}

function treeViewer(trees) {
  if (!trees.length) return el("p.quiet", {}, "This study recorded no search tree.");
  // The first one shown is a search that had to choose between answers, if there is one.
  const first = trees.findIndex((t) => Object.keys(t.weights ?? {}).length > 1);
  const state = { index: Math.max(first, 0), pruned: true, room: 0 };
  const facts = el("div.facts"), view = el("div.scroll.treescroll"), path = el("div.path");
  const verdict = (t) => (t.correct === true ? "right" : t.correct === false ? "wrong" : "not graded");
  function show() {
    const tree = trees[state.index];
    facts.replaceChildren(
      el("div", {}, el("h4", {}, "Problem"), el("p.prompt", {}, String(tree.prompt ?? "").trim()),
        el("p", {}, "Answer ", el("b", {}, String(tree.answer ?? "none")), `, ${verdict(tree)}. Gold answer `,
          el("b", {}, String(tree.gold ?? "not given")), ".")),
      el("div", {}, el("h4", {}, "Vote weights"), votes(tree)));
    view.replaceChildren(drawTree(tree, state.pruned, state.room, (nodes, scale) => path.replaceChildren(
      el("h4", {}, "The chosen node's path"),
      el("ol.steps", {}, nodes.map((n) => el(n.kept === false ? "li.pruned" : "li", {}, chip(n.score, scale),
        el("span", {}, String(n.text ?? "").trim() || "(empty)"),
        n.kept === false ? el("em", {}, "pruned") : null))),
      el("p.quiet", {}, [nodes.at(-1).finish ? `Finished: ${nodes.at(-1).finish}.` : "Not finished.",
        nodes.at(-1).answer !== null && nodes.at(-1).answer !== undefined ? ` Answer ${nodes.at(-1).answer}.` : ""].join("")))));
    const steps = stepsOf(tree), kept = steps.filter((n) => n.kept !== false).length;
    count.textContent = `${steps.length} steps, ${kept} kept, ${steps.length - kept} pruned, `
      + `${steps.filter((n) => !isNumber(n.score)).length} unscored.`;
  }
  const count = el("p.quiet");
  const select = el("select", { onchange: (event) => { state.index = +event.target.value; show(); } },
    trees.map((t, i) => el("option", { value: i, selected: i === state.index }, `${t.problem} · ${armName(t.arm)} · ${verdict(t)}`)));
  const box = el("input", { type: "checkbox", checked: true, onchange: (event) => { state.pruned = event.target.checked; show(); } });
  const scale = el("div.scale", {}, "score 0", el("span.ramp", {}, RAMP.map((c) => el("i", { style: { background: c } }))), "1",
    el("span.key", {}, el("span.chip.none", {}, "n/s"), " unscored"), el("span.key", {}, el("span.end", {}, "●"), " final answer"));
  const holder = el("div.viewer", {},
    el("div.controls", {}, el("label.select", {}, "Recorded search ", select), el("label.check", {}, box, "show pruned branches")),
    facts, scale, view, count, path);
  // Columns fill the width there is; a few pixels more or less are not worth a redraw.
  new ResizeObserver(([entry]) => {
    const room = Math.floor(entry.contentRect.width);
    if (room > 0 && Math.abs(room - state.room) > 8) { state.room = room; requestAnimationFrame(show); }
  }).observe(view);
  show();
  return holder;
}
