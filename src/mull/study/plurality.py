"""The chance that a right answer wins the vote of n samples, without drawing any.

n of S samples drawn without replacement give each answer class a hypergeometric number of
votes. The most votes win and ties are split evenly. The module counts votes; it never reads
a score, and never resamples.

**How.** Let every sample be drawn on its own with chance p = n / S: the classes' votes are then
independent binomials, and given that n were drawn in all they are the votes wanted. So for a
right class w and m = 1, 2, ... votes for it,

    P(w has m, every other class at most m, n drawn) / P(n drawn),

with a factor 1 / (t + 1) where t others also have m. That factor is the integral of u^t over
0..1, which a few Gauss-Legendre nodes give for every t that can be; what is left is the
probability of a sum of independent numbers, a product of characteristic functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mull.study.pools import Bools, Floats, Ints, Pool

#: Probabilities below this are left out; results are exact to about 1e-10.
_NEGLIGIBLE = 1e-17
#: The natural logarithm that stands for that of 0.
_NOTHING = -700.0
#: Complex numbers held at a time for the problems of one step: 64 MB.
_BLOCK = 4_000_000
_Complex = NDArray[np.complex128]


def chances(pool: Pool, voting: Bools, ns: Sequence[int]) -> Floats:
    """The chance that a right answer has the most votes of n samples, [P, len(ns)].

    ``voting`` [P, S]: the samples whose vote counts; they must have answers. 0 < n < S.
    """
    classes = pool.classes[voting]
    sizes = np.bincount(classes)
    ids = np.nonzero(sizes)[0]
    owner, right = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), bool)
    owner[classes], right[classes] = np.nonzero(voting)[0], pool.correct[voting]
    values, place = np.unique(sizes[ids], return_inverse=True)
    table = np.zeros((pool.problems, len(values)))
    np.add.at(table, (owner[ids], place), 1)
    mine = np.nonzero(right[ids])[0]
    found = np.zeros((pool.problems, len(ns)))
    if len(mine):
        others = table[owner[ids][mine]]
        others[np.arange(len(mine)), place[mine]] -= 1
        for column, n in enumerate(ns):
            share = _won(values, others, place[mine], pool.samples, n)
            found[:, column] = np.bincount(owner[ids][mine], share, pool.problems)
    return np.clip(found, 0.0, 1.0)


def _won(values: Ints, others: Floats, place: Ints, samples: int, n: int) -> Floats:
    """The expected share of the win of Q classes: [Q].

    ``values`` [D]: class sizes, rising; ``others`` [Q, D]: how many other classes of its problem
    have each; ``place`` [Q]: where its own is among ``values``.
    """
    votes = _binomial(values, n / samples, n)
    drawn = _binomial(np.asarray([samples]), n / samples, samples)[0]
    low, high = _range(votes, others, place)
    length = _length(drawn, n)
    angle = 2 * np.pi / length * np.arange(length // 2 + 1)
    free = _log(1 + n / samples * (np.exp(1j * angle) - 1))
    halves = np.where(angle > 0, 2.0, 1.0) / length  # the other half of the circle is conjugate
    below = np.zeros((len(values), len(angle)), complex)  # E[e^(i angle votes); fewer than m votes]
    below += votes[:, :1]
    share = np.zeros(len(others))
    for m in range(1, int(high.max(initial=0)) + 1):
        turn = np.exp(1j * angle * m)
        rows = np.nonzero((low <= m) & (m <= high))[0]
        if len(rows):
            rivals = others[rows]
            rivals[:, values < m] = 0
            used = np.nonzero(rivals.any(axis=0))[0]
            rivals = rivals[:, used]
            u, weights = _nodes(int(min(rivals.sum(axis=1).max(initial=0), n // m - 1)))
            logs = _log(below[used] + u[:, None, None] * votes[used, m, None] * turn)  # [u, used, angles]
            rest = samples - values[place[rows]] - rivals @ values[used]
            back = halves * np.exp(-1j * angle * (n - m))
            for part in np.array_split(np.arange(len(rows)), 1 + len(rows) * len(u) * len(angle) // _BLOCK):
                total = np.exp(_product(rivals[part], logs) + rest[part, None, None] * free)
                chance = (total.real @ back.real - total.imag @ back.imag) @ weights
                share[rows[part]] += votes[place[rows[part]], m] * chance
        rising = int(np.searchsorted(values, m))  # the smaller ones have all their votes already
        below[rising:] += votes[rising:, m, None] * turn
    return np.asarray(share / drawn[n])


@cache
def _nodes(degree: int) -> tuple[Floats, Floats]:
    """Places and weights that integrate 1, u, ... u^``degree`` over 0..1: to 1e-12, most of them exactly."""
    places, weights = np.polynomial.legendre.leggauss(min(degree // 2 + 1, 8 + int(2.2 * degree**0.5)))
    return (places + 1) / 2, weights / 2


def _binomial(sizes: Ints, p: float, most: int) -> Floats:
    """Binomial probabilities of 0 to ``most`` votes, [sizes, most + 1]."""
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, sizes.max() + 1)))])
    x = np.arange(most + 1)
    left = sizes[:, None] - x
    free = np.maximum(left, 0)
    ways = log[sizes][:, None] - log[np.minimum(x, sizes.max())] - log[free]
    chance = np.exp(ways + x * np.log(p) + free * np.log1p(-p))
    return np.where(left >= 0, chance, 0.0)


def _range(votes: Floats, others: Floats, place: Ints) -> tuple[Ints, Ints]:
    """The fewest and most votes that a class can win with, by more than a negligible chance: [Q], [Q]."""
    likely = votes > _NEGLIGIBLE
    likely[:, 0] = False
    last = np.where(likely.any(axis=1), votes.shape[1] - 1 - likely[:, ::-1].argmax(axis=1), 0)
    first = likely.argmax(axis=1)
    within = (votes.cumsum(axis=1) > _NEGLIGIBLE).argmax(axis=1)
    rivals = np.where(others > 0, within, 0).max(axis=1)
    return np.maximum(np.maximum(first[place], rivals), 1), last[place]


def _length(drawn: Floats, n: int) -> int:
    """How many angles tell a total of n from every other that has a chance; odd."""
    distance = np.abs(np.arange(len(drawn)) - n)
    beyond = np.bincount(distance, drawn)[::-1].cumsum()[::-1]  # the chance to be this far away, or more
    far = int((beyond > 1e-14 * drawn[n]).sum())
    return far | 1


def _log(values: _Complex) -> _Complex:
    size = np.abs(values)
    return np.log(np.where(size > np.exp(_NOTHING), values, np.exp(_NOTHING)))


def _product(counts: Floats, logs: _Complex) -> _Complex:
    """Sums of ``logs`` [nodes, D, angles] by ``counts`` [Q, D]: [Q, nodes, angles]."""
    nodes, kinds, angles = logs.shape
    flat = np.ascontiguousarray(logs.transpose(1, 0, 2)).view(np.float64).reshape(kinds, nodes * angles * 2)
    return (counts @ flat).view(np.complex128).reshape(len(counts), nodes, angles)
