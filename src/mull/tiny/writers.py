"""The small world's training corpus: solutions by writers of mixed skill.

A base model imitates whoever wrote its corpus and knows better than it writes;
that gap is what a verifier draws out. So each solution here has a writer with
rates of their own for a few well-known misconceptions (reading "more" as plus
when it is told backwards, taking the smaller digit from the larger, dropping a
carry) and for slips and wrongly picked facts. An error, once made, is carried
through the rest of the solution.

The module turns a :class:`~mull.tiny.world.Story` into text. It never labels a
solution as right or wrong; that is the grader's job.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mull.tiny.world import REVERSED, Fact, Op, Story, calculate, operands

#: Mean rate of each misconception over writers, where it applies.
MEAN_RATE = {"reverse": 0.65, "borrow": 0.45, "carry": 0.25, "times": 0.12, "slip": 0.02, "pick": 0.03}
#: Beta concentration: how alike the writers are (low: each is consistent, and unlike the others).
CONCENTRATION = 6.0
_OPPOSITE: dict[str, Op] = {"+": "-", "-": "+", "/": "*"}


@dataclass(frozen=True)
class Writer:
    """One writer: the chance of each misconception where it applies."""

    rates: dict[str, float]

    @staticmethod
    def draw(rng: np.random.Generator) -> Writer:
        """A writer at random."""
        c = CONCENTRATION
        return Writer({k: float(rng.beta(c * m, c * (1 - m))) for k, m in MEAN_RATE.items()})

    def solve(self, story: Story, rng: np.random.Generator) -> str:
        """This writer's solution: a step a line, then the answer line."""
        known = dict(story.bases)
        numbers = [f.number for f in story.facts if f.kind != "sum"]
        lines = []
        for fact in story.chain:
            a, op, b, value = self._step(fact, known, numbers, rng)
            known[fact.subject] = value
            lines.append(f"{fact.subject}: {a} {op} {b} = {value}")
        lines.append(f"Answer: {known[story.target]}")
        return "\n".join(lines)

    def _step(
        self, fact: Fact, known: dict[str, int], numbers: list[int], rng: np.random.Generator
    ) -> tuple[int, Op, int, int]:
        def errs(name: str) -> bool:
            return bool(rng.random() < self.rates[name])

        a, b = operands(fact, known)
        op = fact.op
        if fact.kind in REVERSED and errs("reverse"):
            op = _OPPOSITE[op]
        elif fact.kind == "times" and errs("times"):
            op = "+"
        others = [n for n in numbers if n != b]
        if others and errs("pick"):
            b = int(rng.choice(others))
        if op == "-" and a < b:
            a, b = b, a
        value = calculate(op, a, b)
        unborrowed = op == "-" and _borrows(a, b) and errs("borrow")
        if unborrowed or (op == "+" and _carries(a, b) and errs("carry")):
            value = _digitwise(a, b, op)
        elif errs("slip"):
            value = max(0, value + int(rng.choice((-10, -2, -1, 1, 2, 10))))
        return a, op, b, value


def _digits(n: int, width: int) -> list[int]:
    return [int(c) for c in str(n).zfill(width)]


def _borrows(a: int, b: int) -> bool:
    width = len(str(a))
    return any(x < y for x, y in zip(_digits(a, width)[1:], _digits(b, width)[1:], strict=True))


def _carries(a: int, b: int) -> bool:
    """Whether a column other than the first carries (a first-column carry is never dropped)."""
    width = max(len(str(a)), len(str(b)))
    return any(x + y > 9 for x, y in zip(_digits(a, width)[1:], _digits(b, width)[1:], strict=True))


def _digitwise(a: int, b: int, op: Op) -> int:
    """Both numbers combined column by column, nothing carried or borrowed below the first."""
    width = max(len(str(a)), len(str(b)))
    columns = zip(_digits(a, width), _digits(b, width), strict=True)
    head, *rest = [calculate(op, x, y) for x, y in columns]
    return int(f"{head}{''.join(str(value % 10) for value in rest)}")
