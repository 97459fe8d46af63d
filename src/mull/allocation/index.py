"""The index of a vote: the most that further samples bring for each of them, over all rules to stop.

With V the chance of a right leader, the index of a state is

    I(s) = sup over stopping rules t >= 1 of  (E[V after t more] - V(s)) / E[t],

the Gittins index of sampling on (Gittins 1979; Weber 1992). It looks any number of samples ahead, so it
is not blind where one vote cannot turn the lead and three can. Choosing the highest index per token,
with a problem's level the least index on its way so far, is the concave envelope of its gains.

Where the majority goes wrong, more votes make it worse: V falls with every fixed number of them. A stopping
rule could still gain there by waiting for a tie and deciding by lot; that is no reason to pay. So an index
is at most 0 where no fixed number of further votes is expected to help. The module knows states and
chances only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mull.allocation.tables import States, Tables, mixed
from mull.study.pools import Floats

#: The prices a sample that stopping is worked out at; an index is exact where one of their rules is optimal.
PRICES = np.geomspace(2e-6, 1.0, 40)
#: Further votes are paid for where some fixed number of them, at most this many, is expected to help.
FIXED = 16
#: A gain of less than this is none: the tables are in single precision.
LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Indices:
    """By weighting and state, [L, C]: the chance that the leader is right, and the index."""

    states: States
    right: Floats
    index: Floats
    up: Floats
    beside: Floats

    def ahead(self, more: int) -> Floats:
        """The chance that the leader is right after ``more`` further samples, [L, C].

        NaN beyond the longest vote.
        """
        value = self.right
        for step in range(more):
            value = _expect(self.states, self.up, self.beside, value, step + 1)
        return value


def _expect(known: States, up: Floats, beside: Floats, value: Floats, step: int) -> Floats:
    """The expected ``value`` [L, C] after one more vote, the ``step``-th; NaN beyond the longest vote."""
    found = np.full(value.shape, np.nan)
    inner = known.start[max(known.most - step + 1, 0)]
    more, same = up[:, :inner], beside[:, :inner]
    found[:, :inner] = (
        more * value[:, known.up[:inner]]
        + same * value[:, known.beside[:inner]]
        + (1.0 - more - same) * value[:, known.stay[:inner]]
    )
    return found


def indices(found: Tables, weights: Floats) -> Indices:
    """The indices under each of the weightings [L, T]."""
    right, up, beside = mixed(found, weights)
    known = found.states
    stay = np.maximum(1.0 - up - beside, 0.0)
    index = np.full(right.shape, -1.0)
    last = slice(known.start[known.most], known.start[known.most + 1])
    value = np.repeat(right[:, last, None], len(PRICES), axis=2)
    taken = np.zeros_like(value)
    for n in range(known.most - 1, -1, -1):
        row = slice(known.start[n], known.start[n + 1])
        base = known.start[n + 1]
        chances = [part[:, row, None] for part in (up, beside, stay)]
        children = [to[row] - base for to in (known.up, known.beside, known.stay)]
        go = sum(p * value[:, to] for p, to in zip(chances, children, strict=True))
        more = 1.0 + sum(p * taken[:, to] for p, to in zip(chances, children, strict=True))
        now = right[:, row, None]
        index[:, row] = ((go - now) / more).max(axis=2)
        on = go - PRICES * more > now
        value, taken = np.where(on, go, now), np.where(on, more, 0.0)
    best, value = np.full(right.shape, -np.inf), right
    for step in range(min(FIXED, known.most)):
        value = _expect(known, up, beside, value, step + 1)
        best = np.fmax(best, value)
    index = np.where(best > right + LEAST, index, np.minimum(index, 0.0))
    return Indices(known, right, index, up, beside)
