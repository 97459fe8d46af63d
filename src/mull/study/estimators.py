"""Estimators: what every selector would score at every n, from one pool of recorded samples.

A :class:`Pool` holds S samples of each of P problems; the functions here turn it into
expected accuracies of n-sample runs, exactly where a formula is fast (all but the weighted
vote) and by drawing subsets without replacement where not. They never generate, never read
a file, and never take a missing score for a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.study import plurality
from mull.study.pools import Bools, Floats, Ints, Pool, Singles
from mull.study.tally import TIE, shares

__all__ = [
    "TIE",
    "Draws",
    "Pool",
    "accuracies",
    "best_of_n",
    "best_of_n_weighted",
    "draw",
    "majority",
    "outcomes",
    "pass_at_k",
    "probe",
]

#: What a score of 0 weighs: nothing beside a positive score, but it is in the running.
_ZERO = 1e-24


@dataclass(frozen=True, eq=False)
class Draws:
    """R random orders of S samples; a draw's subset of n is its first n, so subsets are nested in n.

    ``ranks`` [S, R]: the place of sample s in order r. All problems share the orders: every
    single problem's estimate is unbiased, and since samples of a problem are exchangeable
    sharing does not tie the problems' errors together.
    """

    ranks: Ints

    @property
    def size(self) -> int:
        """R."""
        return int(self.ranks.shape[1])

    def members(self, n: int) -> Singles:
        """Which samples are among the first ``n`` of each order: 0/1 [S, R]."""
        return (self.ranks < n).astype(np.float32)


def draw(samples: int, size: int = 1000, *, seed: int = 0) -> Draws:
    """``size`` seeded random orders of ``samples`` samples."""
    orders = np.tile(np.arange(samples, dtype=np.int32), (size, 1))
    return Draws(np.ascontiguousarray(np.random.default_rng(seed).permuted(orders, axis=1).T))


def pass_at_k(pool: Pool, ks: Sequence[int]) -> Floats:
    """The chance that one of k samples is right, [P, len(ks)]; exact (Chen et al. 2021, equation 1)."""
    table = _below(pool.samples, ks)
    wrong = pool.samples - pool.correct.sum(axis=1)
    return np.asarray(1.0 - table[:, wrong].T)


def best_of_n(pool: Pool, score: str, ns: Sequence[int]) -> Floats:
    """Accuracy of the highest-scored of n samples, [P, len(ns)]; exact, ties split evenly.

    A sample without an answer or a score is never chosen; if none can be the run is wrong.
    """
    return _best(_order(pool, pool.score(score)), pool.correct, ns)


def majority(pool: Pool, ns: Sequence[int]) -> Floats:
    """Accuracy of the most frequent answer of n, [P, len(ns)]; exact, ties split evenly."""
    return _voted(pool, (pool.answers >= 0).astype(np.float32), ns, None)


def best_of_n_weighted(pool: Pool, score: str, ns: Sequence[int], draws: Draws | None = None) -> Floats:
    """Accuracy of the answer with the largest summed score of n, [P, len(ns)] (the paper's appendix E).

    Ties (to ``TIE``) go to the answer with more votes, then are split evenly, as
    :mod:`mull.select` has it. Samples without an answer or a score drop out. Exact at n = 1,
    2 and S, and on a problem whose scores are all the same, where it is a majority vote;
    else over ``draws`` (1,000 seeded ones if None).
    """
    return _voted(pool, _weights(pool, score), ns, draws)


def accuracies(pool: Pool, ns: Sequence[int], draws: Draws | None = None) -> dict[str, Floats]:
    """Every selector at every n, each [P, len(ns)].

    Keys: ``pass``, ``majority``, and by verifier ``best_of_n:NAME``, ``best_of_n_weighted:NAME``.
    """
    draws = draws or draw(pool.samples)
    found = {"pass": pass_at_k(pool, ns), "majority": majority(pool, ns)}
    for name in pool.scores:
        found[f"best_of_n:{name}"] = best_of_n(pool, name, ns)
        found[f"best_of_n_weighted:{name}"] = best_of_n_weighted(pool, name, ns, draws)
    return found


def outcomes(pool: Pool, selector: str, ns: Sequence[int], draws: Draws) -> NDArray[np.float32]:
    """Whether each drawn run is right (a tie counts its share), [len(ns), R, P].

    ``selector`` as in :func:`accuracies`, less ``pass``. The first k samples of order r are
    a probe of the very runs in row r, which is what a charged policy is judged on.
    """
    kind, _, name = selector.partition(":")
    if kind == "majority":
        weights = (pool.answers >= 0).astype(np.float32)
    elif kind == "best_of_n_weighted":
        weights = _weights(pool, name)
    elif kind == "best_of_n":
        weights = _order(pool, pool.score(name)).astype(np.float32)
    else:
        raise MullError(f"no selector {selector!r}; known: majority, best_of_n:NAME, best_of_n_weighted:NAME")
    _check(pool.samples, ns)
    members = np.concatenate([draws.members(n) for n in ns], axis=1)
    found = np.empty((len(ns), draws.size, pool.problems), np.float32)
    for row, share in shares(pool, weights, members, single=kind == "best_of_n"):
        found[:, :, row] = share.reshape(len(ns), draws.size)
    return found


def probe(pool: Pool, score: str, k: int, draws: Draws | None = None) -> Floats:
    """Mean score of the scored ones among each run's first ``k`` samples, [R, P]; NaN where none is.

    Without ``draws`` the recorded order is the one run (R = 1).
    """
    _check(pool.samples, [k])
    scores = pool.score(score)
    ranks = np.arange(pool.samples)[:, None] if draws is None else draws.ranks
    among = np.asarray(ranks < k, np.float64)
    scored = ~np.isnan(scores)
    total = np.where(scored, scores, 0.0).astype(np.float64) @ among
    count = scored.astype(np.float64) @ among
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0).T)


def _check(samples: int, ns: Sequence[int]) -> None:
    for n in ns:
        if not 1 <= n <= samples:
            raise MullError(f"n = {n} needs that many samples a problem; there are {samples}")


def _below(samples: int, ns: Sequence[int]) -> Floats:
    """C(j, n) / C(S, n), the chance that a subset of n lies within j given samples: [len(ns), S + 1]."""
    _check(samples, ns)
    table = np.ones((len(ns), samples + 1))
    falling = np.arange(samples, 0, -1)
    for row, n in enumerate(ns):  # C(j - 1, n) / C(j, n) = (j - n) / j
        table[row, :-1] = np.cumprod(np.maximum(falling - n, 0) / falling)[::-1]
    return table


def _order(pool: Pool, score: NDArray[np.float32]) -> Ints:
    """Samples by score: 0 without an answer or a score, then 1, 2, ... by distinct score, [P, S]."""
    filled = np.where((pool.answers < 0) | np.isnan(score), -1.0, score)
    place = np.argsort(filled, axis=1, kind="stable")
    ordered = np.take_along_axis(filled, place, axis=1)
    rises = np.diff(ordered, axis=1, prepend=-1.0) > 0
    ranks = np.empty(score.shape, np.int64)
    np.put_along_axis(ranks, place, np.cumsum(rises, axis=1), axis=1)
    return ranks


def _best(keys: Ints, correct: Bools, ns: Sequence[int]) -> Floats:
    """Accuracy of the highest key above 0 among n, exactly.

    A run's best key lies in a group of equal keys with probability (C(H, n) - C(L, n)) / C(S, n),
    with L samples below the group and H = L + its size; each of the group is then as likely.
    """
    samples = keys.shape[1]
    table = _below(samples, ns)
    place = np.argsort(keys, axis=1, kind="stable")
    ordered = np.take_along_axis(keys, place, axis=1)
    right = np.take_along_axis(correct, place, axis=1) & (ordered > 0)
    at = np.broadcast_to(np.arange(samples), keys.shape)
    new = np.diff(ordered, axis=1, prepend=-1) > 0
    low = np.maximum.accumulate(np.where(new, at, 0), axis=1)
    last = np.concatenate([new[:, 1:], np.ones((len(keys), 1), bool)], axis=1)
    high = np.minimum.accumulate(np.where(last, at + 1, samples)[:, ::-1], axis=1)[:, ::-1]
    found = np.empty((len(keys), len(ns)))
    for column, below in enumerate(table):
        found[:, column] = np.where(right, (below[high] - below[low]) / (high - low), 0.0).sum(axis=1)
    return found


def _weights(pool: Pool, score: str) -> Singles:
    """Every sample's vote by ``score``, [P, S]; 0 without an answer or a score."""
    scores = pool.score(score)
    voting = (pool.answers >= 0) & ~np.isnan(scores)
    return np.where(voting, np.maximum(scores, _ZERO), 0.0).astype(np.float32)


def _voted(pool: Pool, weights: Singles, ns: Sequence[int], draws: Draws | None) -> Floats:
    """Accuracy of the answer with the largest summed weight of n: [P, len(ns)]."""
    _check(pool.samples, ns)
    if draws is not None and draws.ranks.shape[0] != pool.samples:
        raise MullError(f"the draws order {draws.ranks.shape[0]} samples, the pool has {pool.samples}")
    found = np.zeros((pool.problems, len(ns)))
    small = [i for i, n in enumerate(ns) if n <= 2]  # of two votes the larger wins: best of n, exactly
    keys = np.unique(weights, return_inverse=True)[1].reshape(weights.shape) + (weights.min() > 0)
    found[:, small] = _best(keys, pool.correct, [ns[i] for i in small])
    between = [i for i, n in enumerate(ns) if 2 < n < pool.samples]
    whole = [i for i, n in enumerate(ns) if n == pool.samples > 2]
    even = np.where(weights > 0, weights, np.inf).min(axis=1) >= weights.max(axis=1)
    drawn = between if not even.all() else []
    members = [np.ones((pool.samples, 1), np.float32)]
    if drawn:
        draws = draws or draw(pool.samples)
        members += [draws.members(ns[i]) for i in drawn]
    for row, share in shares(pool, weights, np.concatenate(members, axis=1)):
        found[row, whole] = share[0]
        if drawn:
            found[row, drawn] = share[1:].reshape(len(drawn), -1).mean(axis=1)
    counted = plurality.chances(pool, (weights > 0) & even[:, None], [ns[i] for i in between])
    found[np.ix_(even, between)] = counted[even]
    return found
