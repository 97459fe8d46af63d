r"""Numbers and what is written around them: exact values, units, percent signs, ordinals.

A number is read only where its value is certain and small enough to write down; anything
else is not a number here. Nothing is evaluated but the quotient, power of ten or small
integer power that the notation itself stands for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from mull.grading.settings import Settings

Written = Literal["integer", "decimal", "fraction", "other"]

#: No number of more characters is read (Python itself refuses integers of 4,300 digits).
MOST_DIGITS = 400

_INT, _DEC = r"\d+", r"(?:\d+\.\d*|\.\d+|\d+)"
_THOUSANDS = re.compile(r"([+-]?\d{1,3}(?:,\d{3})+)(\.\d+)?")
_SPACED_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_PLAIN = re.compile(rf"[+-]?{_DEC}")
_SLASH = re.compile(rf"([+-]?)\(?({_DEC})\)?/\(?([+-]?)({_DEC})\)?")
_FRAC = re.compile(rf"([+-]?)\\frac\{{([+-]?)({_DEC})\}}\{{([+-]?)({_DEC})\}}")
_MIXED = re.compile(
    rf"([+-]?)({_INT})(?: ?\\frac\{{({_INT})\}}\{{({_INT})\}}| ({_INT})/({_INT})|\+({_INT})/({_INT}))"
)
_SCIENTIFIC = re.compile(rf"([+-]?{_DEC})(?:\\times|\\cdot|\*)?10\^(?:\{{([+-]?\d+)\}}|(\d))")
_POWER_OF_TEN = re.compile(r"([+-]?)10\^(?:\{([+-]?\d+)\}|(\d))")
_E_NOTATION = re.compile(rf"([+-]?{_DEC})[eE]([+-]?\d+)")
_BASED = re.compile(r"(\d+)_(?:(\d{1,2})|\{(\d{1,2})\})")
_POWER = re.compile(r"(\d+)\^(?:\{(\d+)\}|(\d))")

_PERCENT = re.compile(r"\s*(?:\\text\{\s*)?(?:%|\bper ?cent(?:age)?\b|\bpct\b)\.?\s*\}?$", re.IGNORECASE)
_CURRENCY = re.compile(r"\\text\{(?:USD|EUR|dollars?)\}|[$€£¥]")
_DEGREES = re.compile(r"\^\\circ\s*(?:\\text\{[CF]\}|[CF])?$")
_ORDINAL = re.compile(r"(\d+)\s*(?:\^?\{?\s*\\text\{\s*|\^\{?|)(?:st|nd|rd|th)\}{0,2}[a-z ]*\}?$")
_ABOUT = re.compile(r"\s*\(?\s*approx(?:imately|\.)?\s*\)?$")
_UNIT_TEXT = re.compile(r"\s*\\text\{[^{}]*\}\s*(?:\^\{?\d\}?)?$")
_NUMBER_BEFORE = re.compile(r"[+-]?(?:[\d.,]*\d(?:\s*/\s*\d+)?|[\d ]*\\frac\{\d+\}\{\d+\})")
_UNIT_WORDS = re.compile(r"(?: [A-Za-z]{2,}\.?)+(?:\^\{?\d\}?)?$")
_UNIT_LONG = re.compile(r"(?<![A-Za-z\\])[a-z]{4,}$")
_UNIT_GLUED = re.compile(
    r"(?:[kcm]m|[km]g|m[lL]|ft|lbs?|oz|yd|mi|mph|hrs?|mins?|secs?|hours?|minutes?|seconds?|days?"
    r"|years?|meters?|miles?|inches|feet|cents?|dollars?|degrees?)\.?(?:\^\{?\d\}?)?$"
)
_MATH_WORDS = re.compile(r"\b(?:pi|sqrt|sin|cos|tan|cot|sec|csc|log|ln|exp|mod|infty|inf|times|plus|minus)\b")


@dataclass(frozen=True)
class Number:
    """An exact number: its value, how it was written, and whether a percent sign followed.

    ``terms`` is the fraction as written, "2/4", and the empty string for anything else; of a
    number with a ``base`` (204_5), ``value`` is what the digits would be in base ten.
    """

    value: Fraction
    written: Written
    terms: str = ""
    percent: bool = False
    base: int = 0

    @property
    def meant(self) -> Fraction:
        """The value in its base."""
        return Fraction(int(str(self.value), self.base)) if self.base else self.value


def number(text: str, grader: Settings) -> Number | None:
    """The number that all of a cleaned text is, None if it is none or one can't be sure."""
    if not text or len(text) > MOST_DIGITS or not any(map(str.isdigit, text)) or not text.isascii():
        return None
    if percent := _PERCENT.search(text):
        text = text[: percent.start()].rstrip()
    if grader.units == "ignored":
        text = _CURRENCY.sub("", text).strip()
    found = _mixed(text) if grader.mixed == "mixed" else None
    if found is None and (_SPACED_THOUSANDS.fullmatch(text) or not re.search(r"\d \d|, | ,", text)):
        found = _simple(text.replace(" ", ""), grader)
    if found is not None and percent:
        return replace(found, percent=True)
    return found


