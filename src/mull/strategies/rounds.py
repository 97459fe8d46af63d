"""Step-level search: the rounds that beam search, lookahead and DVTS are made of.

A search has one or more groups that never exchange beams. In a round every open beam
of a group is scored, the best ``slots`` survive, and each surviving
open one is continued by one step ``width`` times (Snell et al. 2024, section 5.2 and
figure 2). What the paper leaves open is settled so:

- A finished prefix stays in its group's pool and competes with its final score. It is
  carried as one candidate, never sampled again, and holds one slot: a round samples
  (slots - carried) x width steps.
- Identical prefixes are beams like any other (the paper says nothing of them; keeping
  distinct ones alone gives every rare step as many children as a common one, and
  cost accuracy where it was tried: docs/log.md). Are there fewer open survivors than
  slots for them, their children share the places evenly, the better-scored first.
- A prefix without a score ranks after all that have one; a failed one is dropped.
- A group is over when its pool, or all that survives of it, is finished; every finished
  beam of that last pool is a final, pruned or not: it is whole, and it is paid for.
- Beams that are open after ``max_rounds`` rounds are continued to the end.

The search draws nothing itself and makes no score up.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mull.problems import Problem
from mull.strategies.base import Plan, Request
from mull.strategies.sampling import independent
from mull.trace import Sample, Score, Scores, Trace


@dataclass(frozen=True)
class Beam:
    """A prefix in a pool; ``asked`` is set once its scores were asked for (they may be None)."""

    trace: Trace
    scores: Scores | None = None
    asked: bool = False


Pool = tuple[Beam, ...]
Until = Literal["step", "end"]
Turn = Generator[Request, Any, list[Pool]]


def search(
    problem: Problem, *, groups: int, slots: int, width: int, max_rounds: int, lookahead: int = 0
) -> Plan:
    """Search with ``groups`` x ``slots`` x ``width`` beams; finals come scored.

    Costs that many generations, times (lookahead + 1). One beam is pass@1: a single
    solution sampled to the end.
    """
    size = slots * width
    if groups * size == 1:
        return (yield from independent(problem, 1, scored=True))
    first: list[Trace] = yield Sample((Trace(problem),) * (groups * size), "step")
    pools = [tuple(map(Beam, first[g * size : (g + 1) * size])) for g in range(groups)]
    for _ in range(max_rounds - 1):
        if not any(map(is_open, pools)):
            break
        if width > 1:
            pools = yield from scored(pools, lookahead)
            pools = [pruned(pool, slots) for pool in pools]
        parents = [children(pool, slots, width) for pool in pools]
        pools = yield from extended(pools, parents, "step")
    parents = [tuple(beam.trace for beam in pool if beam.trace.open) for pool in pools]
    pools = yield from extended(pools, parents, "end")
    pools = yield from scored(pools, 0)
    return [(beam.trace, beam.scores) for pool in pools for beam in pool]


def is_open(pool: Pool) -> bool:
    """Whether anything in the pool can be continued."""
    return any(beam.trace.open for beam in pool)


def pruned(pool: Pool, slots: int) -> Pool:
    """The pool's survivors; if none of them is open, all that is finished."""
    kept = survivors(pool, slots)
    return kept if is_open(kept) else tuple(beam for beam in pool if not beam.trace.open)


def survivors(pool: Pool, slots: int) -> Pool:
    """The best ``slots`` beams, best first; failed ones are dropped.

    Equal scores keep their order in the pool, which is the order of sampling.
    """
    sound = [beam for beam in pool if beam.trace.finish != "error"]
    return tuple(sorted(sound, key=lambda b: -b.scores.last if b.scores else 1.0)[:slots])


def children(pool: Pool, slots: int, width: int) -> tuple[Trace, ...]:
    """The pool's open traces, each as often as it is to be continued.

    There are ``width`` places for each slot that no finished beam holds; the open
    beams share them evenly, and what is left over goes to the first of them.
    """
    live = [beam.trace for beam in pool if beam.trace.open]
    if not live:
        return ()
    each, over = divmod((slots - (len(pool) - len(live))) * width, len(live))
    return tuple(trace for i, trace in enumerate(live) for _ in range(each + (i < over)))


def scored(pools: Sequence[Pool], lookahead: int) -> Turn:
    """The pools with scores for every beam that was not asked for them before."""
    new = tuple(beam.trace for pool in pools for beam in pool if not beam.asked)
    if not new:
        return list(pools)
    found: Iterator[Scores | None] = iter((yield Score(new, lookahead)))
    return [tuple(b if b.asked else Beam(b.trace, next(found), True) for b in pool) for pool in pools]


def extended(pools: Sequence[Pool], parents: Sequence[tuple[Trace, ...]], until: Until) -> Turn:
    """Each pool's finished beams, followed by what sampling from its parents gives."""
    asked = tuple(trace for group in parents for trace in group)
    if not asked:
        return [tuple(beam for beam in pool if not beam.trace.open) for pool in pools]
    grown: Iterator[Trace] = iter((yield Sample(asked, until)))
    return [
        tuple(beam for beam in pool if not beam.trace.open) + tuple(Beam(next(grown)) for _ in group)
        for pool, group in zip(pools, parents, strict=True)
    ]
