"""Streams over drawn samples: all runs of a stream at once, and the first price learned on training runs.

The same rule as :func:`mull.allocation.plans.stream_plan`, run for run. The module allocates and never
looks at a label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mull.allocation.greedy import Spent, levels
from mull.allocation.plans import Stream
from mull.study.pools import Floats, Ints


def streamed(worths: Floats, tokens: Ints, order: Ints, stream: Stream) -> Spent:
    """Requests in ``order`` [P], under a price that follows the spending: arrays [R, P].

    ``worths`` and ``tokens`` [most, R, P], weights of consequence already in the worths.
    """
    _, runs, problems = worths.shape
    price, spent = np.full(runs, stream.price), np.zeros(runs)
    found = np.zeros((3, runs, problems), np.int64)
    for row, problem in enumerate(order):
        hard, soft, target = _paced(stream, row, spent)
        worth, cost = worths[:, :, problem], tokens[:, :, problem]
        before = cost.cumsum(axis=0) - cost
        room = np.floor(hard - before)
        wanted = (worth >= price) & (before < soft)
        wanted[0] = True
        on = np.logical_and.accumulate(wanted & (worth > 0) & (room >= 1), axis=0)
        whole = on & (cost < room)
        on[1:] &= ~np.logical_or.accumulate(on & ~whole, axis=0)[:-1]  # nothing follows a sample that was cut
        paid = np.where(on, np.minimum(cost, room), 0)
        found[:, :, problem] = (whole & on).sum(axis=0), on.sum(axis=0), paid.sum(axis=0)
        spent = spent + found[2, :, problem]
        price = price * (
            1.0 + stream.rate * np.minimum(np.maximum(found[2, :, problem] / target - 1.0, -1.0), 4.0)
        )
    return Spent(*found)


def _paced(stream: Stream, row: int, spent: Floats) -> tuple[Floats, Floats, Floats | float]:
    """:func:`mull.allocation.plans.paced` for all runs at once."""
    due = stream.average * (row + 1) - spent
    if stream.count is None:
        return due + stream.credit, due + stream.credit / 2, stream.average
    after = stream.count - row - 1
    left = stream.average * stream.count - spent
    return left, due + stream.credit * after / stream.count, np.maximum(left / (after + 1), 1.0)


def learned_prices(worths: Floats, tokens: Ints, averages: Sequence[float]) -> list[float]:
    """The prices a token at which training runs spend the ``averages`` a problem (the Lagrange multipliers).

    ``worths`` and ``tokens`` [most, R, P]. A problem is sampled while its worth is at least the price, so
    exactly the samples whose level is: their tokens in the order of levels give the spending at every
    price.
    """
    ranked, paid = levels(worths).ravel(), tokens.ravel()
    order = np.argsort(-ranked, kind="stable")
    order = order[ranked[order] > 0]
    spent = paid[order].cumsum() / worths[0].size
    places = np.searchsorted(spent, averages, side="right")
    last = len(order) - 1
    return [float(ranked[order[min(place, last)]]) if last >= 0 else 0.0 for place in places.tolist()]
