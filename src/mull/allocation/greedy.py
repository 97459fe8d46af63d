"""The greedy allocation over drawn samples, all runs, problems and budgets at once.

Along one problem the level of its n-th sample is the least worth on the way to it. Greedy on the highest
worth draws samples in the order of their levels, whatever the other problems do (the prevailing charge of
Weber 1992). So one sort a run gives the allocation at every budget. The last sample is cut where the budget
ends, and does not vote. The module allocates and never looks at a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mull.study.pools import Floats, Ints


@dataclass(frozen=True, eq=False)
class Spent:
    """What an allocation came to: whole samples, samples begun, and tokens, each [..., R, P]."""

    whole: Ints
    begun: Ints
    tokens: Ints


def levels(worths: Floats) -> Floats:
    """The level of each sample, [most, R, P]: the least worth so far on its problem's way."""
    return np.asarray(np.minimum.accumulate(worths, axis=0))


def greedy(worths: Floats, tokens: Ints, budgets: Sequence[int]) -> Spent:
    """Samples by level until each of the ``budgets`` (tokens, over all P problems) is spent, arrays [B, R,
    P].

    ``worths`` and ``tokens`` [most, R, P]. A sample is drawn while its level is above 0; ties go to
    the earlier problem.
    """
    most, runs, problems = worths.shape
    ranked = levels(worths).transpose(1, 2, 0).reshape(runs, -1)
    order = np.argsort(-ranked, axis=1, kind="stable")
    good = np.take_along_axis(ranked, order, axis=1) > 0
    costs = tokens.transpose(1, 2, 0).reshape(runs, -1)
    paid = np.where(good, np.take_along_axis(costs, order, axis=1), 0)
    before = paid.cumsum(axis=1) - paid
    cell = (np.arange(runs)[:, None] * problems + order // most).ravel()
    found = np.zeros((3, len(budgets), runs, problems), np.int64)
    for at, budget in enumerate(budgets):
        begun = good & (before < budget)
        whole = begun & (before + paid < budget)
        cost = np.where(begun, np.minimum(paid, budget - before), 0)
        for to, what in enumerate((whole, begun, cost)):
            found[to, at] = np.bincount(cell, what.ravel(), runs * problems).reshape(runs, problems)
    return Spent(*found)
