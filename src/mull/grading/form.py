r"""The normal form of an answer: a number, a word, a list of forms, or an expression left as it is.

``read`` takes a text to its form under a grader's settings. A form keeps what the settings
may ask about (how a number was written, a list's brackets) and drops what is only typography.
``key`` is equal for forms that are equal beyond doubt. Expressions are never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache

from mull.grading.latex import CLOSERS, OPENERS, bracketed, clean, split, squeezed
from mull.grading.quantity import Number, number, without_units
from mull.grading.settings import Settings
from mull.grading.strings import hendrycks, prm800k

DEEPEST = 20  # brackets in brackets; what is deeper is an expression

_NAME = (
    r"(?:\\(?!frac|sqrt|text|sum|int|log|ln|sin|cos|tan|pm|cup|cap)[A-Za-z]+ ?(?:[A-Z]{1,4})?"
    r"|[A-Za-z]|[A-Z]{2,4})'*(?:_(?:\w|\{[^{}]*\}))?"
)
#: Segments, areas and values of functions at numbers, and their sums: AB^2 + CD^2, f(1) + f(2).
_MEASURE = r"(?:[A-Z]{2,4}|\|[A-Z]{2,4}\||\[[A-Z]{2,5}\]|[A-Za-z]\([-\d., ]+\))(?:\^\w)?"
#: What a value may be assigned to.
_TARGET = re.compile(
    rf"{_NAME}(?:\([^()=]{{0,40}}\))?|\({_NAME}(?:, ?{_NAME})*\)|\|{_NAME}\|"
    rf"|{_MEASURE}(?: ?[-+/:] ?{_MEASURE})*"
    r"|(?:\\text\{[^{}]*\}|[A-Za-z][a-z ]{3,40})(?:_(?:\w|\{[^{}]*\}))?(?:\([^()=]{0,40}\))?"
)
_VARIABLE = re.compile(_NAME)
_IN = re.compile(rf"(?:{_TARGET.pattern}) ?\\in ?(.+)", re.DOTALL)
_RELATION = re.compile(r"<=|>=|<|>|\\le(?![a-z])|\\ge(?![a-z])")
_ANY_RELATION = re.compile(r"[=<>&]|\\(?:le|ge|ne|in|to|equiv|sim|subset|pm|mp|cup|cap|text|begin)(?![a-z])")
_EQUALS = re.compile(r"(?<![<>!=\\])=(?!=)")
_JOINER = re.compile(
    r"\s*,?\s*(?:\\text\{,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))\s*", re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z][A-Za-z '\-]*")
_LETTER, _COMMAND, _BRACES = re.compile("[A-Za-z]"), re.compile(r"\\[A-Za-z]+"), re.compile(r"\{[^{}]*\}")
_CONSTANTS = {"e", "i", "pi"}


@dataclass(frozen=True)
class Word:
    """Letters: a name, a choice, a sentence. ``letters`` is set where it may be a product of letters."""

    text: str
    letters: bool


@dataclass(frozen=True)
class Items:
    """Several answers, a tuple, a set or an interval. Brackets are "" for a bare list.

    ``names`` are what the items were assigned to (``x = 1, y = 2``), empty if nothing.
    """

    opening: str
    closing: str
    items: tuple[Form, ...]
    names: tuple[str, ...] = ()
    latex: str = ""


@dataclass(frozen=True)
class Expression:
    """Anything else: ``value`` without what it is assigned to, ``latex`` with it."""

    value: str
    latex: str
    key: str

    @property
    def relation(self) -> bool:
        """Whether it states something (an equation, an inequality) rather than naming a value."""
        return bool(_EQUALS.search(self.value) or _RELATION.search(self.value))


Form = Number | Word | Items | Expression


@lru_cache(maxsize=8192)
def read(text: str, grader: Settings) -> Form:
    """The form of an answer that is no longer than ``grader.longest``."""
    return _whole(spelled(text, grader), grader, 0)


def spelled(text: str, grader: Settings) -> str:
    """The text under the grader's rules of spelling: equal strings are equal answers."""
    if grader.spelling == "verbatim" or grader.reads == "text" or len(text) > grader.longest:
        return " ".join(text.split())
    if grader.spelling == "mull":
        return clean(text)
    return hendrycks(text) if grader.spelling == "hendrycks" else prm800k(text)


