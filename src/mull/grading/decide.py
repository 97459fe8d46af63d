r"""Are two forms equal: yes, no, or not to be decided without knowing mathematics.

Three-valued and symmetric. What is undecided are pairs of expressions; ``compare`` asks
``ask`` about those it needs, or answers None where there is none to ask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

from mull.grading.form import Expression, Form, Items, Word, key
from mull.grading.quantity import MOST_DIGITS, Number
from mull.grading.settings import Settings
from mull.grading.strings import evaluable

#: Whether two expressions, as LaTeX, are equal.
Ask = Callable[[str, str], bool]

#: Longer lists are compared in order.
LONGEST_FREE = 60

_IRRATIONAL = {"e", "pi", "E"}
_UNBOUNDED = {r"\infty", r"+\infty", r"-\infty"}
_COMMAND = re.compile(r"\\[A-Za-z]+|sqrt|frac")
_MATRIX = re.compile(r"\\begin|&")


def compare(a: Form, b: Form, grader: Settings, ask: Ask | None = None) -> bool | None:
    """Whether the forms are equal under the grader's policy; None if undecided with none to ask."""
    if key(a, grader) == key(b, grader):
        return True
    if isinstance(a, Items) and isinstance(b, Items):
        return _items(a, b, grader, ask)
    if isinstance(a, Number) and isinstance(b, Number):
        return _numbers(a, b, grader)
    if isinstance(a, Word) and isinstance(b, Word):
        return _words(a, b, grader, ask)
    if grader.integers == "literal" and _whole(a) != _whole(b):
        return False
    if isinstance(a, Items) or isinstance(b, Items):
        items, other = (a, b) if isinstance(a, Items) else (b, a)
        assert isinstance(items, Items)
        if isinstance(other, (Number, Word)) or grader.brackets == "literal":
            return False
    if isinstance(a, Number) or isinstance(b, Number):
        plain, other = (a, b) if isinstance(a, Number) else (b, a)
        assert isinstance(plain, Number)
        if _never_a_number(other, plain):
            return False
    if grader.reach != "symbolic" or _empty(a) or _empty(b):
        return False
    left, right = _latex(a, b), _latex(b, a)
    if not _may_ask(left + right, grader):
        return False
    return None if ask is None else ask(left, right)


def _may_ask(text: str, grader: Settings) -> bool:
    """Whether the grader compares such expressions symbolically at all."""
    if grader.letters is None:
        return True
    bare = _COMMAND.sub("", text)
    if len({sign for sign in bare if sign.isalpha()}) > grader.letters:
        return False
    return grader.spelling != "prm800k" or evaluable(text)


def _numbers(a: Number, b: Number, grader: Settings) -> bool:
    """Two numbers: percent signs, tolerance, then how they are written."""
    if a.base or b.base:
        digits = grader.bases == "digits" and not (a.base and b.base)
        return a.value == b.value if digits else a.meant == b.meant
    left, right = [a.value], [b.value]
    if grader.percent == "kept" and a.percent != b.percent:
        return False
    if grader.percent in ("value", "either"):
        keep = grader.percent == "either"
        left = ([a.value] if keep else []) + [a.value / 100] if a.percent else left
        right = ([b.value] if keep else []) + [b.value / 100] if b.percent else right
    if a.written == b.written == "fraction" and grader.fractions == "literal" and a.terms != b.terms:
        return False
    if grader.integers == "literal" and _whole(a) != _whole(b):
        return False
    decimal = "decimal" in (a.written, b.written)
    return any(_close(x, y, decimal, grader) for x in left for y in right)


def _close(x: Fraction, y: Fraction, decimal: bool, grader: Settings) -> bool:
    """Equal, or equal within the tolerance."""
    if x == y or not decimal:
        return x == y
    if abs(x - y) <= Fraction(grader.relative) * max(abs(x), abs(y)):
        return True
    return grader.decimals is not None and round(x, grader.decimals) == round(y, grader.decimals)


def _words(a: Word, b: Word, grader: Settings, ask: Ask | None) -> bool | None:
    """Two words; different only if no product of the same letters."""
    if a.text == b.text:
        return True
    if a.letters and b.letters and sorted(a.text) == sorted(b.text) and len(a.text) < 4:
        if grader.reach != "symbolic":
            return False
        return None if ask is None else ask(a.text, b.text)
    return grader.variables == "renamed" and a.letters and b.letters and len(a.text) == len(b.text) == 1


