"""The paper's figures on sampling and search: 3, 4, 12, 13, 14, and ICLR 13."""

from __future__ import annotations

from mull.paper.figure import Figure, Panel, Series, Sheet, joined, spread
from mull.paper.view import Ours

BUDGET, ACCURACY = "generation budget", "accuracy, %"
#: Budgets of the paper's bars.
BUDGETS = (4, 16, 64, 256)
BINS = tuple((float(b), str(b)) for b in range(1, 6))
HARD = "difficulty bin, 1 the easiest"


def figures(ours: Ours) -> list[Figure]:
    """All of them."""
    return [figure_3(ours), figure_4(ours), figure_12(ours), figure_13(ours), figure_14(ours), iclr_13(ours)]


def figure_3(ours: Ours) -> Figure:
    """Methods of search against each other, overall and by difficulty."""
    sheet = Sheet(ours, "3")
    left = joined(
        [
            sheet.line("weighted:prm", "Best-of-N weighted", "orange"),
            sheet.line("majority", "Majority", "grey"),
            sheet.line("beam:sqrt", "Beam, width \u221aN", "blue", marker="s"),
            sheet.line("beam:4", "Beam, width 4", "green", marker="s"),
            sheet.line("lookahead:1:sqrt", "1-step lookahead, width \u221aN", "sky", marker="^"),
            sheet.line("lookahead:3:sqrt", "3-step lookahead, width \u221aN", "purple", marker="^"),
            sheet.line("lookahead:3:4", "3-step lookahead, width 4", "red", marker="^"),
        ]
    )
    return Figure(
        "figure-03",
        "3",
        "3",
        "Comparing methods of search against a PRM",
        "Left: every method at each budget. Right: beam search (width 4), best-of-N weighted and majority "
        "by oracle difficulty; the four bars of a bin are budgets of 4, 16, 64 and 256.",
        (Panel("All problems", BUDGET, ACCURACY, left), by_difficulty(sheet, "oracle")),
        sheet.missing,
    )


def by_difficulty(sheet: Sheet, kind: str) -> Panel:
    """Overlaid bars by bin and budget."""
    offsets, width = spread(len(BUDGETS))
    methods = [("beam:4", "Beam, width 4", "green"), ("weighted:prm", "Best-of-N weighted", "orange")]
    methods.append(("majority", "Majority", "grey"))
    series = joined(sheet.bars(name, label, ink, BUDGETS, offsets, kind) for name, label, ink in methods)
    along = f"{HARD}; bars: N = {', '.join(map(str, BUDGETS))}"
    return Panel(f"By {kind} difficulty", along, ACCURACY, series, "groups", BINS, width=width)


def figure_4(ours: Ours) -> Figure:
    """Compute-optimal search."""
    sheet = Sheet(ours, "4")
    panel = Panel("All problems", BUDGET, ACCURACY, optimal(sheet, predicted=True))
    return Figure(
        "figure-04",
        "4",
        "4",
        "Compute-optimal search",
        "The policy takes the better of best-of-N weighted and beam search (width 4) in each difficulty bin, "
        "chosen on one half of the problems and measured on the other.",
        (panel,),
        sheet.missing,
    )


def optimal(sheet: Sheet, *, predicted: bool) -> tuple[Series, ...]:
    """Figure 4's lines; figure 1 leaves out predicted difficulty."""
    lines = [
        sheet.line("majority", "Majority", "grey"),
        sheet.line("weighted:orm", "ORM best-of-N weighted", "sky"),
        sheet.line("weighted:prm", "PRM best-of-N weighted", "orange"),
        sheet.line("policy:search:oracle", "Compute-optimal (oracle)", "green", marker="s"),
    ]
    if predicted:
        lines.append(
            sheet.line("policy:search:predicted", "Compute-optimal (predicted)", "purple", marker="s")
        )
    return joined(lines)


def figure_12(ours: Ours) -> Figure:
    """Figure 3's right side with predicted bins."""
    sheet = Sheet(ours, "12")
    return Figure(
        "figure-12",
        "12",
        "12",
        "Search by predicted difficulty",
        "As figure 3, right, with bins of the verifier's mean score, no labels used.",
        (by_difficulty(sheet, "predicted"),),
        sheet.missing,
    )


def figure_13(ours: Ours) -> Figure:
    """Aggregations of step scores."""
    sheet = Sheet(ours, "13")
    series = joined(
        [
            sheet.line("weighted:prm", "PRM, last step", "orange"),
            sheet.line("weighted:prm-min", "PRM, smallest step", "blue"),
            sheet.line("weighted:prm-product", "PRM, product of steps", "red"),
            sheet.line("weighted:orm", "ORM", "sky"),
            sheet.line("majority", "Majority", "grey"),
        ]
    )
    return Figure(
        "figure-13",
        "13",
        "14",
        "From step scores to a solution's score",
        "Best-of-N weighted by the PRM's last, smallest or multiplied step scores.",
        (Panel("All problems", BUDGET, ACCURACY, series),),
        sheet.missing,
    )


def figure_14(ours: Ours) -> Figure:
    """PRM against ORM."""
    sheet = Sheet(ours, "14")
    series = joined(
        [
            sheet.line("weighted:prm", "PRM best-of-N weighted", "orange"),
            sheet.line("weighted:orm", "ORM best-of-N weighted", "sky"),
            sheet.line("majority", "Majority", "grey"),
        ]
    )
    return Figure(
        "figure-14",
        "14",
        "15",
        "A PRM against an ORM",
        f"As far as this study's pool of {ours.arrays.facts.get('pool')} samples; the paper's has 2048.",
        (Panel("All problems", BUDGET, ACCURACY, series),),
        sheet.missing,
    )


def iclr_13(ours: Ours) -> Figure:
    """Best-of-N against best-of-N weighted."""
    sheet = Sheet(ours, "iclr-13")
    series: list[Series] = []
    for score, ink in (("prm", "orange"), ("orm", "sky")):
        name = score.upper()
        series += sheet.line(f"weighted:{score}", f"{name}, best-of-N weighted", ink)
        series += sheet.line(f"best:{score}", f"{name}, best-of-N", ink, dashed=True)
    return Figure(
        "figure-iclr-13",
        "",
        "13",
        "Best-of-N against best-of-N weighted",
        "Weighted sums the scores of equal answers, plain takes the single best solution. The paper's "
        "curves of plain best-of-N are not digitised.",
        (Panel("All problems", BUDGET, ACCURACY, tuple(series)),),
        sheet.missing,
    )
