"""Races: solutions sampled side by side, step by step, until enough of them have finished.

What is still open then is dropped where it stands: its tokens so far are paid for, the rest is
never sampled. So a race costs what was generated until its last round, live as in a replay, and a
round is one step of the engine. Nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from mull.problems import Problem
from mull.strategies.base import Request
from mull.trace import Sample, Trace


@dataclass(frozen=True)
class Finish:
    """How a race ended.

    ``finished``: the first ``keep`` solutions, first the earlier round, then the fewer tokens,
    then the place at the start; ``spare``: failed ones and those that finished too late to count;
    ``open``: dropped on the way.
    """

    finished: tuple[Trace, ...]
    spare: tuple[Trace, ...] = ()
    open: tuple[Trace, ...] = ()


def race(problem: Problem, width: int, keep: int, cap: int = 0) -> Generator[Request, Any, Finish]:
    """Start ``width`` solutions and stop when ``keep`` have finished; costs ``width`` generations.

    With ``cap`` a solution that is still open after so many tokens is dropped as well (0: none is).
    Where nothing can be dropped the solutions are sampled to their end in one request.
    """
    if keep >= width and not cap:
        whole: list[Trace] = yield Sample((Trace(problem),) * width, "end")
        good = tuple(t for t in whole if t.finish != "error")
        return Finish(good, tuple(t for t in whole if t.finish == "error"))
    running = [Trace(problem)] * width
    places = list(range(width))
    dropped: list[Trace] = []
    failed: list[Trace] = []
    finished: list[tuple[int, int, int, Trace]] = []
    rounds = 0
    while running and len(finished) < keep:
        made: list[Trace] = yield Sample(tuple(running), "step")
        rounds += 1
        still: list[tuple[int, Trace]] = []
        for place, trace in zip(places, made, strict=True):
            if trace.finish == "error":
                failed.append(trace)
            elif not trace.open:
                finished.append((rounds, len(trace.tokens), place, trace))
            elif cap and len(trace.tokens) >= cap:
                dropped.append(trace)
            else:
                still.append((place, trace))
        places, running = [place for place, _ in still], [trace for _, trace in still]
    order = [trace for *_, trace in sorted(finished, key=lambda one: one[:3])]
    return Finish(tuple(order[:keep]), tuple(order[keep:] + failed), tuple(dropped + running))
