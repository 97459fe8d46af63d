"""Two views of one statistic: our arrays with bootstrap draws, and the paper's printed curves.

A statistic is a function of a view, so the paper's value is computed from its curves exactly
as ours is from our problems. Every mean is in percent, one value a draw; the first is that of
all problems alike. What was not measured raises :class:`Absent`, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mull.paper import curves
from mull.paper.arrays import Arrays, Floats
from mull.policy import halves
from mull.policy_ratio import cost_at
from mull.study import bootstrap

#: Draws of the bootstrap over problems.
DRAWS = 1000
#: Random halves of the problems, where the best of several places is to be chosen.
SPLITS = 20
Bins = tuple[int, ...]


class Absent(Exception):  # noqa: N818  (not an error: a study may lack anything)
    """A statistic that cannot be had; the message says what is missing."""


class View(Protocol):
    """What statistics are made from."""

    def mean(self, name: str, x: float, bins: Bins = (), kind: str = "oracle") -> Floats:
        """A line's mean at ``x`` in each draw, over all problems or over those of ``bins``."""
        ...

    def places(self, name: str) -> Floats:
        """Where a line was measured."""
        ...

    def contest(self, name: str, first: Sequence[int], second: Sequence[int], bins: Bins = ()) -> Floats:
        """The best of a line's places ``first`` (indices) less the best of its places ``second``."""
        ...


class Ours:
    """Our arrays, with the same draws for every statistic, so that differences are paired."""

    def __init__(self, arrays: Arrays, draws: int = DRAWS) -> None:
        self.arrays = arrays
        problems = arrays.problems
        whole = np.full((1, problems), 1 / problems)
        seed = int(arrays.facts.get("seed", 0))
        self.shares = np.concatenate([whole, bootstrap.weights(problems, draws, seed=seed)])
        self._means = lru_cache(maxsize=None)(self._all)

    def places(self, name: str) -> Floats:
        """Where a line was measured."""
        if name not in self.arrays.lines:
            raise Absent(f"this study has no {words(name)}")
        return self.arrays.lines[name].x

    def mean(self, name: str, x: float, bins: Bins = (), kind: str = "oracle") -> Floats:
        """A line's mean in percent at ``x`` in each draw, [1 + draws]; NaN in draws without such problems."""
        return 100 * self.raw(name, x, bins, kind)

    def raw(self, name: str, x: float, bins: Bins = (), kind: str = "oracle") -> Floats:
        """The same, not in percent: for costs and counts."""
        self.places(name)
        at = self.arrays.lines[name].column(x)
        if at is None:
            raise Absent(f"{words(name)} was not measured at {x:g}")
        return self._means(name, bins, kind)[:, at]

    def curve(self, name: str, bins: Bins = (), kind: str = "oracle") -> Floats:
        """A whole line's means in percent, [1 + draws, K]."""
        self.places(name)
        return 100 * self._means(name, bins, kind)

    def count(self, bins: Bins = (), kind: str = "oracle") -> int:
        """How many problems a statistic is over: all, or those of the smallest of ``bins``."""
        if not bins:
            return self.arrays.problems
        if kind not in self.arrays.labels:
            return 0
        return min(len(self.arrays.members(kind, b)) for b in bins)

    def contest(self, name: str, first: Sequence[int], second: Sequence[int], bins: Bins = ()) -> Floats:
        """As :meth:`View.contest`; which place is best is chosen on other problems than it is measured on."""
        self.places(name)
        values = self.arrays.lines[name].y
        if bins and "oracle" not in self.arrays.labels:
            raise Absent("this study has no oracle difficulty")
        held = np.isin(self.arrays.labels["oracle"], bins) if bins else np.ones(len(values), bool)
        inside = np.nonzero(held)[0]
        rng = np.random.default_rng([int(self.arrays.facts.get("seed", 0)), 7])
        total = np.zeros(len(values))
        for _ in range(SPLITS):
            fold = halves(np.zeros(len(inside), np.int64), rng)
            for part in (0, 1):
                here, there = inside[fold == part], inside[fold != part]
                if len(here) and len(there):
                    total[here] += _best(values, there, first, here) - _best(values, there, second, here)
        shares = self.shares * held
        weight = shares.sum(axis=1)
        mean = shares @ (100 * total / SPLITS)
        return np.asarray(np.divide(mean, weight, out=np.full_like(mean, np.nan), where=weight > 0))

    def _all(self, name: str, bins: Bins, kind: str) -> Floats:
        values, shares = self.arrays.lines[name].y, self.shares
        if bins:
            if kind not in self.arrays.labels:
                raise Absent(f"this study has no {kind} difficulty")
            shares = shares * np.isin(self.arrays.labels[kind], bins)
        weight = shares.sum(axis=1, keepdims=True)
        total = shares @ values
        return np.asarray(np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0))