def key(form: Form, grader: Settings) -> Hashable:
    """Equal for forms that are the same beyond doubt; unequal keys say nothing."""
    if isinstance(form, Number):
        literal = form.terms if grader.fractions == "literal" else ""
        whole = form.written in ("integer", "decimal") and grader.integers == "literal"
        share = form.percent and grader.percent in ("value", "kept", "either")
        return ("number", form.value, literal, whole, share, form.base)
    if isinstance(form, Word):
        return ("word", form.text)
    if isinstance(form, Items):
        return (form.opening, form.closing, form.names, tuple(key(item, grader) for item in form.items))
    return ("expression", form.key)


def _whole(text: str, grader: Settings, depth: int) -> Form:
    """A list, an interval or a single form."""
    text = text.strip()
    if grader.assignments == "unwrapped":
        text = _exact(text)
    joined = _JOINER.sub(", ", text) if grader.spelling == "mull" else text
    if number(joined, grader) is None:
        pieces = _pieces(joined, grader)
        if len(pieces) > 1 and depth < DEEPEST and all(pieces):
            return _items("", "", pieces, text, grader, depth)
    return _single(text, grader, depth)


def _pieces(text: str, grader: Settings) -> list[str]:
    """The items of a list without brackets."""
    if grader.spelling != "mull":
        return split(text, ",")
    pieces = split(text, ";")
    if len(pieces) > 1:
        return pieces
    return split(_thousands(text), ",")


def _thousands(text: str) -> str:
    """The text with "1,000, 2,000" as "1000, 2000": where some commas have spaces, others do not."""
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text) if ", " in text else text


def _items(opening: str, closing: str, pieces: list[str], latex: str, grader: Settings, depth: int) -> Form:
    """A list of what the pieces are."""
    names, forms = [], []
    for piece in pieces:
        name, value = _assignment(piece) if grader.assignments == "unwrapped" else ("", piece)
        names.append(name)
        for one in _both_signs(value) if opening in ("", r"\{") and grader.spelling == "mull" else [value]:
            forms.append(_whole(one, grader, depth + 1))
    named = not opening and all(names) and len(set(names)) == len(names) == len(forms)
    return Items(opening, closing, tuple(forms), tuple(names) if named else (), latex)


def _single(text: str, grader: Settings, depth: int) -> Form:
    """A form that is not a bare list."""
    latex = text
    if grader.assignments == "unwrapped":
        text = _assignment(text)[1]
    if grader.relations == "sets":
        text = _interval(text)
    if (found := number(text, grader)) is not None:
        return found
    if grader.units == "ignored":
        text = without_units(text)
        if (found := number(text, grader)) is not None:
            return found
    if grader.spelling == "mull" and len(both := _both_signs(text)) > 1 and depth < DEEPEST:
        return Items("", "", tuple(_single(one, grader, depth + 1) for one in both), (), latex)
    if depth < DEEPEST and (parts := bracketed(text)) is not None:
        opening, inner, closing = parts
        pieces = _pieces(inner, grader)
        if len(pieces) > 1 and all(pieces):
            return _items(opening, closing, pieces, latex, grader, depth)
        if (opening, closing) == ("(", ")") and grader.brackets != "literal" and inner:
            return _single(inner, grader, depth + 1)
        if opening == r"\{" and inner:
            inside = _whole(inner, grader, depth + 1)
            if isinstance(inside, Items) and not inside.opening:
                return replace(inside, opening=opening, closing=closing, latex=latex)
            return inside
    return _word(text, grader) or Expression(text, latex, _sorted_terms(text, grader))