def _whole(form: Form) -> bool:
    """Whether a form is written as an integer, perhaps as 4.0."""
    return isinstance(form, Number) and form.written in ("integer", "decimal") and form.value.denominator == 1


def _empty(form: Form) -> bool:
    """Whether an expression says nothing: an ellipsis, a bracket."""
    return isinstance(form, Expression) and not any(sign.isalnum() for sign in form.value)


def _never_a_number(other: Form, number: Number) -> bool:
    """Whether a form that is no number can't have a rational number's value either."""
    if isinstance(other, Word):
        return other.text not in _IRRATIONAL or number.written != "decimal"
    if isinstance(other, Expression):
        return other.key.removeprefix("+") in _UNBOUNDED or bool(_MATRIX.search(other.value))
    return False


def _latex(form: Form, other: Form) -> str:
    """The LaTeX of a form: with what it is assigned to only if the other needs that."""
    if isinstance(form, Expression):
        needed = isinstance(other, Expression) and other.relation
        return form.latex if needed else form.value
    if isinstance(form, Items):
        return form.latex
    if isinstance(form, Word):
        return form.text if form.letters else rf"\text{{{form.text}}}"
    value = form.value
    if form.written == "decimal":
        with localcontext(prec=2 * MOST_DIGITS):
            return format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _items(a: Items, b: Items, grader: Settings, ask: Ask | None) -> bool | None:
    """Two lists: brackets, length, then the items in order or matched one to one.

    Items with names go by them; beside a tuple they are in the order written.
    """
    free = _free(a, grader) and _free(b, grader)
    if not _alike(a, b, grader):
        return False
    if a.names and b.names and set(a.names) == set(b.names):
        a, b, free = _by_name(a), _by_name(b), False
    if free:
        a, b = _distinct(a, grader), _distinct(b, grader)
    if len(a.items) != len(b.items):
        return False
    if not free or len(a.items) > LONGEST_FREE:
        return _in_order(a.items, b.items, grader, ask)
    return _matched(a.items, b.items, grader, ask)


def _free(items: Items, grader: Settings) -> bool:
    return items.opening == r"\{" or (items.opening == "" and grader.order == "free")


def _alike(a: Items, b: Items, grader: Settings) -> bool:
    """Whether the brackets allow equality."""
    if (a.opening, a.closing) == (b.opening, b.closing):
        return True
    if grader.brackets == "literal":
        return False
    kinds = {a.opening, b.opening}
    if kinds <= {"", r"\{"}:
        return True
    named = next((items for items in (a, b) if items.names), None)
    loose = grader.brackets == "loose" or named is not None
    return loose and {"(", ")"} <= {a.opening, a.closing, b.opening, b.closing} and bool(kinds & {"", r"\{"})


def _distinct(items: Items, grader: Settings) -> Items:
    """A set's items without those that are there already."""
    return replace(items, items=tuple({key(item, grader): item for item in items.items}.values()))


def _by_name(items: Items) -> Items:
    order = sorted(range(len(items.names)), key=lambda at: items.names[at])
    return replace(items, items=tuple(items.items[at] for at in order))


def _in_order(
    left: tuple[Form, ...], right: tuple[Form, ...], grader: Settings, ask: Ask | None
) -> bool | None:
    """Item by item; what is free to decide is decided first."""
    found = [compare(a, b, grader) for a, b in zip(left, right, strict=True)]
    if False in found:
        return False
    if None not in found:
        return True
    if ask is None:
        return None
    rest = [(a, b) for a, b, known in zip(left, right, found, strict=True) if known is None]
    return all(compare(a, b, grader, ask) for a, b in rest)


def _matched(
    left: tuple[Form, ...], right: tuple[Form, ...], grader: Settings, ask: Ask | None
) -> bool | None:
    """Whether the items can be paired off; a perfect matching in a bipartite graph."""
    known = [[compare(a, b, grader) for b in right] for a in left]
    if _pairs_off([[cell is True for cell in row] for row in known]):
        return True
    if not _pairs_off([[cell is not False for cell in row] for row in known]):
        return False
    if ask is None:
        return None
    asked = [
        [
            compare(a, b, grader, ask) is True if cell is None else cell
            for b, cell in zip(right, row, strict=True)
        ]
        for a, row in zip(left, known, strict=True)
    ]
    return _pairs_off(asked)


def _pairs_off(allowed: list[list[bool]]) -> bool:
    """Whether every row gets a column of its own (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, may in enumerate(allowed[row]):
            if may and column not in seen:
                seen.add(column)
                if column not in taken or place(taken[column], seen):
                    taken[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(allowed)))
