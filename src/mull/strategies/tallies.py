"""What the voting rules share: a running count of answers, and sampling on until it settles.

A tally counts the votes that were paid for, and nothing else. A rule is a function of the tally
(or of a few numbers of it), so a replay that keeps the same numbers decides the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from mull.errors import MullError
from mull.problems import Problem
from mull.strategies.base import Finals, Plan, Request
from mull.trace import Read, Sample, Trace

#: Says after ``drawn`` samples, from the votes for the first and the second answer, whether to stop.
Settled = Callable[[int, int, int], bool]


@dataclass(frozen=True)
class Lead:
    """How far a vote has come: samples drawn, votes for the leading answer and for the runner-up."""

    drawn: int
    top: int
    second: int


def lead(answers: Sequence[str | None]) -> Lead:
    """The lead among ``answers``; None drew and did not vote."""
    ranked = Counter(a for a in answers if a is not None).most_common(2)
    counts = [n for _, n in ranked] + [0, 0]
    return Lead(len(answers), counts[0], counts[1])


def read(traces: Sequence[Trace]) -> Generator[Request, Any, list[str | None]]:
    """The answers of finished traces, free of cost."""
    found: list[str | None] = yield Read(tuple(traces))
    return found


def sequential(problem: Problem, budget: int, batch: int, settled: Settled) -> Plan:
    """Sample ``batch`` solutions at a time until the vote is settled or the budget spent.

    Costs as many generations as were drawn. All of them are returned, and vote.
    """
    traces: list[Trace] = []
    answers: list[str | None] = []
    while len(traces) < budget:
        more = min(batch, budget - len(traces))
        made: list[Trace] = yield Sample((Trace(problem),) * more, "end")
        traces += made
        answers += yield from read(made)
        now = lead(answers)
        if settled(now.drawn, now.top, now.second):
            break
    finals: Finals = [(trace, None) for trace in traces]
    return finals


def check_share(what: str, name: str, value: object, *, least: float = 0.0, most: float = 1.0) -> None:
    """Raise :class:`MullError` unless ``value`` is a number from ``least`` to ``most``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= float(value) <= most:  # type: ignore[arg-type]
        raise MullError(f"{what}: {name} is a number from {least:g} to {most:g}, not {value!r}")
