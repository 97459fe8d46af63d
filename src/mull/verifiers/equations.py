"""Equations as a verifier: every ``a op b = c`` that a step writes is computed again.

Numbers only, in plain notation or simple LaTeX, exactly (fractions), chains (``2 * 3 = 6 = 12 / 2``) link by
link; a rounded result holds to its last digit. What is not arithmetic is left alone. A step's value is the
share of its equations that hold; one without any has nothing against it: 1. It costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from mull.cost import Cost
from mull.trace import Need, Scores, Trace
from mull.verifiers.base import Verdict

_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_SPELLINGS = (
    (re.compile(r"<<|>>"), " ; "),  # GSM8K's calculator marks
    (re.compile(r"\\times|\\cdot|×|·|∗|⋅"), "*"),
    (re.compile(r"\\div|÷"), "/"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"\\approx|≈"), "="),
    (re.compile(r"\\left|\\right|\\[,;:! ]|\$|£|€"), ""),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=[\d)])(\s+)x(?=\s+[\d(])"), r"\1*"),
    (re.compile(r"\*\*"), "^"),
)
_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
_SIDE = rf"[-+( \t]*{_NUMBER}[ \t)]*(?:[-+*/^][-+( \t]*{_NUMBER}[ \t)]*)*"
_CHAIN = re.compile(rf"{_SIDE}(?:={_SIDE})+")
_TOKEN = re.compile(rf"\s*({_NUMBER}|[-+*/^()])")
#: Beside an equation these say that it is a piece of something larger: "3 1/2 - 2 = ...", "half of 4 = ...".
_BEFORE = re.compile(
    r"[\w)\]}^_%.]$|[-+*/=^(<>|][ \t]*$|\\\w*[ \t]*$|[\d)}\]¼-¾][ \t]*$|\bof[ \t]*$"
    r"|(?<![a-zA-Z])[b-zB-HJ-Z][ \t]*$"
)
_AFTER = re.compile(r"^(?:[ \t]*[-+*/^=(<>!%{\\¼-¾]|\.?\w|[ \t]+\d)")
_TERM, _SYMBOL = re.compile(r"[\w)}\]]\s*$"), re.compile(r"((?<![a-zA-Z])[a-zA-Z]|[\d)}\]])\s*$")


@dataclass(frozen=True)
class Equation:
    """A link of a chain: its two sides as written, and whether it holds."""

    left: str
    right: str
    holds: bool


def equations(text: str) -> list[Equation]:
    """The equations between numbers in a text, at least one side of which is a computation, in order."""
    for _ in range(8):  # nested fractions, innermost first
        text, more = _FRACTION.subn(r"((\1)/(\2))", text)
        if not more:
            break
    for pattern, plain in _SPELLINGS:
        text = pattern.sub(plain, text)
    found = []
    for match in _CHAIN.finditer(text):
        whole = match.group()
        start = match.start() + len(whole) - len(whole.lstrip())
        end = match.start() + len(whole.rstrip())
        before, sign = text[:start], re.match(r"[-+](\s?)", text[start:])
        if sign and _TERM.search(before) and (sign.group(1) or _SYMBOL.search(before)):
            continue  # the sign joins it to what stands before
        if _BEFORE.search(before) or _AFTER.match(text[end:]):
            continue
        sides = [side.strip() for side in whole.split("=")]
        for left, right in pairwise(sides):
            if not any(_computes(side) for side in (left, right)):
                continue
            try:
                found.append(Equation(left, right, _agree(left, right)))
            except (ValueError, ZeroDivisionError):
                continue
    return found


def _computes(side: str) -> bool:
    return len(re.findall(_NUMBER, side)) > 1


def _agree(left: str, right: str) -> bool:
    one, other = _Reader(left).value(), _Reader(right).value()
    if one == other:
        return True
    slack = [
        Fraction(1, 2 * 10 ** len(digits.group(1)))
        for side in (left, right)
        if not _computes(side) and (digits := re.search(r"\.(\d+)", side))
    ]
    return any(abs(one - other) <= each for each in slack)


class _Reader:
    """Reads one side: sums of products of powers of numbers, signs and brackets."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        text = text.strip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if not found:
                raise ValueError(text)
            self.tokens.append(found.group(1))
            at = found.end()
        self.at = 0

    def value(self) -> Fraction:
        found = self._sum()
        if self.at != len(self.tokens):
            raise ValueError(self.tokens)
        return found

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._next()
        self.at += 1
        return token

    def _sum(self) -> Fraction:
        found = self._product()
        while self._next() in ("+", "-"):
            found = found + self._product() if self._take() == "+" else found - self._product()
        return found

    def _product(self) -> Fraction:
        found = self._signed()
        while self._next() in ("*", "/"):
            found = found * self._signed() if self._take() == "*" else found / self._signed()
        return found

    def _signed(self) -> Fraction:
        if self._next() in ("+", "-"):
            return self._signed() if self._take() == "+" else -self._signed()
        return self._power()

    def _power(self) -> Fraction:
        base = self._atom()
        if self._next() != "^":
            return base
        self._take()
        exponent = self._signed()
        if exponent.denominator != 1 or abs(exponent) > 64 or abs(base) > 10**9:
            raise ValueError(str(exponent))
        return Fraction(base) ** int(exponent)

    def _atom(self) -> Fraction:
        token = self._take()
        if token == "(":
            found = self._sum()
            if self._take() != ")":
                raise ValueError("bracket")
            return found
        return Fraction(token) if token and token not in "+-*/^)" else self._fail(token)

    def _fail(self, token: str) -> Fraction:
        raise ValueError(token)


class Equations:
    """Implements :class:`mull.verifiers.base.Verifier`. A solution without any equation is unscored."""

    kind: Need = "process"
    name = "equations"

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order."""
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> Verdict:
        found = [equations(step.text) for step in trace.steps]
        if not any(found):
            return Verdict(None, Cost(), "there is no equation between numbers in it to check")
        return Verdict(
            Scores(tuple(sum(e.holds for e in each) / len(each) if each else 1.0 for each in found))
        )
