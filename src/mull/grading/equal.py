"""Is an answer right: one verdict from the normal form, or, where that does not decide, from math-verify.

The cheap form goes first and settles what it can without a process; only undecided pairs of
expressions reach a worker. A judgement that fails counts as "not equal" and the verdict says
by what; it is never an exception and never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from mull.errors import MullError
from mull.grading.decide import compare
from mull.grading.form import read, spelled
from mull.grading.latex import typeset
from mull.grading.settings import MATH, Settings
from mull.grading.strings import hendrycks, multiplied
from mull.grading.workers import TIME, MathVerify, NoVerdictError, available, shared

By = Literal["text", "form", "math-verify", "time limit", "worker died", "too long", "no answer"]

#: What decimals are rounded to where a grader compares exactly: past any rounding of sympy's own.
EXACT_PLACES = 12

#: An equation, an inequality or a membership, not a value.
_STATES = re.compile(r"[=<>]|\\(?:le|ge|ne|in)(?![a-z])")

_DIGITS = re.compile(r"-?[0-9]{1,18}")

#: A text that is nothing but a number in math-verify's own grammar, in dollars or not.
_NUMBER = re.compile(r"(\$)?(-?\d{1,15}(?:\.\d{1,15})?)(\$)?")


@dataclass(frozen=True)
class Verdict:
    """Whether two answers are equal, and what said so; true in a condition if they are.

    ``by`` is "text" for equal spellings, "form" for the normal form, "math-verify", "too long"
    for an answer compared as text because of its length, "no answer", or what kept
    math-verify from judging ("time limit", "worker died"); of those, all are unequal.
    """

    equal: bool
    by: By

    def __bool__(self) -> bool:
        return self.equal


def equal(
    gold: str, predicted: str | None, grader: Settings = MATH, workers: MathVerify | None = None
) -> Verdict:
    """Whether a predicted answer equals the gold one under a grader's settings.

    Without an answer (None, or nothing but white space) the verdict is unequal. An answer of more
    than ``grader.longest`` characters is decided by the cheap form alone: equal only to the same
    text, white space joined. ``workers`` are the processes to ask, by default one pool for
    the whole process. Thread-safe.

    Raises :class:`MullError` where math-verify is needed but not installed, unless
    ``grader.missing`` is "form".
    """
    cheap = decided(gold, predicted, grader)
    if cheap is not None:
        return cheap
    assert predicted is not None
    ask = _Asked(grader, workers or shared())
    try:
        if grader.reads == "text":
            return Verdict(ask(gold, predicted), "math-verify")
        found = compare(read(gold, grader), read(predicted, grader), grader, ask)
        return Verdict(found is True, "math-verify")
    except NoVerdictError as failure:
        return Verdict(False, "time limit" if str(failure) == TIME else "worker died")


def decided(gold: str, predicted: str | None, grader: Settings = MATH) -> Verdict | None:
    """The verdict of the cheap form, None where math-verify is needed and there to be asked."""
    if predicted is None or not predicted.strip() or not gold.strip():
        return Verdict(False, "no answer")
    bare = grader.reach != "text" and grader.reads == "answer"
    if bare and _DIGITS.fullmatch(gold) and _DIGITS.fullmatch(predicted):
        return Verdict(int(gold) == int(predicted), "form")
    same = gold.strip() == predicted.strip() or spelled(gold, grader) == spelled(predicted, grader)
    if same or (grader.spelling == "prm800k" and hendrycks(gold) == hendrycks(predicted)):
        return Verdict(True, "text")
    if max(len(gold), len(predicted)) > grader.longest:
        return Verdict(False, "too long")
    if grader.reach == "text":
        return Verdict(False, "text")
    if grader.reads == "text":
        found = _plain_numbers(gold.strip(), predicted.strip(), grader)
    else:
        found = compare(read(gold, grader), read(predicted, grader), grader)
    if found is None and grader.missing == "form" and not available():
        found = False
    return None if found is None else Verdict(found, "form")


def either_way(a: str, b: str, grader: Settings, workers: MathVerify | None) -> bool:
    """Whether two answers are equal with either of them as gold."""
    if equal(a, b, grader, workers):
        return True
    return not grader.symmetric and bool(equal(b, a, grader, workers))


class _Asked:
    """Puts the pairs of one verdict to the workers, all within one time limit."""

    def __init__(self, grader: Settings, workers: MathVerify) -> None:
        self.grader, self.workers = grader, workers
        self.left = workers.seconds
        answer = grader.reads == "answer"
        self.settings: dict[str, Any] = {
            "notations": ["latex"] if answer else list(grader.notations),
            "wrap": answer,
            "rounding": EXACT_PLACES if grader.decimals is None else grader.decimals,
            "strict": grader.variables == "named",
            "both_ways": grader.relations == "sets",
            "relative": grader.relative,
        }

    def __call__(self, gold: str, target: str) -> bool:
        what = f"comparing {_short(gold)} with {_short(target)}"
        if self.grader.spelling == "prm800k":
            gold, target = multiplied(gold), multiplied(target)
        if self.settings["wrap"]:
            gold, target = typeset(gold), typeset(target)
        if self.grader.symmetric:
            # An equation as gold keeps its left side; the other way round it would lose it.
            gold, target = sorted((gold, target), key=lambda side: (not _STATES.search(side), side))
        try:
            found, spent = self.workers.judge(gold, target, self.settings, self.left)
            self.left = max(0.1, self.left - spent)
            return found
        except MullError as error:
            if available():
                raise
            raise MullError(f"{what}: {error}") from None


def _plain_numbers(gold: str, predicted: str, grader: Settings) -> bool | None:
    """Whether two texts that are nothing but numbers are equal; None if they are something else."""
    sides = []
    for text in (gold, predicted):
        match = _NUMBER.fullmatch(text)
        if match is None or bool(match[1]) != bool(match[3]):
            return None
        if ("latex" if match[1] else "plain") not in grader.notations:
            return None
        sides.append(match[2])
    a, b = Fraction(sides[0]), Fraction(sides[1])
    if a == b:
        return True
    places = EXACT_PLACES if grader.decimals is None else grader.decimals
    near = "." in sides[0] + sides[1] and abs(a - b) < Fraction(2, 10**places)
    return None if near or grader.relative else False


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
