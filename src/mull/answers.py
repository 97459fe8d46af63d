"""Answers: taken out of a solution's text, brought to a normal form, compared.

Votes are counted over normal forms, so two spellings of one number are one
answer. Pure functions on text; mathematics beyond plain numbers is not graded here, but by
what has the shape of a :class:`Grader`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from mull.problems import Problem

#: Takes a finished solution's text, gives its answer, or None if it has none.
Extract = Callable[[str], str | None]


class Grader(Protocol):
    """Says which of one problem's answers are the same answer, and whether one is right.

    A grader may take long and may start processes, but never fails on an answer, however
    hostile. Those whose verdict depends on more than the answers (programs) need the ``problem``.
    Safe to share between threads.
    """

    def extract(self, text: str) -> str | None:
        """The answer in a finished solution's text, None if there is none."""
        ...

    def canonical(
        self, answers: Sequence[str | None], problem: Problem | None = None
    ) -> tuple[str | None, ...]:
        """The answers, equal ones replaced by one and the same text, None where there is no answer.

        The gold answer is never looked at. The texts depend on which answers there are and how
        often, and not on their order.
        """
        ...

    def correct(self, answer: str | None, gold: str, problem: Problem | None = None) -> bool:
        """Whether an answer is right; no answer is wrong."""
        ...


_ANSWER_LINE = re.compile(r"^\s*(?:Answer:|####)\s*(\S.*?)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def extract_answer(solution: str) -> str | None:
    """The normal form of the last ``Answer: x`` (or ``#### x``) line, None if there is none."""
    found = _ANSWER_LINE.findall(solution)
    return normal_form(found[-1]) if found else None


def normal_form(answer: str) -> str:
    """A canonical spelling: thousands separators, leading zeros, ``+`` and ``.0`` dropped."""
    text = " ".join(answer.split()).strip().rstrip(".")
    number = text.replace(",", "")
    if not _NUMBER.fullmatch(number):
        return text
    sign = "-" if number.startswith("-") else ""
    whole, _, fraction = number.lstrip("+-").partition(".")
    fraction = fraction.rstrip("0")
    body = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return body if body == "0" else sign + body


def is_correct(answer: str | None, gold: str) -> bool:
    """Whether an answer equals the gold answer; no answer is wrong."""
    return answer is not None and normal_form(answer) == normal_form(gold)