def without_units(text: str) -> str:
    """The cleaned text without units, ordinals, degrees and currency; words alone stay."""
    text = _CURRENCY.sub("", text).strip()
    if (ordinal := _ORDINAL.match(text)) and ordinal.end() == len(text):
        return ordinal[1]
    text = _ABOUT.sub("", text)
    for pattern in (_DEGREES, _UNIT_TEXT):
        if (found := pattern.search(text)) and _quantity(text[: found.start()]):
            text = text[: found.start()].rstrip()
    before = _NUMBER_BEFORE.match(text)
    if before and _UNIT_GLUED.fullmatch(text[before.end() :].lstrip()):
        return before[0]
    for pattern in (_UNIT_WORDS, _UNIT_LONG):
        found = pattern.search(text)
        if found and _quantity(text[: found.start()]) and not _MATH_WORDS.search(found[0]):
            return text[: found.start()].rstrip()
    return text


def _quantity(text: str) -> bool:
    """Whether a unit may follow: something that is not itself words and does not end in a sign."""
    bare = text.strip()
    if not bare or bare[-1] in "+-*/^_=(,<>" or bare.endswith((r"\in", r"\cdot", r"\times")):
        return False
    return len(bare) == 1 or any(map(str.isdigit, bare)) or ("\\" in bare and r"\text" not in bare)


def _mixed(text: str) -> Number | None:
    r"""``1\frac{1}{2}``, ``1 1/2``."""
    match = _MIXED.fullmatch(text)
    if match is None:
        return None
    terms = [group for group in match.groups()[2:] if group is not None]
    if "+" in text[1:] or int(terms[1]) == 0:
        return None
    value = int(match[2]) + Fraction(int(terms[0]), int(terms[1]))
    return Number(-value if match[1] == "-" else value, "other")


def _based(digits: str, base: str) -> Number | None:
    """A number with its base, None if it has no such digits."""
    if not 2 <= int(base) <= 10 or int(max(digits)) >= int(base):
        return None
    return Number(Fraction(int(digits)), "other", base=int(base))


def _simple(text: str, grader: Settings) -> Number | None:
    """A number written without spaces."""
    if (match := _BASED.fullmatch(text)) and grader.spelling == "mull":
        return _based(match[1], next(filter(None, match.groups()[1:])))
    if _PLAIN.fullmatch(text):
        return _plain(text)
    if _THOUSANDS.fullmatch(text):
        return _plain(text.replace(",", ""))
    if grader.comma == "decimal" and _DECIMAL_COMMA.fullmatch(text):
        return _plain(text.replace(",", "."))
    if match := _FRAC.fullmatch(text):
        return _quotient(match[1] + match[2] + match[4], match[3], match[5])
    if match := _SLASH.fullmatch(text):
        return _quotient(match[1] + match[3], match[2], match[4])
    if match := _SCIENTIFIC.fullmatch(text) or _E_NOTATION.fullmatch(text):
        exponent = next(group for group in match.groups()[1:] if group is not None)
        return _scaled(Fraction(match[1]), exponent)
    if match := _POWER_OF_TEN.fullmatch(text):
        return _scaled(Fraction(-1 if match[1] == "-" else 1), match[2] or match[3])
    if match := _POWER.fullmatch(text):
        base, exponent = int(match[1]), int(match[2] or match[3])
        if base.bit_length() * exponent <= 3 * MOST_DIGITS:
            return Number(Fraction(base**exponent), "other")
    return None


def _plain(text: str) -> Number:
    return Number(Fraction(text), "decimal" if "." in text else "integer")


def _quotient(signs: str, above: str, below: str) -> Number | None:
    """A fraction of two plain numbers, None if it divides by zero."""
    denominator = Fraction(below)
    if denominator == 0:
        return None
    value = Fraction(above) / denominator
    negative = signs.count("-") % 2 == 1
    return Number(-value if negative else value, "fraction", f"{'-' * negative}{above}/{below}")


def _scaled(value: Fraction, exponent: str) -> Number | None:
    """The value times ten to a power that is not too large."""
    if len(exponent) > 4 or abs(int(exponent)) > MOST_DIGITS:
        return None
    return Number(value * Fraction(10) ** int(exponent), "other")
