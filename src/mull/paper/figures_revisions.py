"""The paper's figures on revisions: 6, 7, 8, 10, 11, 15 and 16."""

from __future__ import annotations

from mull.paper import curves
from mull.paper.arrays import Arrays
from mull.paper.figure import Figure, Panel, Series, Sheet, joined
from mull.paper.figures_search import ACCURACY, BINS, BUDGET, HARD
from mull.paper.view import Ours

RATIO = "sequential to parallel attempts, log2"
#: Budgets in the order of their colours; the paper's colour is the logarithm of N.
SIZES = tuple(1 << i for i in range(9))
#: Groups are this wide in log2 ratios, from the most parallel to the most sequential.
_SPAN = 20.0
_PAPER_N = 128


def figures(ours: Ours) -> list[Figure]:
    """All of them."""
    listed = [figure_6(ours), figure_7(ours), figure_8(ours), figure_10(ours), figure_11(ours)]
    return [*listed, figure_15(ours), figure_16(ours)]


def figure_6(ours: Ours) -> Figure:
    """Chains step by step; sequential against parallel."""
    sheet = Sheet(ours, "6")
    left = sheet.line("chain", "Pass@1 at that step", "blue", style="dots")
    right = joined(
        [
            sheet.line("sequential:score", "Sequential, best-of-N weighted", "blue"),
            sheet.line("parallel:score", "Parallel, best-of-N weighted", "orange"),
            sheet.line("sequential:majority", "Sequential, majority", "blue", dashed=True),
            sheet.line("parallel:majority", "Parallel, majority", "orange", dashed=True),
        ]
    )
    return Figure(
        "figure-06",
        "6",
        "9",
        "Revising step by step, and against sampling in parallel",
        "Left: pass@1 of the reviser at each step of a chain; later steps are reached by fewer chains. "
        f"{_turned(ours)}Right: N attempts of one chain against N first attempts.",
        (
            Panel("A chain of revisions", "revision step", "pass@1, %", tuple(left), "linear"),
            Panel("Sequential and parallel", BUDGET, ACCURACY, right),
        ),
        sheet.missing,
    )


def _turned(ours: Ours) -> str:
    """How often an answer turns in a chain, and how long the context gets; empty without chains."""
    if not ours.arrays.has("lost", "won", "context"):
        return ""
    lost, won = (ours.arrays.lines[name].y.sum(axis=0) for name in ("lost", "won"))
    rates = [f"{100 * did / could:.1f} % of" if could else "no" for could, did in (lost, won)]
    read = ours.arrays.lines["context"].y.mean(axis=0)
    return (
        f"From one attempt to the next {rates[0]} right answers turn wrong and {rates[1]} wrong ones right. "
        f"Tokens read before an attempt: {read[0]:.0f} at step 1, {read[-1]:.0f} at step {len(read)}. "
    )


def budget_of(arrays: Arrays) -> int | None:
    """The N of figure 7's right side: the second largest, which has every ratio."""
    chains = int(arrays.facts.get("chains", 0))
    return chains // 2 if chains else None


def ratios(sheet: Sheet, by: str, prefix: str = "ratio") -> Panel:
    """Accuracy against the ratio, a line for each N."""
    series: list[Series] = []
    absent: list[str] = []
    for i, n in enumerate(SIZES):
        name = f"{prefix}:{by}:{n}"
        if sheet.ours.arrays.has(name):
            series += sheet.line(name, f"N = {n}", f"n{i}")
        elif curves.overall(name, sheet.figure) is not None:
            absent.append(str(n))
    if not series:
        sheet.line(f"{prefix}:{by}:1", "", "grey")  # notes that it is missing
    elif absent:
        sheet.lacks(f"ratios at N = {', '.join(absent)}")
    return Panel("All problems", RATIO, ACCURACY, tuple(series), "linear")


def by_bin(sheet: Sheet, by: str, kind: str, title: str) -> Panel:
    """Bars of the ratios in each bin at the second largest N."""
    n = budget_of(sheet.ours.arrays)
    name = f"ratio:{by}:{n}"
    theirs = curves.by_bin(f"ratio:{by}:{_PAPER_N}", kind, 0)
    series: list[Series] = []
    if n is not None and sheet.ours.arrays.has(name):
        places = [float(x) for x in sheet.ours.places(name)]
        shown = [float(x) for x in theirs[0]] if theirs is not None else []
        paper = (f"ratio:{by}:{_PAPER_N}", shown, [x / _SPAN for x in shown])
        series = sheet.bars(
            name, f"N = {n} (paper: N = {_PAPER_N})", "ramp", places, [x / _SPAN for x in places], kind, paper
        )
    else:
        sheet.line(name, "", "grey")
    along = f"{HARD}; bars: parallel (blue) to sequential (red)"
    return Panel(title, along, ACCURACY, tuple(series), "groups", BINS, width=1.6 / _SPAN)


