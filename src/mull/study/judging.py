"""Judging what was sampled: the answers of a problem's rows, and which of them are right.

All solutions of a problem are judged together, so that equal answers are one. With a grader that
happens in a thread, so that no answer, however odd, holds up others. The module samples nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mull.answers import Grader, extract_answer, is_correct
from mull.grading import grader
from mull.problems import Problem
from mull.reading import answer_of
from mull.trace import Step, Trace

Row = dict[str, Any]


async def judge(named: str | None, problems: Sequence[Problem], rows: Sequence[Row]) -> None:
    """Fill in ``answer`` and ``correct`` of rows that have ``problem``, ``text`` and ``finish``.

    ``named`` is the grader's name; without a gold answer ``correct`` is None.
    """
    by_id: dict[str, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row["problem"], []).append(row)
    judging = grader(named)
    for problem in problems:
        own = by_id.get(problem.id, [])
        if judging is None:
            _plainly(problem, own)
        else:
            await asyncio.to_thread(_graded, judging, problem, own)


def _plainly(problem: Problem, rows: Sequence[Row]) -> None:
    for row in rows:
        row["answer"] = answer_of(_trace(problem, row), extract_answer)
        row["correct"] = None if problem.gold is None else is_correct(row["answer"], problem.gold)


def _graded(judging: Grader, problem: Problem, rows: Sequence[Row]) -> None:
    found = [answer_of(_trace(problem, row), judging.extract) for row in rows]
    named = judging.canonical(found, problem)
    gold = problem.gold
    right: dict[str | None, bool | None] = dict.fromkeys(named)
    if gold is not None:
        right = {answer: judging.correct(answer, gold, problem) for answer in right}
    for row, answer in zip(rows, named, strict=True):
        row["answer"], row["correct"] = answer, right[answer]


def _trace(problem: Problem, row: Row) -> Trace:
    """A solution as a trace; an answer is read alike however its text is cut into steps."""
    return Trace(problem, (Step(row["text"], ()),), row["finish"])
