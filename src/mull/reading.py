"""Reading: the answers that one task's traces give, as the driver's grader has them.

Answers come out of the texts, equal ones become one text, and the final one is judged, all in a
thread of its own where there is a grader, so that no answer holds up the event loop. Without a
grader an answer is the normal form that was extracted, and nothing leaves the loop. The module
never looks at the gold answer but to judge the final one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mull.answers import Extract, Grader, extract_answer, is_correct
from mull.problems import Problem
from mull.trace import Trace


def answer_of(trace: Trace, extract: Extract) -> str | None:
    """The answer of a finished trace: none if it failed, from its whole lines if it was cut."""
    if trace.finish == "stop":
        return extract(trace.text)
    if trace.finish in ("length", "budget"):
        return extract("".join(trace.text.rpartition("\n")[:2]))
    return None


class Reading:
    """What is read in the course of one task.

    A strategy may read its traces in several requests and count equal answers over all of
    them, so a class of answers keeps the text that it was first given. The final candidates are
    read once more, all together: their texts do not depend on the order of sampling.
    """

    def __init__(self, problem: Problem, extract: Extract | None, grader: Grader | None) -> None:
        self.problem, self.grader = problem, grader
        self.extract = extract or (grader.extract if grader else extract_answer)
        self._given: dict[str, str | None] = {}  # what an answer was called, by the answer

    async def answers(self, traces: Sequence[Trace]) -> list[str | None]:
        """The answers of some traces, named as in earlier calls."""
        if self.grader is None:
            return [answer_of(trace, self.extract) for trace in traces]
        return await asyncio.to_thread(self._named, self.grader, traces)

    async def finals(self, traces: Sequence[Trace]) -> list[str | None]:
        """The answers of the final candidates, whatever was read before."""
        if self.grader is None:
            return [answer_of(trace, self.extract) for trace in traces]
        return list(await asyncio.to_thread(self._read, self.grader, traces))

    async def correct(self, answer: str | None) -> bool | None:
        """Whether the answer is right; None where the problem has no gold answer."""
        gold = self.problem.gold
        if gold is None:
            return None
        if self.grader is None:
            return is_correct(answer, gold)
        return await asyncio.to_thread(self.grader.correct, answer, gold, self.problem)

    def _read(self, grader: Grader, traces: Sequence[Trace]) -> tuple[str | None, ...]:
        return grader.canonical([answer_of(trace, self.extract) for trace in traces], self.problem)

    def _named(self, grader: Grader, traces: Sequence[Trace]) -> list[str | None]:
        found = [answer_of(trace, self.extract) for trace in traces]
        if new := [answer for answer in dict.fromkeys(found) if answer not in self._given and answer]:
            known = list(self._given)
            merged = grader.canonical([*known, *new], self.problem)
            names: dict[str | None, str | None] = {}
            for answer, where in zip(known, merged[: len(known)], strict=True):
                names.setdefault(where, self._given[answer])
            for answer, where in zip(new, merged[len(known) :], strict=True):
                self._given[answer] = None if where is None else names.setdefault(where, where)
        return [self._given.get(answer) if answer else None for answer in found]
