"use strict";
// The page itself: which numbers go into which figure, and what the paper found there.

const PALETTE = { weighted: "var(--c-blue)", majority: "var(--c-grey)", oracle: "var(--c-green)",
  predicted: "var(--c-purple)", charged: "var(--c-brown)" };
const SEARCH = ["var(--c-red)", "var(--c-orange)", "var(--c-pink)", "var(--c-green)", "var(--c-sky)", "var(--c-brown)", "var(--c-purple)"];
const DASHES = ["", "6 4", "2 3", "9 3 2 3"];
const arms = S.arms;
// FLOPs are null throughout where a model's size is not known.
const SIZED = !arms.length || arms.some((a) => isNumber(a.flops));
const flopsText = (v) => (SIZED ? full(v) : "unknown");

// ---- series, as the charts want them ------------------------------------------------

function looks(list) {
  let search = 0;
  return list.map((s, i) => {
    if (s.role === "majority") return { ...s, colour: PALETTE.majority, dash: "2 3", marker: "square" };
    if (s.role === "weighted" && s.main) return { ...s, colour: PALETTE.weighted, dash: "", marker: "circle" };
    const k = search++;
    return { ...s, colour: SEARCH[k % SEARCH.length], dash: DASHES[k % DASHES.length],
      marker: SHAPES[2 + (k % 4)], index: i };
  });
}

const counted = (text, noun) => `${text} ${noun}${text === "1" ? "" : "s"}`;

function armLines(arm, accuracy, ci, n) {
  return [
    ["accuracy", `${percent(accuracy)} %`],
    ["95 % interval", span(ci) || "not given"],
    ["budget", counted(full(arm.budget), "generation")],
    ["spent", counted(compact(arm.generations), "generation")],
    ["", `${compact(arm.completion_tokens)} completion tokens`],
    ["", `${compact(arm.flops)} FLOPs`],
    ["problems", full(n)],
  ].filter(([, value]) => !value.startsWith(DASH));
}

const armPoints = (s, axis) => s.arms.map((i) => ({ x: arms[i][axis], y: arms[i].accuracy, ci: arms[i].ci95,
  lines: armLines(arms[i], arms[i].accuracy, arms[i].ci95, S.problems) }));

const armRows = (list) => list.flatMap((s) => s.arms.map((i) => armRow(s.label, arms[i])));
const armRow = (label, a) => [label, a.budget, percent(a.accuracy, 2), span(a.ci95, 2), full(a.generations),
  full(a.completion_tokens), full(a.verifier_tokens), flopsText(a.flops)];
const ARM_HEADINGS = ["Strategy", "Budget", "Accuracy %", "95 % interval", "Generations", "Completion tokens",
  "Verifier tokens", "FLOPs"];

// Only the axes that every drawn arm has a cost for.
function axesOf(list) {
  const used = list.flatMap((s) => s.arms.map((i) => arms[i]));
  return Object.keys(XS).filter((axis) => used.some((a) => a[axis] > 0));
}

// ---- figures --------------------------------------------------------------------------

function figure({ id, title, says, paper, controls = [], body, table }) {
  return el("section.figure", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), el("p.says", {}, says), el("p.paper", {}, paper),
    controls.length ? el("div.controls", {}, controls) : null, body, table);
}

const bandsBox = (charts) => el("label.check", {},
  el("input", { type: "checkbox", checked: true, onchange: (event) =>
    charts.forEach((c) => c.set(c.series, { bands: event.target.checked })) }), "95 % intervals");

// A chart of whole series with the x switch.
function armChart(list, title, extra = {}) {
  const axes = axesOf(list);
  const build = (axis) => list.map((s) => ({ ...s, points: armPoints(s, axis) }));
  const settings = (axis) => ({ xLabel: `${XS[axis].label} (log scale)`, powersOfTwo: axis === "generations" });
  const chart = new LineChart(build(axes[0] ?? "generations"),
    { title, directLabels: true, ...settings(axes[0] ?? "generations"), ...extra });
  const axisChoice = axes.length > 1
    ? choice("Across", Object.fromEntries(axes.map((a) => [a, XS[a].unit])), axes[0], (axis) => chart.set(build(axis), settings(axis)))
    : null;
  return { chart, axisChoice };
}

function budgetFigure() {
  const list = looks(DATA.series.filter((s) => s.main));
  const { chart, axisChoice } = armChart(list, "Accuracy against budget");
  return figure({ id: "budget", title: "Accuracy against budget",
    says: "What each method makes of a budget, over all problems; the position along the axis is what the method really spent.",
    paper: "The paper: beam search leads at small budgets, then flattens, and best-of-N weighted catches up; lookahead is mostly worse at equal cost, since its rollouts are paid for (Snell et al. 2024, Fig. 3, left).",
    controls: [axisChoice, bandsBox([chart])].filter(Boolean),
    body: [legend(list, [chart]), chart.root], table: numbers(armRows(list), ARM_HEADINGS) });
}