def figure_7(ours: Ours) -> Figure:
    """The ratio, selected by the verifier."""
    sheet = Sheet(ours, "7")
    return Figure(
        "figure-07",
        "7",
        "7",
        "The ratio of sequential to parallel revisions",
        f"Selected by the verifier, in chains and then across. {_bars(ours)}",
        (ratios(sheet, "score"), by_bin(sheet, "score", "oracle", "By oracle difficulty")),
        sheet.missing,
    )


def _bars(ours: Ours) -> str:
    n = budget_of(ours.arrays)
    here = f"N = {n} here, " if n else ""
    said = "Right: the ratios from fully parallel (left) to fully sequential"
    return f"{said}, {here}N = {_PAPER_N} in the paper."


def figure_8(ours: Ours) -> Figure:
    """Compute-optimal revisions."""
    sheet = Sheet(ours, "8")
    return Figure(
        "figure-08",
        "8",
        "6",
        "Compute-optimal revisions",
        "The policy takes the best ratio in each difficulty bin, on held-out halves; solid lines select by "
        "the verifier, dashed ones by majority.",
        (Panel("All problems", BUDGET, ACCURACY, optimal(sheet, predicted=True)),),
        sheet.missing,
    )


def optimal(sheet: Sheet, *, predicted: bool) -> tuple[Series, ...]:
    """Figure 8's lines; figure 1 leaves out predicted difficulty."""
    found: list[Series] = []
    for family, base, how in (
        ("revisions", "parallel:score", ""),
        ("revisions_majority", "parallel:majority", ", majority"),
    ):
        dashed = bool(how)
        kinds = [("oracle", "green"), ("predicted", "purple")] if predicted else [("oracle", "green")]
        for kind, ink in kinds:
            label = f"Compute-optimal ({kind}){how}"
            found += sheet.line(f"policy:{family}:{kind}", label, ink, dashed=dashed, marker="s")
        found += sheet.line(base, f"Parallel{how}", "orange", dashed=dashed)
    return tuple(found)


def figure_10(ours: Ours) -> Figure:
    """Figure 7 by majority."""
    sheet = Sheet(ours, "10")
    return Figure(
        "figure-10",
        "10",
        "10",
        "The ratio, selected by majority",
        f"As figure 7, with a flat majority over all attempts of all chains. {_bars(ours)}",
        (ratios(sheet, "majority"), by_bin(sheet, "majority", "oracle", "By oracle difficulty")),
        sheet.missing,
    )


def figure_11(ours: Ours) -> Figure:
    """The ratios by predicted difficulty."""
    sheet = Sheet(ours, "11")
    return Figure(
        "figure-11",
        "11",
        "11",
        "The ratio by predicted difficulty",
        f"As figures 7 and 10, right, with bins of the verifier's mean score. {_bars(ours)}".replace(
            "Right: the", "The"
        ),
        (
            by_bin(sheet, "score", "predicted", "Selected by the verifier"),
            by_bin(sheet, "majority", "predicted", "Selected by majority"),
        ),
        sheet.missing,
    )


def figure_15(ours: Ours) -> Figure:
    """Verifiers of revisions."""
    sheet = Sheet(ours, "6")
    own = sheet.line("sequential:score", "Sequential, the revisions' verifier", "blue")
    parallel = sheet.line("parallel:score", "Parallel", "orange")
    prm = sheet.line("sequential:prm", "Sequential, the base model's PRM", "red")
    blind = sheet.line("sequential:score_blind", "Sequential, without history", "red")
    seen = sheet.line("sequential:score", "Sequential, with history", "blue")
    return Figure(
        "figure-15",
        "15",
        "18",
        "The verifier of revisions",
        "Left: one trained on revisions against the base model's PRM. Right: with and without the attempts "
        "before in its context.",
        (
            Panel("Trained on revisions or not", BUDGET, ACCURACY, joined([own, prm, parallel])),
            Panel("With and without history", BUDGET, ACCURACY, joined([seen, blind, parallel])),
        ),
        sheet.missing,
    )


def figure_16(ours: Ours) -> Figure:
    """ReST-EM."""
    sheet = Sheet(ours, "16")
    return Figure(
        "figure-16",
        "16",
        "19",
        "A reviser trained by ReST-EM",
        "The negative result: on-policy training, selected by majority.",
        (ratios(sheet, "majority", "restem"),),
        sheet.missing,
    )
