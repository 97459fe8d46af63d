"""The paper's figures 1 and 9, ICLR 17 on weak verifiers, and one of mull's own policies."""

from __future__ import annotations

import numpy as np

from mull.paper import curves, figures_revisions, figures_search
from mull.paper.claims_exchange import GROUPS, MECHANISMS, advantage, reached, stars
from mull.paper.figure import Figure, Panel, Series, Sheet, banded, joined, spread
from mull.paper.figures_search import ACCURACY, BUDGET
from mull.paper.view import Absent, Ours

#: The bars' groups in the paper's order: R far below 1, about 1, far above 1.
_ORDER = {256: "R \u226a 1", 64: "R \u2248 1", 16: "R \u226b 1"}
_INKS = {"easy": "green", "medium": "orange", "hard": "red"}
#: ICLR appendix K's verifiers, by line.
WEAK = {
    "weighted:random": "Random verifier",
    "weighted:flipped": "PRM, 20 % of scores turned round",
    "weighted:prm": "PRM",
    "parallel:majority": "No verifier: majority of parallel revisions",
}


def figures(ours: Ours) -> list[Figure]:
    """All of them."""
    return [figure_1(ours), figure_9(ours), iclr_17(ours), joint(ours)]


def figure_1(ours: Ours) -> Figure:
    """The overview: both mechanisms, and both against pretraining."""
    sheet = Sheet(ours, "1")
    revised = figures_revisions.optimal(sheet, predicted=False)
    searched = figures_search.optimal(sheet, predicted=False)
    return Figure(
        "figure-01",
        "1",
        "1",
        "Compute-optimal revisions and search, and both against a larger model",
        "Left: accuracy against budget; dashed lines select by majority. Right: relative improvement of the "
        "small model over one greedy answer of the larger one at equal FLOPs; easy, medium and hard are bins "
        "2, 3 and 4. A hatched bar is a lower bound: its budget was not measured, so it shows the largest "
        "that was.",
        (
            Panel("Revisions", BUDGET, ACCURACY, revised),
            _improvement(sheet, "revisions"),
            Panel("Search", BUDGET, ACCURACY, searched),
            _improvement(sheet, "search"),
        ),
        sheet.missing,
    )


def _improvement(sheet: Sheet, mechanism: str) -> Panel:
    """Bars of relative improvement, a group for each R."""
    offsets, width = spread(len(GROUPS))
    name, found = MECHANISMS[mechanism], []
    for offset, (group, bin_) in zip(offsets, GROUPS.items(), strict=True):
        found += _bars(sheet, name, mechanism, group, bin_, offset)
    ticks = [(float(i), label) for i, label in enumerate(_ORDER.values())]
    return Panel(
        f"{mechanism.capitalize()} against pretraining",
        "inference tokens over pretraining tokens",
        "relative improvement, %",
        tuple(found),
        "groups",
        tuple(ticks),
        width=width,
        zero=True,
    )


def _bars(sheet: Sheet, name: str, mechanism: str, group: str, bin_: int, offset: float) -> list[Series]:
    places, values, at, bound = [], [], [], []
    shown = [
        (i + offset, value)
        for i, kappa in enumerate(_ORDER)
        if (value := curves.relative(mechanism, group, kappa)) is not None
    ]
    for i, kappa in enumerate(_ORDER):
        if kappa not in stars(sheet.ours):
            continue
        try:
            draws = advantage(sheet.ours, name, kappa, bin_)
            budget = reached(sheet.ours, name, kappa)
        except Absent as why:
            sheet.lacks(str(why))
            continue
        if not np.isfinite(draws[0]):
            sheet.lacks("problems of each bin that the larger model solves")
            continue
        places.append(i + offset)
        values.append(np.where(np.isfinite(draws), draws, np.nan))
        at.append(float(budget))
        bound.append(budget < kappa)
    if not values:
        if not stars(sheet.ours):
            sheet.lacks("larger model")
        y = low = high = np.zeros(0)
    else:
        y, low, high = banded(np.stack(values, axis=1))
    paper = (np.asarray([x for x, _ in shown]), np.asarray([v for _, v in shown])) if shown else None
    held = ((bin_,),) * len(places)
    found = Series(
        group, name, np.asarray(at), np.asarray(places), y, low, high, _INKS[group], paper, "bars",
        bins=held, bound=tuple(bound),
    )  # fmt: skip
    return [found] if len(places) or paper is not None else []


