"""What a vote of n samples can look like under each type, exactly: the states of a vote and their chances.

A vote's state is (n, top, second): samples drawn, and the votes for the leading answer and the runner-up. For
each type the chance of every state, of a right leader in it, and of where the next vote goes
follow from the multinomial of (right, first wrong, second wrong, scattered), summed over all ways to
come to that state. Nothing is simulated, so nothing is noisy. Ties lead with equal chances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mull.allocation.types import grid
from mull.study.pools import Floats, Ints, Singles

#: The longest vote that the tables reach.
MOST = 64


@dataclass(frozen=True, eq=False)
class States:
    """All states with n = 0 .. ``most``, C of them, n by n.

    ``votes`` int [C, 3]: n, top, second; ``start`` [most + 2]: where each n begins; ``place``
    [most + 2, most + 2, most + 2]: the number of a state, of the nearest possible one for others;
    ``up``, ``beside``, ``stay`` [C]: the states after a vote for a leader, a runner-up, another
    (0 where n = most).
    """

    votes: Ints
    start: Ints
    place: Ints
    up: Ints
    beside: Ints
    stay: Ints

    @property
    def most(self) -> int:
        """The longest vote."""
        return len(self.start) - 2

    def of(self, drawn: Ints, top: Ints, second: Ints) -> Ints:
        """The number of each state; a sample without an answer counts as an answer that nobody repeats."""
        top = np.maximum(top, np.minimum(drawn, 1))
        second = np.maximum(second, np.minimum(drawn - top, 1))
        return np.asarray(self.place[drawn, top, second])


@lru_cache(4)
def states(most: int = MOST) -> States:
    """The states of votes of up to ``most`` samples."""
    votes = [(0, 0, 0)]
    start = [0, 1]
    for n in range(1, most + 1):
        for top in range(1, n + 1):
            low = 1 if n > top else 0
            votes += [(n, top, second) for second in range(low, min(top, n - top) + 1)]
        start.append(len(votes))
    found = np.array(votes)
    place = np.zeros((most + 2,) * 3, np.int32)
    place[found[:, 0], found[:, 1], found[:, 2]] = np.arange(len(found))
    n, top, second = found.T
    inner = n < most
    lone = np.where(second == 0, 1, second)
    return States(
        found,
        np.array(start),
        place,
        np.where(inner, place[n + 1, top + 1, second], 0),
        np.where(inner, place[n + 1, top, np.minimum(second + 1, top)], 0),
        np.where(inner, place[n + 1, top, np.minimum(lone, top)], 0),
    )


@dataclass(frozen=True, eq=False)
class Tables:
    """By state and type, float32 [C, T].

    ``chance`` of the state among votes of its n; and, jointly with it, of a right leader (``right``), of the
    next vote going to a leader (``up``), to a runner-up (``beside``): divide by ``chance``.
    """

    states: States
    chance: Singles
    right: Singles
    up: Singles
    beside: Singles


@lru_cache(2)
def tables(most: int = MOST) -> Tables:
    """The tables over the grid of types; about two seconds for 64 samples, then kept."""
    shares = grid().astype(np.float32)
    held = states(most)
    parts = [np.zeros((len(held.votes), len(shares)), np.float32) for _ in range(4)]
    parts[0][0], parts[2][0] = 1.0, 1.0  # before the first vote, the next one leads
    logs = np.log(grid()).astype(np.float32)
    for n in range(1, most + 1):
        ways = _Ways.of(n, held)
        with np.errstate(under="ignore"):
            chance = np.exp(ways.log_ways[:, None] + ways.counts.astype(np.float32) @ logs.T)
        row = slice(held.start[n], held.start[n + 1])
        for part, factor in zip(
            parts,
            (None, ways.right[:, None], ways.leads @ shares.T, ways.follows @ shares.T),
            strict=True,
        ):
            part[row] = np.add.reduceat(chance if factor is None else chance * factor, ways.begin, axis=0)
    return Tables(held, *parts)


@dataclass(frozen=True, eq=False)
class _Ways:
    """The W ways to split n samples, ordered by state, and what each means.

    ``counts`` [W, 4]; ``log_ways`` [W]: log of the multinomial coefficient; ``right`` [W]: the chance
    that the leader is right; ``leads``, ``follows`` [W, 4]: which of the four answers is in the lead, or
    second behind it; ``begin``: where each state begins.
    """

    counts: Ints
    log_ways: Singles
    right: Singles
    leads: Singles
    follows: Singles
    begin: Ints

    @classmethod
    def of(cls, n: int, held: States) -> _Ways:
        a, b, c = (x.ravel() for x in np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"))
        fits = a + b + c <= n
        a, b, c = a[fits], b[fits], c[fits]
        dust = n - a - b - c
        named = np.stack([a, b, c], axis=1)
        ranked = np.sort(np.column_stack([named, dust >= 1, dust >= 2]), axis=1)
        top, second = ranked[:, -1], ranked[:, -2]
        state = held.place[n, top, second]
        order = np.argsort(state, kind="stable")
        counts = np.column_stack([named, dust])[order]
        top, second, state = top[order], second[order], state[order]
        leads = counts == top[:, None]
        leads[:, 3] = False  # scattered answers are not repeated
        follows = (counts == second[:, None]) & (second < top)[:, None]
        follows[:, 3] = second == 0  # a new answer becomes the runner-up where there is none
        tied = leads.sum(axis=1) + np.where(top == 1, counts[:, 3], 0)
        log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
        return cls(
            counts,
            (log_factorial[n] - log_factorial[counts].sum(axis=1)).astype(np.float32),
            (leads[:, 0] / tied).astype(np.float32),
            leads.astype(np.float32),
            follows.astype(np.float32),
            np.searchsorted(state, np.arange(held.start[n], held.start[n + 1])),
        )


def mixed(found: Tables, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Under weights [L, T]: P(leader right), P(next to a leader), P(next to a runner-up), each [L, C].

    All are 0 in a state whose chance is below single precision under every type.
    """
    shares = weights.astype(np.float32).T
    chance = (found.chance @ shares).astype(np.float64)
    safe = np.maximum(chance, 1e-30)
    right, up, beside = (
        np.clip((part @ shares) / safe, 0.0, 1.0).T.astype(np.float64)
        for part in (found.right, found.up, found.beside)
    )
    return right, up, np.minimum(beside, 1.0 - up)
