"""Estimators: what every selector would score at every n, from one pool of recorded samples.

A :class:`Pool` holds S samples of each of P problems; the functions here turn it into
expected accuracies of n-sample runs, exactly where a formula is fast and by drawing
subsets without replacement where not. They never generate, never read a file, and never
take a missing score for a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.study.pools import Bools, Floats, Ints, Pool, Singles

__all__ = [
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

#: Votes closer than this, relative to the winner's, are a tie: float32 sums are no finer.
TIE = 4e-6
#: What a score of 0 weighs: nothing beside a positive score, but it is in the running.
_ZERO = 1e-24
#: Cells of votes ([classes, draws], float32) held at a time: 16 MB.
_BLOCK = 4_000_000


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


def majority(pool: Pool, ns: Sequence[int], draws: Draws | None = None) -> Floats:
    """Accuracy of the most frequent answer of n, [P, len(ns)], ties split evenly.

    Exact at n = 1, 2 and S; over ``draws`` (1,000 seeded ones if None) between.
    """
    return _voted(pool, (pool.answers >= 0).astype(np.float32), ns, draws)


def best_of_n_weighted(pool: Pool, score: str, ns: Sequence[int], draws: Draws | None = None) -> Floats:
    """Accuracy of the answer with the largest summed score of n, [P, len(ns)] (the paper's appendix E).

    Ties (to ``TIE``) go to the answer with more votes, then are split evenly, as
    :mod:`mull.select` has it. Samples without an answer or a score drop out. Exact at n = 1,
    2 and S; over ``draws`` between.
    """
    return _voted(pool, _weights(pool, score), ns, draws)


def accuracies(pool: Pool, ns: Sequence[int], draws: Draws | None = None) -> dict[str, Floats]:
    """Every selector at every n, each [P, len(ns)].

    Keys: ``pass``, ``majority``, and by verifier ``best_of_n:NAME``, ``best_of_n_weighted:NAME``.
    """
    draws = draws or draw(pool.samples)
    found = {"pass": pass_at_k(pool, ns), "majority": majority(pool, ns, draws)}
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
    for row, shares in _shares(pool, weights, members, single=kind == "best_of_n"):
        found[:, :, row] = shares.reshape(len(ns), draws.size)
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
    found = np.zeros((pool.problems, len(ns)))
    small = [i for i, n in enumerate(ns) if n <= 2]  # of two votes the larger wins: best of n, exactly
    keys = np.unique(weights, return_inverse=True)[1].reshape(weights.shape) + (weights.min() > 0)
    found[:, small] = _best(keys, pool.correct, [ns[i] for i in small])
    between = [i for i, n in enumerate(ns) if 2 < n < pool.samples]
    whole = [i for i, n in enumerate(ns) if n == pool.samples > 2]
    members = [np.ones((pool.samples, 1), np.float32)]
    if between:
        draws = draws or draw(pool.samples)
        if draws.ranks.shape[0] != pool.samples:
            raise MullError(f"the draws order {draws.ranks.shape[0]} samples, the pool has {pool.samples}")
        members += [draws.members(ns[i]) for i in between]
    for row, shares in _shares(pool, weights, np.concatenate(members, axis=1)):
        found[row, whole] = shares[0]
        if between:
            found[row, between] = shares[1:].reshape(len(between), -1).mean(axis=1)
    return found


def _shares(
    pool: Pool, weights: Singles, members: Singles, *, single: bool = False
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """For each problem, the right answers' share of the winning answers in every subset.

    ``members`` 0/1 [S, C], a column a subset; yields (problem, [C]). Votes are ``one-hot
    weights [classes, S] @ members``, one matrix product for a block of problems; classes
    of one sample (with ``single`` every sample is its own) need none.
    """
    own = np.arange(weights.size).reshape(weights.shape)
    classes = np.where(weights > 0, own, -1) if single else pool.classes
    sizes = np.bincount(classes[classes >= 0], minlength=1)
    hopeful = pool.correct.max(axis=1, keepdims=True)  # the others are never right: no votes needed
    shared = hopeful & (classes >= 0) & (sizes[classes] > 1)
    columns = members.shape[1]
    room = max(1, _BLOCK // columns)
    rows_of = [np.unique(row[held]) for row, held in zip(classes, shared, strict=True)]
    start = 0
    while start < pool.problems:
        stop, height = start, 0
        while stop < pool.problems and (stop == start or height + len(rows_of[stop]) <= room):
            height += len(rows_of[stop])
            stop += 1
        ids = np.concatenate(rows_of[start:stop])
        onehot = np.zeros((height, pool.samples), np.float32)
        block, sample = np.nonzero(shared[start:stop])
        block += start
        onehot[np.searchsorted(ids, classes[block, sample]), sample] = weights[block, sample]
        votes = onehot @ members
        low = 0
        for row in range(start, stop):
            high = low + len(rows_of[row])
            alone = np.nonzero((classes[row] >= 0) & ~shared[row] & hopeful[row])[0]
            lone = np.zeros((len(alone), pool.samples), np.float32)
            lone[np.arange(len(alone)), alone] = weights[row, alone]
            right = np.isin(rows_of[row], classes[row][pool.correct[row]])
            flags = np.concatenate([right, pool.correct[row][alone]])
            seats = np.concatenate([onehot[low:high], lone])
            yield row, _settle(votes[low:high], members, seats, flags)
            low = high
        start = stop


def _settle(votes: Singles, members: Singles, seats: Singles, right: Bools) -> Singles:
    """The share of right classes among each subset's winners, [C].

    ``seats`` [K, S]: each class's weights; ``votes`` [K1, C]: those of the first K1 classes, the
    rest are classes of one sample; ``right`` [K].
    """
    if not right.any():
        return np.zeros(members.shape[1], np.float32)
    lone = seats[len(votes) :]
    if len(lone):
        votes = np.concatenate([votes, members[lone.argmax(axis=1)] * lone.max(axis=1)[:, None]])
    top = votes.max(axis=0)
    wins = votes >= np.maximum(top * np.float32(1 - TIE), np.float32(1e-37))
    winners = _count(wins)
    tied = np.nonzero(winners > 1)[0]
    positive = seats[seats > 0]
    if tied.size and positive.min() < positive.max():
        counts = np.where(wins[:, tied], (seats > 0).astype(np.float32) @ members[:, tied], -1.0)
        wins[:, tied] = counts == counts.max(axis=0)
        winners = _count(wins)
    return (_count(wins[right]) / np.maximum(winners, 1)).astype(np.float32)


def _count(flags: Bools) -> Ints:
    """True cells of each column; in bytes where these hold it, which is several times faster."""
    return np.asarray(flags.view(np.uint8).sum(axis=0, dtype=np.uint8 if len(flags) < 256 else np.uint32))