def _word(text: str, grader: Settings) -> Word | None:
    """The word a text is, None if it is none."""
    inner = text
    if text.startswith(r"\text{") and text.endswith("}"):
        inner = text[6:-1]
    if not _WORD.fullmatch(inner):
        return None
    inner = inner.strip()
    fold = grader.case == "folded" and len(inner) > 1
    return Word(inner.casefold() if fold else inner, inner == text and " " not in inner)


def _exact(text: str) -> str:
    r"""What stands before ``\approx`` unless it is a name for what stands after."""
    before, sign, after = text.partition(r"\approx")
    if not sign:
        return text
    return after.strip() if _TARGET.fullmatch(before.strip()) else before.strip()


def _assignment(text: str) -> tuple[str, str]:
    """The name and the value of ``name = value`` or ``name = ... = value``; "" and the text if none.

    The first side may also be a calculation without unknowns, ``2 + 3 = 5``.
    """
    if "=" not in text:
        return "", text
    parts = split(text, "=")
    if len(parts) < 2 or not all(parts) or any(part[-1] in "<>!\\:" for part in parts[:-1]):
        return "", text
    if not _TARGET.fullmatch(parts[0]) and _LETTER.search(_COMMAND.sub("", parts[0] + parts[-1])):
        return "", text
    if any(len(split(part, ",")) > 1 for part in parts[1:]) or _RELATION.search(_BRACES.sub("", text)):
        return "", text
    return parts[0], parts[-1]


def _interval(text: str) -> str:
    r"""``2 < x <= 3`` and ``x \in (2, 3]`` as the interval; other texts as they are."""
    if match := _IN.fullmatch(text):
        return match[1].strip()
    signs = [r"\le" if s == "<=" else r"\ge" if s == ">=" else s for s in _RELATION.findall(text)]
    if not 1 <= len(signs) <= 2:
        return text
    parts = [part.strip() for part in _RELATION.split(text)]
    names = [i for i, part in enumerate(parts) if _VARIABLE.fullmatch(part) and part not in _CONSTANTS]
    if len(names) != 1 or not all(parts) or any("=" in part or "," in part for part in parts):
        return text
    if all(sign in (">", r"\ge") for sign in signs):
        signs = ["<" if s == ">" else r"\le" for s in reversed(signs)]
        parts.reverse()
    if not all(sign in ("<", r"\le") for sign in signs):
        return text
    at = next(i for i, part in enumerate(parts) if _VARIABLE.fullmatch(part) and part not in _CONSTANTS)
    if len(parts) == 3 and at != 1:
        return text
    low, opening = (parts[at - 1], signs[at - 1]) if at else (r"-\infty", "<")
    high, closing = (parts[at + 1], signs[at]) if at + 1 < len(parts) else (r"\infty", "<")
    return f"{'(' if opening == '<' else '['}{low}, {high}{')' if closing == '<' else ']'}"


def _both_signs(text: str) -> list[str]:
    r"""``a \pm b`` as its two values, + first."""
    if len(re.findall(r"\\(?:pm|mp)(?![a-z])", text)) != 1:
        return [text]
    plus, minus = (r"+", "-") if r"\pm" in text else ("-", "+")
    both = [re.sub(r"\\(?:pm|mp)(?![a-z]) ?", sign, text) for sign in (plus, minus)]
    return [one.removeprefix("+") for one in both]


def _sorted_terms(text: str, grader: Settings) -> str:
    """The expression squeezed, its terms at the top level in alphabetical order."""
    if grader.spelling != "mull":
        return text
    if _ANY_RELATION.search(text):
        return squeezed(text)
    text = squeezed(text)
    terms, start, depth = [], 0, 0
    for i, sign in enumerate(text):
        if sign in OPENERS:
            depth += 1
        elif sign in CLOSERS:
            depth -= 1
        elif sign in "+-" and depth == 0 and i > start and text[i - 1] not in "^_*/+-":
            terms.append(text[start:i])
            start = i
    terms.append(text[start:])
    return "".join(sorted(term if term[:1] in ("+", "-") else f"+{term}" for term in terms))
