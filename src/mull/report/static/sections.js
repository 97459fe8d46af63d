"use strict";
// The page's other sections, and its assembly: verifier figures, difficulty, every arm.

const LOOKS = [["var(--c-blue)", ""], ["var(--c-red)", "7 4"], ["var(--c-green)", "2 3"], ["var(--c-purple)", "9 3 2 3"],
  ["var(--c-orange)", ""], ["var(--c-sky)", "7 4"], ["var(--c-brown)", "2 3"]];
const styled = (list) => list.map((s, i) => (s.role === "majority"
  ? { ...s, colour: PALETTE.majority, dash: "2 3", marker: "square" }
  : { ...s, colour: LOOKS[i % LOOKS.length][0], dash: LOOKS[i % LOOKS.length][1], marker: SHAPES[i % SHAPES.length] }));
const firstOf = (role, verifier, aggregation) => DATA.series.find((s) => s.role === role
  && (!verifier || s.verifier === verifier) && (!aggregation || s.aggregation === aggregation));
const verifierOf = (s) => s.verifier.toUpperCase();

function aggregationFigure() {
  const order = ["last", "min", "product", "prod", "mean"];
  const rank = (s) => (order.includes(s.aggregation) ? order.indexOf(s.aggregation) : 9);
  const steps = DATA.series.filter((s) => s.role === "weighted" && s.verifier !== "orm" && s.aggregation).sort((a, b) => rank(a) - rank(b));
  const left = styled(steps.map((s) => ({ ...s, label: `${verifierOf(s)} ${s.aggregation}`.trim() })));
  const pick = (role, verifier) => firstOf(role, verifier, "last") ?? firstOf(role, verifier);
  const verifiers = [...new Set(DATA.series.filter((s) => s.role === "plain" || s.role === "weighted").map((s) => s.verifier))].sort().reverse();
  const right = styled(verifiers.flatMap((v) => ["weighted", "plain"].map((role) => pick(role, v)).filter(Boolean)
    .map((s) => ({ ...s, label: `${verifierOf(s)} ${s.role === "plain" ? "best single" : "weighted"}`.trim() }))));
  const panels = [[left, "One solution's score from its steps"], [right, "Best-of-N: weighted vote or best single solution"]]
    .filter(([list]) => list.length > 1)
    .map(([list, title]) => ({ list, title, ...armChart(list, title, { height: 320, directLabels: false }) }));
  if (!panels.length) return null;
  return figure({ id: "aggregation", title: "How scores become an answer",
    says: "Left, how a process verifier's step scores become one score for a solution; right, whether equal answers pool their scores or the single best solution wins.",
    paper: "The paper: the last step's score beats the minimum and the product when the labels are soft; weighting never loses to the single best, and the ORM's single best declines at large N (Snell et al. 2024, Fig. 13; weighting in the ICLR version's Fig. 13).",
    controls: [bandsBox(panels.map((p) => p.chart))],
    body: el("div.pair", {}, panels.map((p) => el("div", {}, el("h3", {}, p.title), p.axisChoice, legend(p.list, [p.chart]), p.chart.root))),
    table: numbers(armRows([...left, ...right.filter((s) => !left.some((l) => l.key === s.key))]), ARM_HEADINGS) });
}

function verifierFigure() {
  const prm = firstOf("weighted", "prm", "last") ?? firstOf("weighted", "prm") ?? firstOf("weighted", "");
  const orm = firstOf("weighted", "orm");
  const list = styled([prm && { ...prm, label: "PRM, weighted" }, orm && { ...orm, label: "ORM, weighted" }, firstOf("majority")].filter(Boolean));
  if (!list.length) return null;
  const { chart, axisChoice } = armChart(list, "Verifiers compared", { height: 360 });
  return figure({ id: "verifiers", title: "Which verifier",
    says: "Best-of-N weighted with a process verifier (a score a step) and an outcome verifier (a score a solution), and majority voting, which needs neither.",
    paper: "The paper: no difference up to 8 samples, then the PRM pulls away from the ORM and both from majority (Snell et al. 2024, Fig. 14).",
    controls: [axisChoice, bandsBox([chart])].filter(Boolean),
    body: [legend(list, [chart]), chart.root, orm ? null : el("p.quiet", {}, "This study has no outcome verifier.")],
    table: numbers(armRows(list), ARM_HEADINGS) });
}

function calibrationFigure() {
  const found = Object.entries(S.calibration ?? {});
  if (!found.length) return null;
  const point = (b) => ({ x: b.score, y: b.right, ci: [b.low, b.high], lines: [["mean score", b.score.toFixed(3)],
    ["right", `${percent(b.right)} %`], ["95 % interval", span([b.low, b.high])], ["samples", full(b.samples)]] });
  const list = styled(found.flatMap(([name, c]) => [["as it is", c.before], ["calibrated", c.after]].map(([how, bins]) => (
    { key: `${name}-${how}`, label: `${name.toUpperCase()}, ${how}`, points: bins.map(point) }))));
  const diagonal = (chart) => chart.picture.append(svg("path", { class: "grid",
    d: `M${chart.x(0)},${chart.y(0)}L${chart.x(1)},${chart.y(1)}` }));
  const chart = new LineChart(list, { title: "Calibration", chances: true, yTop: 1, height: 360, marks: diagonal,
    xLabel: "Score", yLabel: "Right, %" });
  return figure({ id: "calibration", title: "What a score is worth",
    says: "How often solutions of like score are right (a process verifier's last step); on the diagonal a score is a chance. Calibrated: by isotonic regression, each problem by the others. Intervals take samples as independent, which those of one problem are not: they are too narrow.",
    paper: "The paper shows none; it trains its PRM on soft labels, so that a score is to be read as a chance (Snell et al. 2024, Appendix D).",
    controls: [bandsBox([chart])],
    body: [legend(list, [chart]), chart.root, tableOf(["Verifier", "Expected calibration error", "Brier score", "Calibrated: error", "Brier score", "Samples"],
      found.map(([name, c]) => [name.toUpperCase(), c.ece.before.toFixed(4), c.brier.before.toFixed(4), c.ece.after.toFixed(4), c.brier.after.toFixed(4), full(c.samples)]))],
    table: numbers(list.flatMap((s) => s.points.map((p) => [s.label, p.x.toFixed(3), percent(p.y, 2), span(p.ci, 2)])), ["Curve", "Mean score", "Right %", "95 % interval"]) });
}

