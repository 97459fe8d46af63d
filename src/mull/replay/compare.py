"""Rules beside each other: accuracy with intervals, tokens saved, and who is on the frontier.

Everything is paired by problem and bootstrapped over problems (a problem's runs stay together). The
module compares values that it is given; it replays nothing and fits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mull.errors import MullError
from mull.replay.ledger import Values
from mull.study import bootstrap
from mull.study.bootstrap import Interval
from mull.study.pools import Floats


@dataclass(frozen=True)
class Versus:
    """One rule against another: difference in accuracy, and how many times fewer tokens; 95 % intervals."""

    accuracy: Interval
    saving: Interval


def versus(rule: Values, other: Values, shares: Floats) -> Versus:
    """``rule`` - ``other`` in accuracy, and ``other``'s tokens over ``rule``'s, paired by problem."""
    difference = bootstrap.difference_ci95(rule.right, other.right, shares)
    low, high = np.percentile(
        bootstrap.means(other.tokens, shares) / np.maximum(bootstrap.means(rule.tokens, shares), 1e-9),
        [2.5, 97.5],
    )
    saving = float(other.tokens.mean() / max(float(rule.tokens.mean()), 1e-9))
    return Versus(difference, Interval(saving, float(low), float(high)))


def mixed(line: Sequence[Values], tokens: float) -> Values | None:
    """What a line of arms reaches at ``tokens`` a problem.

    Between two arms it mixes them at random, so it is linear in tokens. None below its
    cheapest point, and its dearest point above that.
    """
    if not line:
        raise MullError("a line needs at least one arm")
    points = sorted(line, key=lambda values: float(values.tokens.mean()))
    costs = [float(values.tokens.mean()) for values in points]
    if tokens < costs[0]:
        return None
    at = int(np.searchsorted(costs, tokens, side="right")) - 1
    if at == len(points) - 1:
        return points[-1]
    share = (tokens - costs[at]) / max(costs[at + 1] - costs[at], 1e-9)
    one, two = points[at], points[at + 1]
    return Values(
        *(
            (1 - share) * getattr(one, part) + share * getattr(two, part)
            for part in ("right", "tokens", "generations")
        )
    )


@dataclass(frozen=True)
class Beside:
    """A line's accuracy less that of another rule's arm, at the arm's tokens; None below the line's start."""

    rule: str
    tokens: float
    accuracy: float
    lead: Interval | None

    @property
    def below(self) -> bool:
        """Whether the line is under the arm for sure: the whole interval is."""
        return self.lead is not None and self.lead.high < -1e-9  # sums in another order differ by less


def beside(line: Sequence[Values], others: Sequence[tuple[str, Values]], shares: Floats) -> list[Beside]:
    """The line against every arm on the frontier of ``others``: those that nothing cheaper beats."""
    found = []
    best = -1.0
    for name, values in sorted(
        others, key=lambda one: (float(one[1].tokens.mean()), -float(one[1].right.mean()))
    ):
        accuracy, tokens = float(values.right.mean()), float(values.tokens.mean())
        if accuracy > best:
            best = accuracy
            here = mixed(line, tokens)
            lead = None if here is None else bootstrap.difference_ci95(here.right, values.right, shares)
            found.append(Beside(name, tokens, accuracy, lead))
    return found
