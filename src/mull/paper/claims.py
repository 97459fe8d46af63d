"""Claims and their verdicts, computed from a value and its interval and never by hand.

A claim allows its statistic a range. It *holds* where the whole 95 % interval lies inside, it
*does not hold* where the whole interval lies outside, and otherwise it *cannot be told at this
size*, as where a statistic was not measured or is over too few problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mull.paper.arrays import Arrays, Floats
from mull.paper.view import Absent, Ours, Paper, View

Verdict = Literal["holds", "does not hold", "cannot be told at this size"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "cannot be told at this size"
#: Accuracies within so many points count as alike: the standard error with the paper's 500 problems.
MARGIN = 2.0
#: A statistic over fewer problems decides nothing.
FEWEST = 20
ABOVE: tuple[float, float] = (0.0, math.inf)
BELOW: tuple[float, float] = (-math.inf, 0.0)
ALIKE: tuple[float, float] = (-MARGIN, MARGIN)


@dataclass(frozen=True, eq=False)
class Claim:
    """One of the paper's claims and the statistic that decides it.

    ``value``: the statistic, of either view; ``allowed``: the open range that the claim allows it.
    ``paper``: the paper's value where it is words, not curves; ``printed`` False where it prints neither.
    ``bins``: the bins that it is about, of difficulty ``kind``; () for all problems. ``unit``: what one
    problem's whole answer counts in the statistic, 0 for a ratio.
    """

    topic: str
    claim: str
    statistic: str
    value: Callable[[View], Floats]
    allowed: tuple[float, float] = ABOVE
    bins: tuple[int, ...] = ()
    kind: str = "oracle"
    paper: float | None = None
    printed: bool = True
    unit: float = 100.0


@dataclass(frozen=True)
class Row:
    """A claim judged. ``paper``, ``value`` and ``ci95`` are None where there is none; ``note`` says why."""

    topic: str
    claim: str
    statistic: str
    paper: float | None
    value: float | None
    ci95: tuple[float | None, float | None] | None
    verdict: Verdict
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row as ``claims.json`` has it."""
        return asdict(self)


def verdict(low: float, high: float, allowed: tuple[float, float]) -> Verdict:
    """What an interval says of an open range."""
    if allowed[0] < low and high < allowed[1]:
        return HOLDS
    if high < allowed[0] or low > allowed[1]:
        return FAILS
    return OPEN


def judge(arrays: Arrays, claims: Sequence[Claim]) -> list[Row]:
    """Every claim with its value, its interval and its verdict."""
    ours, paper = Ours(arrays), Paper()
    return [_judged(claim, ours, paper) for claim in claims]


def _judged(claim: Claim, ours: Ours, paper: Paper) -> Row:
    printed = claim.paper
    if printed is None and claim.printed:
        try:
            printed = round(float(claim.value(paper)[0]), 2)
        except Absent:
            printed = None
    rule = f"{claim.statistic}; {_range(claim.allowed)}"

    def row(value: float | None, ends: Any, said: Verdict, note: str = "") -> Row:
        return Row(claim.topic, claim.claim, rule, printed, value, ends, said, note)

    try:
        draws = claim.value(ours)
    except Absent as why:
        return row(None, None, OPEN, str(why))
    count = ours.count(claim.bins, claim.kind)
    if count == 0 or math.isnan(draws[0]):
        return row(None, None, OPEN, "there are no such problems in this study")
    if math.isinf(draws[0]):
        return row(None, None, OPEN, "the larger model solves none of these problems")
    low, high = interval(draws, claim.unit / count)
    value, ends = _number(draws[0]), (_number(low), _number(high))
    if count < FEWEST:
        return row(value, ends, OPEN, f"over {count} problems only")
    return row(value, ends, verdict(low, high, claim.allowed))


def interval(draws: Floats, one: float) -> tuple[float, float]:
    """The 95 % interval of a statistic's draws, the first of which is its value.

    Where all draws agree the bootstrap says nothing of its error; then the rule of three does:
    three times ``one``, what a single problem counts, either way.
    """
    kept = np.sort(draws[1:][~np.isnan(draws[1:])])
    if len(kept) < 0.975 * (len(draws) - 1):
        return -math.inf, math.inf
    last = len(kept) - 1
    low, high = float(kept[math.floor(0.025 * last)]), float(kept[math.ceil(0.975 * last)])
    if low == high and math.isfinite(low):
        return low - 3 * one, high + 3 * one
    return low, high


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _range(allowed: tuple[float, float]) -> str:
    """What holds, in words."""
    low, high = allowed
    if math.isinf(high):
        return f"holds above {low:g}"
    if math.isinf(low):
        return f"holds below {high:g}"
    return f"holds between {low:g} and {high:g}"
