"""Where the small model and the larger one break even, over volumes; and prices instead of FLOPs.

Any cost that is "so much once, so much a request" is one :class:`~mull.exchange.Account`:
the paper's FLOPs, measured FLOPs, or money. The module answers for a curve and an
account; it never guesses a price, and never says that an accuracy is reached that was
not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mull.errors import MullError
from mull.exchange import Account, Comparison, Floats, compare, draws_of, stars
from mull.policy_ratio import Curve, cost_at

#: Where the small model is the better buy. "never": it does not reach the larger one's accuracy within
#: the measured budgets; "nowhere": it does, but costs more at every volume.
Where = Literal["everywhere", "below", "above", "nowhere", "never"]
#: Tokens that a price is for.
PER = 1e6
#: Volumes of a break-even curve, and the decades on each side of its pivot.
POINTS, DECADES = 41, 2.0


@dataclass(frozen=True)
class BreakEven:
    """The budget at which the small model has the larger one's accuracy, and the volume of equal totals.

    ``budget`` is its least cost a request there, None if no measured budget reaches it
    (``best`` is the highest accuracy that one does); ``ratio`` is that over one answer of the larger
    model. ``budget_ci95``: over problems, an end None where the accuracy is not reached; ``reached`` the
    share of draws that reach it; both None for a curve of means. ``volume`` is None unless
    ``where`` is "below" or "above" it.
    """

    target: float
    best: float
    budget: float | None
    ratio: float | None
    budget_ci95: tuple[float | None, float | None] | None
    reached: float | None
    where: Where
    volume: float | None


def break_even(
    curve: Curve, star: float | Floats, account: Account, *, draws: int = 1000, seed: int = 0
) -> BreakEven:
    """Where ``curve`` first has the accuracy ``star`` and at which volume it is the better buy.

    Arguments as for :func:`mull.exchange.compare`. Between budgets the best accuracy so far is
    linear in log budget; an accuracy below the curve's first point is reached at its cost, since
    nothing cheaper was measured. Accuracy at a break-even is equal, so the better buy is the cheaper.
    """
    shares = draws_of(curve, draws, seed)
    cost, accuracy = curve.means(shares)
    larger = stars(star, curve, shares)
    spent = np.asarray([cost_at(*row) for row in zip(cost, accuracy, larger, strict=True)])
    ends: tuple[float | None, float | None] | None = None
    reached = None
    if len(spent) > 1:
        ordered = np.sort(spent[1:])
        last = len(ordered) - 1
        low, high = ordered[math.floor(0.025 * last)], ordered[math.ceil(0.975 * last)]
        ends = (_finite(low), _finite(high))
        reached = float(np.isfinite(ordered).mean())
    budget = _finite(spent[0])
    where, volume = _where(account, budget)
    ratio = None if budget is None else budget / account.each
    return BreakEven(float(larger[0]), float(accuracy[0].max()), budget, ratio, ends, reached, where, volume)


def break_even_curve(
    curve: Curve, star: float | Floats, account: Account, volumes: Sequence[float] | None = None
) -> tuple[Comparison, ...]:
    """The comparison at ``volumes``, by default :func:`volumes_around` the pivot; without intervals."""
    return compare(curve, star, account, volumes_around(account) if volumes is None else volumes, draws=0)


def volumes_around(account: Account, points: int = POINTS) -> tuple[float, ...]:
    """``points`` volumes over four decades, at equal steps of the logarithm.

    The middle is a power of ten near the volume at which the larger model's fixed cost equals what it
    spends on answers. Empty where there is no fixed cost: no volume matters then.
    """
    if account.fixed == 0:
        return ()
    pivot = round(math.log10(abs(account.fixed) / account.each))
    return tuple(float(v) for v in np.logspace(pivot - DECADES, pivot + DECADES, points))


def _where(account: Account, budget: float | None) -> tuple[Where, float | None]:
    """For which volumes the small model at ``budget`` costs less in all."""
    if budget is None:
        return "never", None
    more, fixed = budget - account.each, account.fixed
    if more <= 0 and fixed >= 0:
        return "everywhere", None
    if more >= 0 and fixed <= 0:
        return "nowhere", None
    return ("below" if more > 0 else "above"), fixed / more


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens: read, written, and read from the provider's cache."""

    input: float
    output: float = 0.0
    cached: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        listed = [self.input, self.output, self.read_again]
        if not all(0 <= value < math.inf for value in listed) or not any(listed):
            raise MullError(f"a price is dollars for a million tokens, above 0; got {listed}")

    @property
    def read_again(self) -> float:
        """The price of a cached input token: that of any input token unless there is another."""
        return self.input if self.cached is None else self.cached


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a request, in numbers or arrays of one shape; ``input`` without those that are ``cached``.

    ``verifier``: those that the verifier reads.
    """

    input: Floats | float
    output: Floats | float
    cached: Floats | float = 0.0
    verifier: Floats | float = 0.0


def bill(tokens: Tokens, price: Price, verifier: Price | None = None) -> Floats:
    """What requests cost, in dollars, of the shape of ``tokens``; without a verifier's price it is free.

    mull's verifiers write nothing, so their price's output part counts for nothing.
    """
    total = np.asarray(tokens.input) * price.input + np.asarray(tokens.output) * price.output
    total = total + np.asarray(tokens.cached) * price.read_again
    if verifier is not None:
        total = total + np.asarray(tokens.verifier) * verifier.input
    return np.asarray(total / PER, np.float64)


def price_account(each: float, *, small_fixed: float = 0.0, large_fixed: float = 0.0) -> Account:
    """Money: ``each`` dollars for an answer of the larger model, fixed costs for the period of the volume."""
    for value in (small_fixed, large_fixed):
        if not 0 <= value < math.inf:
            raise MullError(f"a fixed cost must be 0 dollars or more, not {value:g}")
    return Account("prices", "dollars", "requests", large_fixed - small_fixed, each)