function binsFigure() {
  const all = looks(DATA.series.filter((s) => s.main));
  const fields = { oracle: "by_bin", predicted: "by_bin_predicted" };
  const given = (kind) => all.filter((s) => s.arms.some((i) => Array.isArray(arms[i][fields[kind]])));
  const list = all.filter((s) => given("oracle").includes(s) || given("predicted").includes(s));
  let kind = "oracle", own = false;
  const about = (b) => {
    const d = S.difficulty[kind] ?? {};
    const [n, p] = [d.bin_sizes?.[b], d.base_pass_at_1?.[b]];
    return [isNumber(n) ? `${n} problems` : "", isNumber(p) ? `pass@1 ${percent(p)}\u00a0%` : ""].filter(Boolean).join(", ");
  };
  const points = (s, b) => s.arms.map((i) => {
    const [a, y] = [arms[i], arms[i][fields[kind]]?.[b]];
    const ci = a[`${fields[kind]}_ci95`]?.[b] ?? null;
    return { x: a.generations ?? a.budget, y, ci, lines: armLines(a, y, ci, S.difficulty[kind]?.bin_sizes?.[b]) };
  });
  const build = (b) => list.map((s) => ({ ...s, points: points(s, b) }));
  const tops = () => niceTop(Math.max(0.02, ...list.flatMap((s) => BINS.flatMap((_, b) => points(s, b).map((p) => p.y ?? 0)))));
  const charts = BINS.map((name, b) => new LineChart(build(b), { title: `Bin ${name}`, height: 210, small: true, powersOfTwo: true, yTop: tops() }));
  const subtitles = BINS.map((_, b) => el("p.quiet", {}, about(b)));
  const redraw = () => charts.forEach((c, b) => {
    subtitles[b].textContent = about(b);
    c.set(build(b), { yTop: own ? undefined : tops() });
  });
  const keep = new Set(["majority", "weighted"]);
  const firstSearch = list.find((s) => s.role === "search");
  for (const s of list) if (!keep.has(s.role) && s !== firstSearch) charts.forEach((c) => c.hidden.add(s.key));
  const binText = (a, field, b) => [percent(a[field][b], 2), span(a[`${field}_ci95`]?.[b])].filter(Boolean).join(", ");
  const table = () => numbers(["oracle", "predicted"].flatMap((k) => given(k).flatMap((s) => s.arms
    .filter((i) => Array.isArray(arms[i][fields[k]]))
    .map((i) => [s.label, k, arms[i].budget, ...BINS.map((_, b) => binText(arms[i], fields[k], b))]))),
  ["Strategy", "Bins", "Budget", ...BINS.map((b) => `Bin ${b}, %`)], { textColumns: 2 });
  return figure({ id: "bins", title: "Accuracy by difficulty",
    says: "The same methods on five groups of problems, easiest first, grouped by how often the base model solves them (oracle) or by what the verifier thinks of its samples (predicted). Across: generations; up: accuracy in %.",
    paper: "The paper: on the easy bins more search over-optimises the verifier and best-of-N overtakes it; on bins 3 and 4 beam search wins; on bin 5 nothing helps (Snell et al. 2024, Fig. 3, right; predicted bins in Fig. 12).",
    controls: [choice("Bins", { oracle: "oracle", predicted: "predicted" }, kind, (k) => { kind = k; redraw(); }),
      choice("Scale", { shared: "shared", own: "each its own" }, "shared", (k) => { own = k === "own"; redraw(); }),
      bandsBox(charts)],
    body: [legend(list, charts), el("div.multiples", {}, charts.map((c, b) =>
      el("div.multiple", {}, el("h3", {}, `Bin ${BINS[b]}`), subtitles[b], c.root)))],
    table: table() });
}

// First place along a curve, on the log axis, where it reaches the accuracy.
function crossing(points, level) {
  const list = points.filter((p) => isNumber(p.y) && p.x > 0).sort((a, b) => a.x - b.x);
  let best = -Infinity; // the running maximum, as the ratio itself is computed
  for (let i = 0; i < list.length; i++) {
    const { x, y } = list[i];
    if (y >= level - 1e-9) return i === 0 ? x : list[i - 1].x * (x / list[i - 1].x) ** Math.min(1, (level - best) / (y - best));
    best = Math.max(best, y);
  }
  return null;
}

