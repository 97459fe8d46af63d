"""Replayed arms as values a problem, and what a learner scores on problems that it has not seen.

The runs of a replay share their random orders, so all comparisons are paired. Learned parameters come from
training problems only: every split cuts the problems in two halves, each half is fitted on the
other, and a problem's value is its mean over the splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mull.errors import MullError
from mull.replay.recorded import Drawn
from mull.replay.rules import replay
from mull.strategies import Arm
from mull.study.pools import Bools, Floats


@dataclass(frozen=True, eq=False)
class Values:
    """Means over runs, each [P]: the chance of a right answer, tokens, generations."""

    right: Floats
    tokens: Floats
    generations: Floats


@dataclass(frozen=True, eq=False)
class Learned:
    """A learner's held-out values, and how often it chose which arm."""

    values: Values
    chosen: Counter[Arm]


class Ledger:
    """The arms replayed so far on one set of drawn runs."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self._kept: dict[Arm, Values] = {}

    @property
    def problems(self) -> int:
        """P."""
        return len(self.drawn.recorded.names)

    def values(self, arm: Arm) -> Values:
        """The arm's values, replayed once."""
        if arm not in self._kept:
            found = replay(self.drawn, arm)
            parts = (found.right, found.tokens, found.generations)
            self._kept[arm] = Values(*(part.mean(axis=0) for part in parts))
        return self._kept[arm]

    def worth(self, arm: Arm, train: Bools, cost: float) -> float:
        """Accuracy on the training problems less ``cost`` for each mean sample's tokens spent."""
        return float(self._worths(arm, train, cost).mean())

    def advantage(self, arm: Arm, other: Arm, train: Bools, cost: float) -> tuple[float, float]:
        """By how much ``arm`` is worth more than ``other`` in training, and its standard error."""
        difference = self._worths(arm, train, cost) - self._worths(other, train, cost)
        return float(difference.mean()), float(difference.std() / max(len(difference) - 1, 1) ** 0.5)

    def _worths(self, arm: Arm, train: Bools, cost: float) -> Floats:
        found, unit = self.values(arm), float(self.drawn.recorded.tokens[train].mean())
        return np.asarray(found.right[train] - cost * found.tokens[train] / max(unit, 1.0))


#: Chooses an arm from what it may look at: the training problems' rows.
Learner = Callable[[Ledger, Bools], Arm]


def splits(problems: int, count: int, seed: int = 0) -> Iterator[Bools]:
    """The training halves [P] of ``count`` random two-fold splits: 2 x count of them."""
    if problems < 2:
        raise MullError("learned rules need at least 2 problems, to fit on some and measure on others")
    rng = np.random.default_rng(seed)
    for _ in range(count):
        half = np.zeros(problems, bool)
        half[rng.permutation(problems)[: problems // 2]] = True
        yield half
        yield ~half


def held_out(ledger: Ledger, learner: Learner, count: int = 20, seed: int = 0) -> Learned:
    """What the learner's arms do on the halves that they were not fitted on."""
    total = np.zeros((3, ledger.problems))
    chosen: Counter[Arm] = Counter()
    for train in splits(ledger.problems, count, seed):
        arm = learner(ledger, train)
        chosen[arm] += 1
        found = ledger.values(arm)
        test = ~train
        total[:, test] += np.stack([found.right, found.tokens, found.generations])[:, test]
    return Learned(Values(*(total / count)), chosen)