function difficultySection() {
  const blank = { text: " " };
  const edge = (v) => (isNumber(v) ? String(+v.toPrecision(3)) : null);
  const rows = POLICIES.filter((k) => S.difficulty[k]).flatMap((k) => {
    const d = S.difficulty[k];
    return [
      [k, "problems", ...BINS.map((_, b) => full(d.bin_sizes?.[b])), full(d.samples)],
      [blank, "pass@1, %", ...BINS.map((_, b) => percent(d.base_pass_at_1?.[b], 2)), blank],
      [blank, "edge to the next bin", ...BINS.map((_, b) => (b < 4 ? edge(d.thresholds?.[b]) : blank)), blank],
    ];
  });
  const made = tableOf(["Estimate", "", ...BINS.map((b) => `Bin ${b}`), "Samples taken"], rows, { textColumns: 2 });
  const k = Object.entries(S.base.pass_at_k ?? {});
  return figure({ id: "difficulty", title: "Difficulty",
    says: "The five bins under each estimate of difficulty: their sizes, and how often one sample of the base model is right there.",
    paper: "The paper: pass@1 of 37, 11, 3.4, 0.9 and 0.05\u00a0% over the five bins, from 2,048 samples a problem (read off the figures of Snell et al. 2024).",
    body: [made, k.length ? el("div.passk", {}, el("h3", {}, "At least one of k samples right"),
      tableOf(["k", ...k.map(([n]) => n)], [["pass@k %", ...k.map(([, v]) => percent(v))]])) : null], table: null });
}

function armsSection() {
  const headings = [...ARM_HEADINGS, ...BINS.map((b) => `Bin ${b}, %`)];
  headings.splice(1, 0, "Parameters");
  const number = (v, text) => (isNumber(v) ? { value: v, text } : null);
  const rows = arms.map((a) => [Object.hasOwn(DATA.names, a.strategy) ? DATA.names[a.strategy] : a.strategy, paramsText(a.params) || null, a.budget,
    number(a.accuracy, percent(a.accuracy, 2)), span(a.ci95, 2) || null, number(a.generations, full(a.generations)),
    number(a.completion_tokens, full(a.completion_tokens)), number(a.verifier_tokens, full(a.verifier_tokens)),
    number(a.flops, full(a.flops)), ...BINS.map((_, b) => number(a.by_bin?.[b], percent(a.by_bin?.[b], 2)))]);
  const save = () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(S, null, 1)], { type: "application/json" }));
    const link = el("a", { href: url, download: "summary.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return figure({ id: "arms", title: "Every number",
    says: `All ${arms.length} arms; a heading sorts. Bins are the oracle's. Costs are means a problem, pruned branches included.`,
    paper: "", controls: [el("button.plain", { type: "button", onclick: save }, "Download summary.json")],
    body: el("div.tall", {}, tableOf(headings, rows, { sortable: true, textColumns: 2, caption: "All arms" })), table: null });
}

function treesSection() {
  return figure({ id: "trees", title: "Inside a search",
    says: "What the search wrote, step by step, how the verifier scored it, what was kept and pruned, and how the final answers were weighed.",
    paper: "The paper shows scored solutions of its own (Snell et al. 2024, Figs. 24 to 29).", body: treeViewer(DATA.trees), table: null });
}

function setup() {
  const { study } = S;
  const words = (v) => (v && typeof v === "object" ? Object.entries(v).filter(([, x]) => x !== null).map(([k, x]) => `${k}: ${x}`).join("; ") || null : v);
  const facts = [["Problems", full(S.problems)], ["Proposer", words(study.engine)], ["Verifiers", words(study.verifiers)],
    ["Temperature", study.temperature], ["Samples a problem", isNumber(study.pool) ? full(study.pool) : study.pool],
    ["Tokens a sample", full(S.base.completion_tokens)], ["Seed", study.seed], ["Study hash", study.hash], ["mull", study.mull]]
    .filter(([, v]) => v !== null && v !== undefined && v !== "" && v !== DASH);
  return el("dl.setup", {}, facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, String(v)))));
}

function main() {
  const sections = [budgetFigure, binsFigure, optimalFigure, choiceFigure, aggregationFigure, verifierFigure,
    calibrationFigure, difficultySection, treesSection, armsSection].map((make) => make()).filter(Boolean);
  document.getElementById("setup").replaceChildren(setup());
  const warnings = S.warnings.filter((w) => w);
  if (warnings.length)
    document.getElementById("warnings").replaceChildren(el("h2", {}, "Read with care"), el("ul", {}, warnings.map((w) => el("li", {}, String(w)))));
  document.getElementById("contents").replaceChildren(...sections.map((s) =>
    el("a", { href: `#${s.id}` }, s.querySelector("h2").textContent)));
  document.getElementById("figures").replaceChildren(...sections);
  document.body.append(TIP);
  addEventListener("scroll", hideTip, { passive: true });
}
main();
