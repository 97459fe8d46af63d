"""The stopping and spending rules as functions over drawn samples: all runs and problems at once.

Each rule here is a strategy of the same name, with the same parameters, and gives for every run what
the driver would have come to: the same answer, generations and tokens. Decisions are looked up
in tables that the strategies' own functions fill, so the two cannot drift apart. A rule reads, for
its decision at a sample, only samples drawn before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.problems import Problem
from mull.replay.recorded import Drawn, Tally
from mull.strategies import Arm, find, start
from mull.strategies.adaptive_consistency import lead_probability
from mull.strategies.bayes_stop import stays
from mull.study.pools import Bools, Floats, Ints

Table = Callable[[int, int, int], float]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What each run came to, [R, P]: the answer's class (-1: none), whether it is right, and what it took."""

    answer: Ints
    right: Bools
    generations: Ints
    tokens: Ints

    @classmethod
    def of(cls, drawn: Drawn, answer: Ints, generations: Ints, tokens: Ints) -> Outcome:
        """From arrays [R * P]."""
        shape = (drawn.runs, -1)
        right = drawn.right(answer).reshape(shape)
        return cls(answer.reshape(shape), right, generations.reshape(shape), tokens.reshape(shape))


Rule = Callable[..., Outcome]
_RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register ``function(drawn, budget, **params)`` as the replay of the strategy ``name``."""

    def register(function: Rule) -> Rule:
        _RULES[name] = function
        return function

    return register


def rules() -> Mapping[str, Rule]:
    """All strategies that can be replayed, by name."""
    import mull.replay.races
    import mull.replay.scored  # noqa: F401  both register theirs

    return dict(sorted(_RULES.items()))


def replay(drawn: Drawn, arm: Arm) -> Outcome:
    """The arm on every run and problem.

    Where answers vote by behaviour (``Recorded.kinds``) that is the live run itself, on the replay engine.

    Raises :class:`MullError` for a strategy that cannot be replayed, parameters that it would refuse,
    a budget above the samples drawn, and scores or log-probabilities that the pool lacks.
    """
    known = rules()
    if arm.strategy not in known:
        raise MullError(f"{arm.strategy!r} cannot be replayed; these can: {', '.join(known)}")
    start(arm, Problem("replay", "?")).close()
    if arm.budget > drawn.samples:
        raise MullError(f"{arm} needs {arm.budget} samples a problem; {drawn.samples} were drawn")
    if drawn.recorded.kinds is not None:
        from mull.replay.engine import live

        return live(drawn.recorded, arm, drawn.orders)
    params: dict[str, Any] = {**find(arm.strategy).params, **dict(arm.params)}
    return known[arm.strategy](drawn, arm.budget, **params)


def states(tally: Tally, drawn: Ints) -> tuple[Ints, Ints]:
    """Every (drawn, top, second) that occurs, [U, 3], and which each cell has, [n, M]."""
    side = int(tally.top.max(initial=0)) + 1
    code = (drawn[:, None].astype(np.int32) * side + tally.top) * side + tally.second
    seen = np.zeros((int(drawn.max()) + 1) * side * side, bool)
    seen[code] = True
    found = np.nonzero(seen)[0]
    place = np.zeros(len(seen), np.int32)
    place[found] = np.arange(len(found))
    return np.stack([found // (side * side), found // side % side, found % side], axis=1), place[code]


def first(stop: Bools) -> Ints:
    """The first look at which each column stops, [M]; the last look where none does."""
    found = stop.argmax(axis=0)
    return np.where(stop.any(axis=0), found, len(stop) - 1)


def looks(budget: int, batch: int) -> Ints:
    """After how many samples a rule looks: each batch's end and the budget's."""
    return np.unique(np.append(np.arange(batch, budget, batch), budget))


def stopped(drawn: Drawn, at: Ints) -> Outcome:
    """The runs that vote over their first ``at`` [M] whole solutions."""
    column = np.arange(len(at))
    return Outcome.of(drawn, drawn.tally.leader[at - 1, column], at, drawn.spent[at - 1, column])


def at_lead(drawn: Drawn, budget: int, batch: int, settled: Callable[[int, int, int], bool]) -> Outcome:
    """The runs that stop at the first look at which ``settled(drawn, top, second)``."""
    after = looks(budget, batch)
    key = ("lead", budget, batch)
    if key not in drawn.memo:
        drawn.memo[key] = states(drawn.tally.at(after), after)
    found, place = drawn.memo[key]
    table = np.array([settled(*state) for state in found.tolist()])
    return stopped(drawn, after[first(table[place])])


@rule("majority")
def majority(drawn: Drawn, budget: int) -> Outcome:
    """Fixed N."""
    return stopped(drawn, np.full(drawn.answers.shape[1], budget))


@rule("adaptive_consistency")
def adaptive_consistency(drawn: Drawn, budget: int, *, threshold: float, batch: int) -> Outcome:
    """See :mod:`mull.strategies.adaptive_consistency`."""
    return at_lead(drawn, budget, batch, lambda n, top, second: lead_probability(top, second) >= threshold)


@rule("bayes_stop")
def bayes_stop(drawn: Drawn, budget: int, *, threshold: float, rest: float, batch: int) -> Outcome:
    """See :mod:`mull.strategies.bayes_stop`."""

    def settled(n: int, top: int, second: int) -> bool:
        return stays(budget - n, n, top, second, float(rest)) >= threshold

    return at_lead(drawn, budget, batch, settled)


@rule("early_stopping")
def early_stopping(drawn: Drawn, budget: int, *, window: int) -> Outcome:
    """See :mod:`mull.strategies.early_stopping`."""
    after = looks(budget, window)
    agreed: NDArray[np.bool_] = np.empty((len(after), drawn.answers.shape[1]), bool)
    for row, (low, high) in enumerate(zip([0, *after[:-1]], after, strict=True)):
        part = drawn.answers[low:high]
        agreed[row] = (part == part[0]).all(axis=0) & (part[0] >= 0)
    return stopped(drawn, after[first(agreed)])


__all__ = [
    "Floats",
    "Outcome",
    "Rule",
    "at_lead",
    "first",
    "looks",
    "replay",
    "rule",
    "rules",
    "states",
    "stopped",
]