def figure_9(ours: Ours) -> Figure:
    """Both mechanisms by bin, with the larger model's stars."""
    sheet = Sheet(ours, "9")
    panels = (
        matched(sheet, MECHANISMS["revisions"], "Revisions"),
        matched(sheet, MECHANISMS["search"], "Search against a PRM"),
    )
    return Figure(
        "figure-09",
        "9",
        "8",
        "Test-time compute against pretraining",
        "Lines: compute-optimal (oracle) by difficulty bin. Stars: the larger model's greedy answers, at the "
        f"budgets of equal FLOPs{_sizes(ours)}. Test-time compute wins where the line is above its star. "
        "As in the paper, R takes pretraining tokens as equal and fine-tuning as free.",
        panels,
        sheet.missing,
    )


def _sizes(ours: Ours) -> str:
    facts = ours.arrays.facts
    if not facts.get("stars"):
        return ""
    listed = ", ".join(f"{k} at R = {v1:.2g} (ICLR {iclr:.2g})" for k, v1, iclr in facts["stars"])
    return f" ({facts['size']:.3g} times the parameters: {listed})"


def matched(sheet: Sheet, name: str, title: str) -> Panel:
    """One line a bin, and the larger model's stars."""
    series: list[Series] = []
    for b in range(5):
        series += sheet.line(name, f"Bin {b + 1}", f"b{b + 1}", bin=b)
    placed = stars(sheet.ours)
    if placed and series:
        for b in range(5):
            series += _stars(sheet, b, placed)
    elif not placed:
        sheet.lacks("larger model")
    facts = sheet.ours.arrays.facts.get("stars", [])
    verticals = tuple((float(k), f"R = {v1:.2g}") for k, v1, _ in facts)
    return Panel(title, BUDGET, ACCURACY, tuple(series), verticals=verticals)


def _stars(sheet: Sheet, bin_: int, placed: list[int]) -> list[Series]:
    """The larger model in one bin: the same at each of its places."""
    if not sheet.ours.count((bin_,)):
        return []
    y, low, high = banded(np.stack([sheet.ours.mean("larger", 1, (bin_,))] * len(placed), axis=1))
    at, x = np.ones(len(placed)), np.asarray(placed, np.float64)
    theirs = curves.by_bin("larger", "oracle", bin_)
    printed = np.asarray([star[0] for star in curves.table()["stars"]], np.float64)
    paper = None if theirs is None else (printed, np.repeat(theirs[1], len(printed)))
    held = ((bin_,),) * len(placed)
    return [Series("", "larger", at, x, y, low, high, f"b{bin_ + 1}", paper, "stars", bins=held)]


def iclr_17(ours: Ours) -> Figure:
    """Weak verifiers against the larger model."""
    sheet = Sheet(ours, "iclr-17")
    panels = tuple(matched(sheet, name, title) for name, title in WEAK.items())
    return Figure(
        "figure-iclr-17",
        "",
        "17",
        "How good must the verifier be?",
        "Best-of-N weighted by ever better verifiers, and no verifier at all, by oracle bin, against the "
        "larger model's stars. The random and the spoilt scores are the recorded ones, transformed with the "
        "study's seed. The paper's curves of this figure are not digitised.",
        tuple(_plain(panel) for panel in panels),
        sheet.missing,
    )


def _plain(panel: Panel) -> Panel:
    """The panel without the paper's stars, which belong to other curves."""
    from dataclasses import replace

    return replace(panel, series=tuple(replace(s, paper=None) for s in panel.series))


def joint(ours: Ours) -> Figure:
    """mull's own policies."""
    sheet = Sheet(ours, "own")
    rows = [("search", "Search", "orange"), ("revisions", "Revisions", "blue"), ("joint", "Both", "green")]
    panels = []
    for kinds, what in ((("oracle", "predicted"), ""), (("charged",), ", difficulty charged")):
        for how, title in (
            ("equal", "Every problem gets the budget"),
            ("allocating", "The average is the budget"),
        ):
            lines = [
                sheet.line("weighted:prm", "Best-of-N weighted", "grey", paper=None),
                sheet.line("parallel:score", "Parallel first attempts", "grey", paper=None, dashed=True),
            ]
            for family, label, ink in rows:
                for kind in kinds:
                    name = f"wide:{family}:{how}:{kind}"
                    lines.append(sheet.line(name, f"{label}, {kind}", ink, dashed=kind == "predicted"))
            panels.append(Panel(f"{title}{what}", BUDGET, ACCURACY, joined(lines)))
    return Figure(
        "figure-own",
        "",
        "",
        "Search and revisions as arms of one policy",
        "What the paper leaves open. Policies over all recorded arms, measured on held-out halves; on the "
        "right easy and hopeless problems give compute to those in between. Below, finding out the "
        "difficulty is paid for out of the budget. Grey: best-of-N weighted over samples of the proposer, "
        "and (dashed) over as many first attempts of the reviser.",
        tuple(panels),
        sheet.missing,
    )
