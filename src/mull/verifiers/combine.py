"""Verifiers of verifiers: several values of a step become one; agreement among a problem's solutions.

A verifier of whole solutions stands beside step values by giving its one value to every step. Where
one of the verifiers has no value, the combination has none: it never makes one up.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from mull.answers import Extract, extract_answer
from mull.cost import Cost
from mull.errors import MullError
from mull.trace import Scores, Trace
from mull.verifiers.base import Verdict, Verifier


def experts(values: Sequence[float]) -> float:
    """The product of experts: the odds multiplied (Hinton 2002). 0 and 1 at once are undecided: 0.5."""
    if any(v == 0 for v in values) and any(v == 1 for v in values):
        return 0.5
    if any(v == 0 for v in values):
        return 0.0
    if any(v == 1 for v in values):
        return 1.0
    odds = math.fsum(math.log(v) - math.log1p(-v) for v in values)
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


WAYS: Mapping[str, Callable[[Sequence[float]], float]] = MappingProxyType(
    {
        "mean": lambda values: math.fsum(values) / len(values),
        "min": min,
        "product": math.prod,
        "experts": experts,
    }
)


class Combined:
    """Implements :class:`mull.verifiers.base.Verifier`; ``how`` is a key of :data:`WAYS`."""

    def __init__(self, verifiers: Sequence[Verifier], how: str = "mean") -> None:
        if how not in WAYS:
            raise MullError(f"there is no way {how!r} to combine verifiers; there are {', '.join(WAYS)}")
        if not verifiers:
            raise MullError("there are no verifiers to combine")
        self.verifiers, self.how = tuple(verifiers), how

    @property
    def name(self) -> str:
        """The way and the verifiers."""
        return f"{self.how} of {', '.join(v.name for v in self.verifiers)}"

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order; costs add up."""
        found = await asyncio.gather(*(verifier.score(traces) for verifier in self.verifiers))
        return [self._one(each) for each in zip(*found, strict=True)]

    def _one(self, verdicts: Sequence[Verdict]) -> Verdict:
        cost = sum((verdict.cost for verdict in verdicts), Cost())
        values: list[tuple[float, ...]] = []
        for verifier, verdict in zip(self.verifiers, verdicts, strict=True):
            if verdict.scores is None:
                return Verdict(None, cost, f"{verifier.name}: {verdict.error or 'no scores and no reason'}")
            if bad := [x for x in verdict.scores.steps if not 0 <= x <= 1]:
                return Verdict(None, cost, f"{verifier.name}: {bad[0]} is not in [0, 1]")
            values.append(verdict.scores.steps)
        length = max(map(len, values))
        if any(len(each) not in (1, length) for each in values):
            counts = ", ".join(str(len(each)) for each in values)
            return Verdict(None, cost, f"the verifiers gave different numbers of values: {counts}")
        spread = [each * length if len(each) == 1 else each for each in values]
        way = WAYS[self.how]
        return Verdict(Scores(tuple(way(column) for column in zip(*spread, strict=True))), cost)


class Agreement:
    """Implements :class:`mull.verifiers.base.Verifier`: the share of a problem's solutions that agree.

    It looks at the traces of one call, so it is for strategies that score all their candidates at once
    (best-of-N); solutions without an answer are unscored, and count. With :class:`Combined`'s "product"
    and :class:`~mull.verifiers.unit_tests.UnitTests` it is agreement x tests (Chen et al. 2022, section
    2.2, power 1) up to a constant a problem. ``same`` maps a problem's answers to representatives of
    equal ones.
    """

    name = "agreement"

    def __init__(
        self,
        extract: Extract = extract_answer,
        same: Callable[[Sequence[str | None], Trace], Sequence[str | None]] | None = None,
    ) -> None:
        self.extract, self.same = extract, same

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order."""
        groups: dict[tuple[str, str], list[int]] = {}
        for i, trace in enumerate(traces):
            groups.setdefault((trace.problem.id, trace.problem.prompt), []).append(i)
        verdicts: dict[int, Verdict] = {}
        for members in groups.values():
            answers: Sequence[str | None] = [self.extract(traces[i].text) for i in members]
            if self.same is not None:
                answers = self.same(answers, traces[members[0]])
            votes = Counter(answer for answer in answers if answer is not None)
            for i, answer in zip(members, answers, strict=True):
                if answer is None:
                    verdicts[i] = Verdict(None, Cost(), "the solution has no answer to agree on")
                else:
                    verdicts[i] = Verdict(Scores((votes[answer] / len(members),)))
        return [verdicts[i] for i in range(len(traces))]