class Paper:
    """The paper's printed curves; one draw."""

    def places(self, name: str) -> Floats:
        """Where a curve is printed."""
        found = curves.overall(name)
        if found is None:
            raise Absent(f"the paper prints no {words(name)}")
        return found[0]

    def mean(self, name: str, x: float, bins: Bins = (), kind: str = "oracle") -> Floats:
        """A curve's value at ``x``, [1]; several bins are weighted by their sizes."""
        if not bins:
            return np.asarray([self._at(curves.overall(name), name, x)])
        values = [self._at(curves.by_bin(name, kind, b), name, x) for b in bins]
        return np.asarray([np.average(values, weights=[curves.SIZES[kind][b] for b in bins])])

    def contest(self, name: str, first: Sequence[int], second: Sequence[int], bins: Bins = ()) -> Floats:
        """As :meth:`View.contest`; a printed curve has no problems to choose on, so its best points count."""
        values = np.concatenate([self.mean(name, float(x), bins) for x in self.places(name)])
        return np.asarray([values[list(first)].max() - values[list(second)].max()])

    def _at(self, curve: curves.Curve | None, name: str, x: float) -> float:
        if curve is None:
            raise Absent(f"the paper prints no {words(name)}")
        at = np.nonzero(np.isclose(curve[0], x))[0]
        if not len(at):
            raise Absent(f"the paper prints no {words(name)} at {x:g}")
        return float(curve[1][at[0]])


def _best(
    values: Floats, chosen_on: NDArray[np.int64], columns: Sequence[int], at: NDArray[np.int64]
) -> Floats:
    """Values at the problems ``at`` of the column that is best on the problems ``chosen_on``."""
    listed = np.asarray(list(columns), np.int64)
    best = listed[int(values[np.ix_(chosen_on, listed)].mean(axis=0).argmax())]
    return np.asarray(values[at, best])


def largest(view: View, *names: str, at_most: float = np.inf) -> int:
    """The largest place that all these lines share."""
    shared = set.intersection(*(set(view.places(name).tolist()) for name in names))
    kept = [x for x in shared if x <= at_most]
    if not kept:
        raise Absent(f"{words(names[0])} and {words(names[-1])} share no budget")
    return int(max(kept))


def saving(view: View, base: str, policy: str, cost: str, at: float) -> Floats:
    """Compute that ``base`` takes at budget ``at`` over what ``policy`` takes for the same accuracy.

    0 in a draw where the policy does not reach it. The paper's policies spend their budget.
    """
    targets = view.mean(base, at)
    xs = view.places(policy)
    lines = np.stack([view.mean(policy, x) for x in xs], axis=1)
    spent = np.broadcast_to(xs, lines.shape)
    if isinstance(view, Ours):
        spent = np.stack([view.raw(cost, x) for x in xs], axis=1)
    rows = zip(spent, lines, targets, strict=True)
    found = [at / cost_at(costs, accuracy, float(target)) for costs, accuracy, target in rows]
    return np.asarray(found)


def relative(view: View, name: str, at: float, star: Bins, bins: Bins) -> Floats:
    """Figure 1's 100 (line - star) / star at ``at``; infinite where the larger model solves nothing."""
    line, large = view.mean(name, at, bins), view.mean("larger", 1, star)
    gap = line - large
    zero = large <= 0
    return np.where(zero, np.where(gap > 0, np.inf, 0.0), 100 * gap / np.where(zero, 1.0, large))


def difference(first: Floats, second: Floats) -> Floats:
    """``first`` less ``second``, draw by draw; NaN where both are infinite."""
    both = np.isinf(first) & np.isinf(second)
    gap = np.where(both, 0.0, first) - np.where(both, 0.0, second)
    return np.where(both, np.nan, gap)


def average(values: Sequence[Floats]) -> Floats:
    """The mean of several statistics, draw by draw."""
    return np.asarray(np.mean(np.stack(list(values)), axis=0))


_WORDS = {
    "beam:4": "beam search of width 4",
    "beam:sqrt": "beam search of width \u221aN",
    "lookahead:3:sqrt": "lookahead search with k = 3",
    "chain": "chain of revisions",
    "larger": "larger model",
    "lost": "chain of revisions",
    "majority": "majority vote",
    "weighted:prm": "best-of-N weighted by a PRM",
    "weighted:orm": "best-of-N weighted by an ORM",
}
_PREFIXES = {
    "best:": "best-of-N with that verifier",
    "weighted:": "best-of-N weighted by that verifier",
    "policy:search": "compute-optimal search with width 4",
    "policy:revisions": "compute-optimal revisions",
    "lookahead": "lookahead search of that depth and width",
    "beam": "beam search of that width",
    "restem": "reviser trained by ReST-EM",
    "ratio": "chains of revisions at that ratio",
    "sequential": "chain of revisions",
    "parallel": "parallel attempts of a reviser",
    "wide:joint": "policy over search and revisions",
    "wide": "policy over all arms",
}


def words(name: str) -> str:
    """A line's name for people."""
    if name in _WORDS:
        return _WORDS[name]
    return next((said for start, said in _PREFIXES.items() if name.startswith(start)), name)
