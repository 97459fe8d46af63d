"""The exact problem in small: the Bayes-optimal sequential allocation, and the exact worth of following
indices.

A problem is a chain: states with the chance of a right leader, and where the next sample leads. Several
chains share a budget; dynamic programming over all their states gives what no rule can beat, and what the
greedy rule reaches. The number of states grows fast: this is the yardstick for two to four problems and
some ten samples. :class:`Votes` is the chain of :mod:`mull.allocation.types` with every count kept, summed
over all ways to assign the answers seen. Nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from math import prod
from typing import Any, Protocol

State = Any


class Chain(Protocol):
    """One problem: ``start``, the chance that its answer is right in a state, and the next sample's
    outcomes."""

    @property
    def start(self) -> Hashable:
        """The state before the first sample."""
        ...

    def value(self, state: State) -> float:
        """The chance that the leader is right."""
        ...

    def moves(self, state: State) -> list[tuple[float, Hashable]]:
        """(chance, next state) of one more sample; chances sum to 1."""
        ...


@dataclass(frozen=True)
class Votes:
    """The vote over one problem's answers when its type is unknown.

    ``types``: (weight, right, first wrong, second wrong, scattered), shares of each type summing to 1. A
    state is the counts of the answers seen, largest first; which of them is right is not known.
    """

    types: tuple[tuple[float, float, float, float, float], ...]
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def start(self) -> tuple[int, ...]:
        """No answers."""
        return ()

    def _ways(self, state: tuple[int, ...]) -> Iterator[tuple[float, tuple[int, ...], tuple[float, ...]]]:
        """(joint chance, the places of the three named answers or -1 for unseen, shares) of every way."""
        places = [*range(len(state)), -1, -1, -1]
        for named in set(permutations(places, 3)):
            rest = [n for place, n in enumerate(state) if place not in named]
            if any(n > 1 for n in rest):
                continue  # a scattered answer is not repeated
            for weight, *shares in self.types:
                chance = weight * shares[3] ** len(rest)
                chance *= prod(shares[i] ** state[place] for i, place in enumerate(named) if place >= 0)
                if chance > 0:
                    yield chance, named, tuple(shares)

    def _known(self, state: tuple[int, ...]) -> tuple[float, list[tuple[float, tuple[int, ...]]]]:
        if state not in self._kept:
            total = right = new = 0.0
            next_to = [0.0] * len(state)
            tied = state.count(state[0]) if state else 1
            for chance, named, shares in self._ways(state):
                total += chance
                if named[0] >= 0 and state[named[0]] == state[0]:
                    right += chance / tied
                new += chance * (shares[3] + sum(shares[i] for i in range(3) if named[i] < 0))
                for i, place in enumerate(named):
                    if place >= 0:
                        next_to[place] += chance * shares[i]
            moves: dict[tuple[int, ...], float] = {}
            for place, mass in enumerate([*next_to, new]):
                grown = [*state, 0]
                grown[place] += 1
                to = tuple(sorted((n for n in grown if n), reverse=True))
                moves[to] = moves.get(to, 0.0) + mass / total
            self._kept[state] = right / total, [(p, to) for to, p in moves.items() if p > 0]
        found: tuple[float, list[tuple[float, tuple[int, ...]]]] = self._kept[state]
        return found

    def value(self, state: tuple[int, ...]) -> float:
        """The chance that the leader is right; tied leaders have equal chances of being taken."""
        return self._known(state)[0]

    def moves(self, state: tuple[int, ...]) -> list[tuple[float, Hashable]]:
        """The counts after one more sample."""
        return [*self._known(state)[1]]


def index(chain: Chain, state: State, depth: int) -> float:
    """sup over stopping rules of at least 1 and at most ``depth`` samples of gain over samples, exactly.

    By Dinkelbach's iteration (1967): the best rule at a price, then the price at which that rule gains
    nothing.
    """
    now, price = chain.value(state), -1.0
    while True:
        gain, taken = _stopped(chain, state, depth, price, {}, forced=True)
        found = (gain - now) / taken
        if found <= price + 1e-13:
            return price
        price = found


def _stopped(
    chain: Chain,
    state: State,
    depth: int,
    price: float,
    kept: dict[Any, tuple[float, float]],
    *,
    forced: bool,
) -> tuple[float, float]:
    """Expected value at the stop and samples taken, of the best rule at a price a sample."""
    here = chain.value(state), 0.0
    if depth == 0:
        return here
    key = (state, depth)
    if key not in kept:
        value, taken = 0.0, 1.0
        for chance, to in chain.moves(state):
            later, more = _stopped(chain, to, depth - 1, price, kept, forced=False)
            value += chance * later
            taken += chance * more
        kept[key] = value, taken
    value, taken = kept[key]
    return (value, taken) if forced or value - price * taken > here[0] else here


@dataclass(eq=False)
class Shared:
    """Several chains under one budget in tokens: ``costs`` of a sample, ``weights`` of a right answer, each
    [P]."""

    chains: Sequence[Chain]
    costs: Sequence[int]
    weights: Sequence[float]

    @cached_property
    def _best(self) -> dict[Any, float]:
        return {}

    def optimum(self, budget: int) -> float:
        """The most that any sequential rule can reach in expectation."""
        return self._optimum(tuple(chain.start for chain in self.chains), budget)

    def _optimum(self, states: tuple[State, ...], left: int) -> float:
        key = (states, left)
        if key not in self._best:
            found = self._now(states)
            for row, chain in enumerate(self.chains):
                if self.costs[row] <= left:
                    found = max(
                        found,
                        sum(
                            chance * self._optimum(_put(states, row, to), left - self.costs[row])
                            for chance, to in chain.moves(states[row])
                        ),
                    )
            self._best[key] = found
        return self._best[key]

    def greedy(self, budget: int) -> float:
        """What is reached by always sampling where the index per token is highest, until it is at most 0."""
        return self._greedy(tuple(chain.start for chain in self.chains), budget, {}, {})

    def _greedy(
        self, states: tuple[State, ...], left: int, kept: dict[Any, float], known: dict[Any, float]
    ) -> float:
        key = (states, left)
        if key not in kept:
            worths = []
            for row, chain in enumerate(self.chains):
                depth = left // self.costs[row]
                if depth and (row, states[row], depth) not in known:
                    known[row, states[row], depth] = index(chain, states[row], depth)
                found = known[row, states[row], depth] if depth else 0.0
                worths.append(found * self.weights[row] / self.costs[row])
            row = max(range(len(worths)), key=lambda r: worths[r])
            if worths[row] <= 0:
                kept[key] = self._now(states)
            else:
                kept[key] = sum(
                    chance * self._greedy(_put(states, row, to), left - self.costs[row], kept, known)
                    for chance, to in self.chains[row].moves(states[row])
                )
        return kept[key]

    def _now(self, states: tuple[State, ...]) -> float:
        return sum(
            weight * chain.value(state)
            for weight, chain, state in zip(self.weights, self.chains, states, strict=True)
        )


def _put(states: tuple[State, ...], row: int, state: State) -> tuple[State, ...]:
    return (*states[:row], state, *states[row + 1 :])
