"""Votes in many subsets of the pool at once, and how often a right answer wins them.

It adds up and compares; it never draws a subset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mull.study.pools import Bools, Ints, Pool, Singles

#: Votes closer than this, relative to the winner's, are a tie: float32 sums are no finer.
TIE = 4e-6
#: Cells of votes ([classes, subsets], float32) held at a time: 16 MB.
_BLOCK = 4_000_000
#: A class of at least this share of the samples gets its votes from a matrix product; the product
#: reads all samples for it, the sum over its own samples only those, but many times slower.
_LARGE = 1 / 64


def shares(
    pool: Pool, weights: Singles, members: Singles, *, single: bool = False
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """For each problem, the right answers' share of the winning answers in every subset.

    ``weights`` [P, S]: what each sample adds to its class's votes, 0 for nothing; ``members``
    0/1 [S, C], a column a subset; yields (problem, [C]) in order. With ``single`` every sample
    is a class of its own. Ties (to ``TIE``) go to the class with more votes above 0, then are
    split evenly.
    """
    own = np.arange(weights.size).reshape(weights.shape)
    classes = np.where(weights > 0, own, -1) if single else pool.classes
    sizes = np.bincount(classes[classes >= 0], minlength=1)
    right = np.zeros(len(sizes), bool)
    right[classes[pool.correct & (classes >= 0)]] = True
    hopeful = np.asarray(pool.correct.any(axis=1))  # the others are never right: no votes needed
    running = (classes >= 0) & hopeful[:, None]
    large = running & (sizes[classes] >= max(2, _LARGE * pool.samples))
    small = running & ~large
    rows_of = [np.unique(row[held]) for row, held in zip(classes, large, strict=True)]
    room = max(1, _BLOCK // max(members.shape))
    for start, stop in _blocks([len(rows) for rows in rows_of], room):
        ids = np.concatenate(rows_of[start:stop])
        seats = np.zeros((len(ids), pool.samples), np.float32)
        block, sample = np.nonzero(large[start:stop])
        block += start
        seats[np.searchsorted(ids, classes[block, sample]), sample] = weights[block, sample]
        votes = seats @ members
        low = 0
        for row in range(start, stop):
            high = low + len(rows_of[row])
            mine = _Few(classes[row], np.nonzero(small[row])[0])
            flags = np.concatenate([right[rows_of[row]], right[mine.ids]])
            if not flags.any():
                yield row, np.zeros(members.shape[1], np.float32)
            else:
                total = _joined(votes[low:high], mine.votes(weights[row], members))
                positive = weights[row][weights[row] > 0]
                even = not positive.size or positive.min() == positive.max()
                yield (
                    row,
                    _settle(
                        total, flags, None if even else _counter(seats[low:high], mine, weights[row], members)
                    ),
                )
            low = high


def _blocks(heights: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Runs of problems whose ``heights`` together fit in ``room``, at least one problem each."""
    start = 0
    while start < len(heights):
        stop, height = start, 0
        while stop < len(heights) and (stop == start or height + heights[stop] <= room):
            height += heights[stop]
            stop += 1
        yield start, stop
        start = stop


class _Few:
    """One problem's classes of few samples, the larger first: ``ids`` [K]."""

    def __init__(self, classes: Ints, samples: Ints) -> None:
        order = samples[np.argsort(classes[samples], kind="stable")]
        ids, first, count = np.unique(classes[order], return_index=True, return_counts=True)
        turn = np.argsort(-count, kind="stable")
        self.ids = ids[turn]
        self._order, self._first, self._count = order, first[turn], count[turn]

    def votes(self, weights: Singles, members: Singles) -> Singles:
        """Their votes in each subset, [K, C], added in the order of the samples."""
        total = np.empty((len(self.ids), members.shape[1]), np.float32)
        for turn in range(int(self._count.max(initial=0))):
            held = int((self._count > turn).sum())
            at = self._order[self._first[:held] + turn]
            if turn:
                total[:held] += members[at] * weights[at, None]
            else:
                np.multiply(members[at], weights[at, None], out=total)
        return total


def _joined(first: Singles, second: Singles) -> Singles:
    if not len(first) or not len(second):
        return second if len(second) else first
    return np.concatenate([first, second])


def _counter(seats: Singles, few: _Few, weights: Singles, members: Singles) -> Callable[[Ints], Singles]:
    """What counts each class's votes in some of the subsets, whatever their weight."""

    def count(columns: Ints) -> Singles:
        among = members[:, columns]
        return _joined(
            (seats > 0).astype(np.float32) @ among, few.votes((weights > 0).astype(np.float32), among)
        )

    return count


def _settle(votes: Singles, right: Bools, count: Callable[[Ints], Singles] | None) -> Singles:
    """The share of ``right`` [K] classes among the winners by ``votes`` [K, C], [C].

    ``count`` gives the classes' numbers of votes in some subsets; None where the weights are all alike.
    """
    top = votes.max(axis=0)
    wins = votes >= np.maximum(top * np.float32(1 - TIE), np.float32(1e-37))
    winners = _number(wins)
    tied = np.nonzero(winners > 1)[0]
    if tied.size and count is not None:
        counts = np.where(wins[:, tied], count(tied), -1.0)
        wins[:, tied] = counts == counts.max(axis=0)
        winners = _number(wins)
    return (_number(wins[right]) / np.maximum(winners, 1)).astype(np.float32)


def _number(flags: Bools) -> Ints:
    """True cells of each column; in bytes where these hold it, which is several times faster."""
    return np.asarray(flags.view(np.uint8).sum(axis=0, dtype=np.uint8 if len(flags) < 256 else np.uint32))
