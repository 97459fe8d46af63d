"""A width-and-depth controller: branch, continue, probe, prune, answer; every knob follows one scalar.

The actions are AutoTTS's (2026), and so is the idea that all knobs are functions of one scalar
``effort`` in [0, 1], which alone trades cost against accuracy. A wave *branches* into ``width`` new
solutions and *continues* them step by step until a share ``keep`` of them has finished; the others are
*pruned*. The finished ones' answers are *probed* (read). When the leader's posterior of
:func:`~mull.strategies.adaptive_consistency.lead_probability` is at least ``lead`` the controller
*answers*, else the next wave starts. Each knob goes in a straight line from its value at effort 0 to
that at effort 1; :mod:`mull.replay.controllers` searches these ends on training problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from mull.problems import Problem
from mull.strategies.adaptive_consistency import lead_probability
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.races import race
from mull.strategies.tallies import check_share, lead, read
from mull.trace import Trace


@dataclass(frozen=True)
class Knobs:
    """What one wave does: solutions started, how many must finish, and the posterior that ends it all."""

    width: int
    finish: int
    lead: float


def knobs(
    effort: float,
    *,
    width_low: float = 1.0,
    width_high: float = 4.0,
    keep_low: float = 0.75,
    keep_high: float = 1.0,
    lead_low: float = 0.6,
    lead_high: float = 0.97,
) -> Knobs:
    """The knobs at an effort: each between its two ends."""

    def at(low: float, high: float) -> float:
        return low + (high - low) * effort

    width = max(1, round(at(width_low, width_high)))
    finish = min(width, max(1, ceil(at(keep_low, keep_high) * width - 1e-9)))
    return Knobs(width, finish, at(lead_low, lead_high))


@strategy("width_depth", selector="majority")
def width_depth(
    problem: Problem,
    *,
    budget: int,
    effort: float = 0.5,
    width_low: float = 1.0,
    width_high: float = 4.0,
    keep_low: float = 0.75,
    keep_high: float = 1.0,
    lead_low: float = 0.6,
    lead_high: float = 0.97,
) -> Plan:
    """Waves of solutions, the slowest pruned, until the lead is sure; all knobs follow ``effort``.

    Budget: the most solutions started, any N from 1 on.
    """
    require("width_depth", budget, lambda b: b >= 1)
    for name, value in (("effort", effort), ("keep_low", keep_low), ("keep_high", keep_high)):
        check_share("width_depth", name, value)
    for name, value in (("lead_low", lead_low), ("lead_high", lead_high)):
        check_share("width_depth", name, value)
    for name, value in (("width_low", width_low), ("width_high", width_high)):
        check_share("width_depth", name, value, least=1, most=1e6)
    set_to = knobs(
        effort,
        width_low=width_low,
        width_high=width_high,
        keep_low=keep_low,
        keep_high=keep_high,
        lead_low=lead_low,
        lead_high=lead_high,
    )
    return _waves(problem, budget, set_to)


def _waves(problem: Problem, budget: int, set_to: Knobs) -> Plan:
    started = 0
    kept: list[Trace] = []
    others: list[Trace] = []
    answers: list[str | None] = []
    while started < budget:
        width = min(set_to.width, budget - started)
        ended = yield from race(problem, width, min(set_to.finish, width))
        started += width
        kept += ended.finished
        others += ended.spare or ended.open
        answers += yield from read(ended.finished)
        now = lead(answers)
        if lead_probability(now.top, now.second) >= set_to.lead:
            break
    return [(trace, None) for trace in kept or others]