function optimalFigure() {
  const rows = S.compute_optimal;
  const kinds = [
    { key: "oracle", label: POLICY_NAMES.oracle, marker: "diamond", dash: "" },
    { key: "predicted", label: POLICY_NAMES.predicted, marker: "triangle", dash: "7 4" },
    { key: "charged", label: POLICY_NAMES.charged, marker: "down", dash: "9 3 2 3" },
    { key: "best_of_n", label: "Best-of-N weighted", colour: PALETTE.weighted, marker: "circle", dash: "" },
    { key: "majority", label: "Majority", colour: PALETTE.majority, marker: "square", dash: "2 3" },
  ].map((k) => ({ colour: PALETTE[k.key], ...k })).filter((k) => rows.some((r) => isNumber(r[k.key])));
  const axes = Object.keys(XS).filter((axis) => kinds.every((k) => rows.some((r) => r[`${k.key}_${axis}`] > 0)));
  let axis = axes[0] ?? "generations";
  const x = (r, key, on) => r[`${key}_${on}`] ?? (on === "generations" ? r.budget : null);
  const build = () => kinds.map((k) => ({ ...k, points: rows.map((r) => ({
    x: x(r, k.key, axis), y: r[k.key], ci: r[`${k.key}_ci95`],
    lines: [...armLines({ budget: r.budget, generations: x(r, k.key, "generations"), flops: r[`${k.key}_flops`],
      completion_tokens: r[`${k.key}_completion_tokens`] }, r[k.key], r[`${k.key}_ci95`], S.problems),
      ...(isNumber(r[`${k.key}_sd`]) ? [["SD over splits", percent(r[`${k.key}_sd`], 2)]] : [])] })) }));
  const ratios = S.headline.equal_accuracy_ratio ?? {};
  const bracketed = POLICIES.filter((p) => isNumber(ratios[p]?.accuracy) && isNumber(ratios[p]?.generations));
  let policy = bracketed.includes("predicted") ? "predicted" : bracketed[0];
  function marks(chart) {
    const row = ratios[policy], value = row?.[axis];
    if (!isNumber(value) || chart.hidden.has(policy) || chart.hidden.has("best_of_n")) return;
    const of = (key) => chart.series.find((s) => s.key === key)?.points ?? [];
    const [from, to] = [crossing(of(policy), row.accuracy), crossing(of("best_of_n"), row.accuracy)];
    if (!from || !to) return;
    const [a, b, y] = [chart.x(from), chart.x(to), chart.y(row.accuracy)];
    chart.picture.append(svg("path", { class: "bracket", d: `M${a},${y - 6}V${y + 6}M${a},${y}H${b}M${b},${y - 6}V${y + 6}` }));
    const middle = Math.max(chart.pad.left + 40, Math.min((a + b) / 2, chart.width - chart.pad.right - 40));
    chart.picture.append(svg("text", { class: "bracket-label", x: middle, y: y - 11, "text-anchor": "middle" }, `×${value.toFixed(2)}`));
  }
  const settings = () => ({ xLabel: `${XS[axis].label} (log scale)`, powersOfTwo: axis === "generations" });
  const chart = new LineChart(build(), { title: "Compute-optimal policy against best-of-N", directLabels: true, marks, ...settings() });
  const note = el("p.quiet");
  const explain = () => {
    const row = ratios[policy];
    note.textContent = !row ? "No policy reaches an accuracy in common with best-of-N weighted; there is no ratio to draw."
      : `Bracket: at ${percent(row.accuracy)} % accuracy best-of-N weighted spends ×${row.generations.toFixed(2)} the generations`
        + (isNumber(row.completion_tokens) ? `, ×${row.completion_tokens.toFixed(2)} the completion tokens` : "")
        + (isNumber(row.flops) ? ` and ×${row.flops.toFixed(2)} the FLOPs` : "") + ` of the ${policy} policy`
        + (row.generations < 1 ? ": here the policy is the dearer one." : ".");
  };
  explain();
  const missing = POLICIES.filter((p) => !bracketed.includes(p));
  return figure({ id: "optimal", title: "The compute-optimal policy",
    says: "Choosing the method by difficulty and budget, on problems the choice was not made on, against spending everything on one method.",
    paper: "The paper: the policy nearly matches best-of-N with four times less compute, 16 against 64 generations, with oracle and with predicted difficulty; it does not charge the 2,048 samples that difficulty took (Snell et al. 2024, Fig. 4).",
    controls: [axes.length > 1 ? choice("Across", Object.fromEntries(axes.map((a) => [a, XS[a].unit])), axis,
      (a) => { axis = a; chart.set(build(), settings()); }) : null,
    bracketed.length > 1 ? choice("Bracket for", Object.fromEntries(bracketed.map((p) => [p, p])), policy,
      (p) => { policy = p; explain(); chart.draw(); }) : null, bandsBox([chart])].filter(Boolean),
    body: [legend(kinds, [chart]), chart.root, note, ratioTable(ratios),
      missing.length && bracketed.length ? el("p.quiet", {}, `No equal-accuracy ratio for: ${missing.join(", ")}.`) : null],
    table: numbers(rows.flatMap((r) => kinds.map((k) => [k.label, r.budget, percent(r[k.key], 2), span(r[`${k.key}_ci95`], 2),
      isNumber(r[`${k.key}_sd`]) ? percent(r[`${k.key}_sd`], 2) : null, full(r[`${k.key}_generations`]), full(r[`${k.key}_completion_tokens`]),
      flopsText(r[`${k.key}_flops`])])),
    ["Curve", "Budget", "Accuracy %", "95 % interval", "SD over splits", "Generations", "Completion tokens", "FLOPs"]) });
}

