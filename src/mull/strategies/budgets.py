"""Which budgets a strategy can meet, and the error that names them.

Budgets are in generations (the paper's unit). Pure functions: nothing is sampled here,
and a budget is never rounded to the next possible one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count, islice
from math import isqrt

from mull.errors import MullError
from mull.problems import Problem
from mull.strategies.base import BudgetError, Strategy, Value

#: How far from an impossible budget the nearest possible ones are looked for.
_REACH = 1 << 12


def require(what: str, budget: int, fits: Callable[[int], bool]) -> None:
    """Raise :class:`BudgetError` unless ``fits(budget)``; it names the budgets that would do."""
    if fits(budget):
        return
    first = list(islice((b for b in range(1, _REACH) if fits(b)), 6))
    below = next((b for b in range(budget - 1, max(budget - _REACH, 0), -1) if fits(b)), None)
    above = next((b for b in islice(count(max(budget, 0) + 1), _REACH) if fits(b)), None)
    near = " and ".join(str(b) for b in (below, above) if b is not None)
    listed = ", ".join(map(str, first)) + (", ..." if len(first) == 6 else "")
    raise BudgetError(f"{what} cannot spend {budget} generations; allowed: {listed} (nearest: {near})")


def beam_shape(what: str, beams: int, width: int | str) -> tuple[int, int]:
    """(survivors a round, children a survivor) of ``beams`` beams; their product is ``beams``.

    ``width`` is the number of children, or "sqrt" for the root of ``beams``. Only for
    a number of beams that :func:`beams_fit`; raises :class:`MullError` for a bad width.
    """
    check_width(what, width)
    children = isqrt(beams) if isinstance(width, str) else width
    assert beams % children == 0, f"{what}: {beams} beams do not divide by {children}"
    return beams // children, children


def beams_fit(beams: int, width: int | str) -> bool:
    """Whether ``beams`` beams can be searched with this width; one beam always can.

    An integer width must divide the number of beams; for "sqrt" that number is a
    perfect square of at least 4 (Snell et al. 2024, section 5.2).
    """
    if beams == 1:
        return True
    if isinstance(width, str):
        return beams >= 4 and isqrt(beams) ** 2 == beams
    return beams >= width and beams % width == 0


def check_width(what: str, width: int | str) -> None:
    """Raise :class:`MullError` unless ``width`` is "sqrt" or a whole number of at least 1."""
    whole = isinstance(width, int) and not isinstance(width, bool) and width >= 1
    if not (whole or width == "sqrt"):
        raise MullError(f'{what}: width is a whole number from 1 on or "sqrt", not {width!r}')


def check_count(what: str, name: str, value: int, least: int) -> None:
    """Raise :class:`MullError` unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise MullError(f"{what}: {name} is a whole number from {least} on, not {value!r}")


def valid_budgets(
    found: Strategy, params: Mapping[str, Value] | None = None, *, upto: int = 256
) -> tuple[int, ...]:
    """The budgets from 1 to ``upto`` that the strategy accepts with these hyperparameters, ascending."""
    problem = Problem("budget-probe", "?")
    valid = []
    for budget in range(1, upto + 1):
        try:
            found.plan(problem, budget=budget, **(params or {})).close()
        except BudgetError:
            continue
        valid.append(budget)
    return tuple(valid)