function ratioTable(ratios) {
  const cell = (row, unit) => {
    if (!isNumber(row?.[unit])) return "not reached";
    const ci = row[`${unit}_ci95`];
    // An interval without an upper end is unbounded: in too many draws only the policy gets there.
    const range = !isNumber(ci?.[0]) ? "" : isNumber(ci[1]) ? ` (${ci[0].toFixed(2)} to ${ci[1].toFixed(2)})` : ` (${ci[0].toFixed(2)} or more)`;
    return row[unit].toFixed(2) + range;
  };
  // Powers of four from 4 on say enough; summary.json has every budget.
  const at = [...new Set(POLICIES.flatMap((p) => (ratios[p]?.at ?? []).map((r) => r.budget)))]
    .filter((n) => n >= 4 && Number.isInteger(Math.log2(n) / 2)).sort((a, b) => a - b);
  const found = (p, budget) => (ratios[p]?.at ?? []).find((r) => r.budget === budget)?.generations;
  const units = Object.entries({ generations: "Generations", completion_tokens: "Completion tokens", flops: "FLOPs" })
    .filter(([unit]) => (unit === "flops" ? SIZED : unit !== "completion_tokens" || POLICIES.some((p) => isNumber(ratios[p]?.[unit]))));
  return tableOf(["Difficulty", ...units.map(([, name]) => name), "At accuracy %", ...at.map((b) => `At N = ${b}`)],
    POLICIES.map((p) => [p, ...units.map(([unit]) => cell(ratios[p], unit)), percent(ratios[p]?.accuracy),
      ...at.map((b) => (isNumber(found(p, b)) ? found(p, b).toFixed(2) : "not reached"))]),
    { caption: "Compute that best-of-N weighted needs over compute that the policy needs, at equal accuracy, with 95 % intervals; above 1 the policy saves. Right: the same in generations, at best-of-N weighted's accuracy at N." });
}

function choiceFigure() {
  const rows = S.compute_optimal;
  const kinds = POLICIES.filter((p) => rows.some((r) => Array.isArray(r[`${p}_arms`])));
  if (!kinds.length) return null;
  const used = [...new Set(kinds.flatMap((p) => rows.flatMap((r) => (r[`${p}_arms`] ?? []).map(armName))))].filter((n) => n !== DASH).sort();
  // An arm's colour is that of its line in the first figure; of a width that has none, the root's.
  const main = looks(DATA.series.filter((s) => s.main));
  const colourOf = (label) => main.find((s) => s.label === label)?.colour;
  const others = used.filter((n) => !colourOf(n));
  const tint = (name) => colourOf(name) ?? colourOf(name.replace(/width \d+/, "width √N"))
    ?? SEARCH[others.indexOf(name) % SEARCH.length];
  const holder = el("div");
  const show = (kind) => holder.replaceChildren(el("div.scroll", { tabindex: 0, role: "region", "aria-label": "Chosen arms" },
    el("table.matrix", { style: { "min-width": `${92 + 100 * rows.length}px` } }, el("thead", {}, el("tr", {}, el("th.text", { scope: "col" }, "Bin"), rows.map((r) => el("th", { scope: "col" }, `${r.budget}`)))),
      el("tbody", {}, BINS.map((name, b) => el("tr", {}, el("th.text", { scope: "row" }, name), rows.map((r) => {
        const arm = armName(r[`${kind}_arms`]?.[b]);
        return arm === DASH ? el("td.none", {}, DASH) : el("td", { style: { "--tint": tint(arm) } }, arm);
      })))))));
  show(kinds[0]);
  return figure({ id: "choice", title: "What the policy chooses",
    says: "The arm chosen most often over the random splits, for each difficulty bin (down) and budget in generations (across).",
    paper: "The paper: easy problems take best-of-N at large budgets, harder ones beam search (Snell et al. 2024, Fig. 3, right).",
    controls: [choice("Difficulty", Object.fromEntries(kinds.map((k) => [k, k])), kinds[0], show)], body: holder,
    table: numbers(kinds.flatMap((k) => rows.map((r) => [k, r.budget, ...BINS.map((_, b) => armName(r[`${k}_arms`]?.[b]))])),
      ["Policy", "Budget", ...BINS.map((b) => `Bin ${b}`)], { textColumns: 7 }) });
}
