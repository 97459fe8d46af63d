"""Pretraining against test-time compute: a larger model's one answer, or a small one's policy?

Follows section 7 of Snell et al. 2024. Pretraining a model of N parameters takes X = 6 N D_pre
FLOPs, answering takes Y = c N D_inf. A model M times as large, on the same data, costs M
times both; the small one may spend the difference on each request instead. Curves and
accuracies come in measured; this module only compares them. It never reads a curve
beyond the budgets it was measured at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mull.cost import paper_flops
from mull.errors import MullError
from mull.policy_ratio import Curve
from mull.study import bootstrap

Floats = NDArray[np.float64]
#: Who is ahead; "undecided" where the interval of the difference includes zero.
Ahead = Literal["small", "large", "undecided"]
#: FLOPs of pretraining, a parameter and a token.
PRETRAINING = 6.0
#: Decimals beyond which two accuracies are the same.
DECIMALS = 12
#: A budget counts as measured if it is beyond the last one by rounding alone.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Convention:
    """Inference FLOPs a parameter and a token, of the larger model and of the small one.

    ``printed``: the paper's three R = D_inf / D_pre, smallest first, as its text has them.
    """

    name: str
    large: float
    small: float
    printed: tuple[str, str, str]


_V1, _ICLR = (paper_flops(1, 1, convention=name) for name in ("v1", "iclr"))
#: v1 leaves the verifier out; ICLR doubles both models' inference for it, although the larger one
#: answers greedily; "sensitivity" charges it to the small model alone.
CONVENTIONS = {
    "v1": Convention("v1", _V1, _V1, ("0.16", "0.79", "22")),
    "iclr": Convention("iclr", _ICLR, _ICLR, ("0.08", "0.40", "11")),
    "sensitivity": Convention("sensitivity", _V1, _ICLR, ("0.08", "0.40", "11")),
}
#: The budgets (samples) that the paper's three R stand for, in their order.
PAPER_BUDGETS = (256.0, 64.0, 16.0)


def multiplier(size: float, r: float, convention: str = "v1") -> float:
    """The factor on the small model's inference that makes total FLOPs equal (the paper's section 7).

    ``size`` is M, the larger model's parameters over the small one's; ``r`` is D_inf / D_pre. In
    general M c_L/c_S + 6 (M - 1) / (c_S R): M + 3 (M - 1) / R in v1, M + 1.5 (M - 1) / R in ICLR.
    """
    found = _convention(convention)
    _larger(size)
    if not 0 < r < math.inf:
        raise MullError(f"R = D_inf / D_pre must be above 0 and finite, not {r:g}")
    return size * found.large / found.small + PRETRAINING * (size - 1) / (found.small * r)


def inference_ratio(size: float, kappa: float, convention: str = "v1") -> float:
    """The R at which the multiplier is ``kappa``: :func:`multiplier`'s inverse.

    ``kappa`` must be above M c_L / c_S, which the multiplier nears as R grows.
    """
    found = _convention(convention)
    _larger(size)
    least = size * found.large / found.small
    if not least < kappa < math.inf:
        raise MullError(f"no R has a multiplier of {kappa:g}: it is always above {least:g} at this size")
    return PRETRAINING * (size - 1) / (found.small * (kappa - least))


def paper_volumes(size: float, convention: str = "v1") -> tuple[float, float, float]:
    """The paper's three R, smallest first.

    They are printed to two digits and stand for budgets of 256, 64 and 16 samples: where the R of
    that budget rounds to the printed one it is used, so that no rounding leaves the measured range.
    """
    found = _convention(convention)
    volumes = []
    for text, kappa in zip(found.printed, PAPER_BUDGETS, strict=True):
        digits = len(text.partition(".")[2])
        reached = kappa > size * found.large / found.small
        exact = inference_ratio(size, kappa, convention) if reached else math.inf
        volumes.append(exact if f"{exact:.{digits}f}" == text else float(text))
    return volumes[0], volumes[1], volumes[2]


@dataclass(frozen=True)
class Model:
    """A model as its training sees it; ``parameters`` and ``tokens`` are counts above 0.

    ``tokens`` are those of pretraining, ``finetuned`` those that came after, 0 or more.
    """

    parameters: float
    tokens: float
    finetuned: float = 0.0

    def __post_init__(self) -> None:
        """Refuse counts that are none."""
        for what, value in (("parameters", self.parameters), ("pretraining tokens", self.tokens)):
            if not 0 < value < math.inf:
                raise MullError(f"a model's {what} must be above 0, not {value:g}")
        if not 0 <= self.finetuned < math.inf:
            raise MullError(f"a model's fine-tuning tokens must be 0 or more, not {self.finetuned:g}")

    @property
    def training(self) -> float:
        """X = 6 N D in FLOPs, fine-tuning included."""
        return PRETRAINING * self.parameters * (self.tokens + self.finetuned)


@dataclass(frozen=True)
class Account:
    """What the larger model costs more, in one unit: once, and at each request.

    ``fixed`` is the larger model's fixed cost less the small one's, ``each`` what one of its
    answers costs, above 0. ``unit`` is "generations", "flops" or "dollars", a request's; ``volume``
    is how requests are counted: "R" (inference over pretraining tokens) or "requests".
    """

    name: str
    unit: str
    volume: Literal["R", "requests"]
    fixed: float
    each: float

    def __post_init__(self) -> None:
        """Refuse costs that are no costs."""
        if not (0 < self.each < math.inf and math.isfinite(self.fixed)):
            raise MullError(
                f"the larger model's cost a request must be above 0 and finite, not {self.each:g}"
            )

    def budget(self, volume: float) -> float:
        """What the small model may spend on each of ``volume`` requests for equal totals; maybe below 0."""
        if not 0 < volume < math.inf:
            raise MullError(f"{self.volume} must be above 0 and finite, not {volume:g}")
        return self.each + self.fixed / volume


def paper_account(size: float, convention: str = "v1") -> Account:
    """The paper's own: equal tokens a question, a request's unit is one sample of the small model.

    ``account.budget(R)`` is :func:`multiplier`.
    """
    found = _convention(convention)
    _larger(size)
    fixed = PRETRAINING * (size - 1) / found.small
    return Account("paper", "generations", "R", fixed, size * found.large / found.small)


def measured_account(small: Model, large: Model, tokens: float, each: float) -> Account:
    """With the FLOPs that were really spent, X = 6 N (D + F) of either, F its fine-tuning tokens.

    ``tokens``: those of one sample of the small model, by which R = requests x tokens / D_S counts,
    D_S without fine-tuning. ``each``: FLOPs of one answer of the larger model, attention and prompt
    included if the small model's curve includes them.
    """
    _larger(large.parameters / small.parameters)
    if not 0 < tokens < math.inf:
        raise MullError(f"an answer's tokens must be above 0, not {tokens:g}")
    fixed = (large.training - small.training) * tokens / small.tokens
    return Account("measured", "flops", "R", fixed, each)


def requests_of(r: float, small: Model, tokens: float) -> float:
    """The requests that R stands for, at ``tokens`` an answer of the small model."""
    return r * small.tokens / tokens


def relative_improvement(line: float, star: float) -> float | None:
    """100 (line - star) / star, in %; None where the larger model (the star) solves nothing (Fig. 1)."""
    return 100 * (line - star) / star if star > 0 else None


@dataclass(frozen=True)
class Comparison:
    """The small model against the larger one at equal total cost.

    ``budget`` is a request's; ``small`` is None where it was not measured, and ``note`` says why. Beyond
    the measured budgets ``at_least`` is its accuracy at the largest, since a policy may spend less than it
    may; ``ahead`` is then "small" or None.
    ``relative`` is in %, ``difference`` in [-1, 1], each with a 95 % interval, None without problems;
    an end of ``relative_ci95`` is None where it is unbounded.
    """

    volume: float
    budget: float
    small: float | None
    large: float
    relative: float | None = None
    relative_ci95: tuple[float | None, float | None] | None = None
    difference: float | None = None
    difference_ci95: tuple[float, float] | None = None
    ahead: Ahead | None = None
    note: str = ""
    at_least: float | None = None


def compare(
    curve: Curve,
    star: float | Floats,
    account: Account,
    volumes: Sequence[float],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Read the small model's curve where totals are equal, and set it against the larger model.

    ``curve``: accuracy against cost in the account's unit, a row a problem; with a single row it is
    means alone, and there are no intervals. ``star``: the larger model's accuracy, a mean (then
    taken as exact) or [P], paired with the curve's problems. Between measured budgets the
    accuracy is linear in log budget.
    """
    shares = draws_of(curve, draws, seed)
    cost, accuracy = curve.means(shares)
    budgets = np.asarray([account.budget(volume) for volume in volumes])
    lines, larger = read(cost, accuracy, budgets), stars(star, curve, shares)
    found = []
    for v, (volume, budget) in enumerate(zip(volumes, budgets.tolist(), strict=True)):
        note = _outside(cost[0], budget)
        if not note:
            found.append(_compared(volume, budget, lines[:, v], larger))
        elif budget > cost[0].max():
            most = _compared(volume, budget, accuracy[:, int(cost[0].argmax())], larger)
            won: Ahead | None = "small" if most.ahead == "small" else None
            found.append(
                Comparison(volume, budget, None, most.large, ahead=won, note=note, at_least=most.small)
            )
        else:
            found.append(Comparison(volume, budget, None, float(larger[0]), note=note))
    return tuple(found)


def read(cost: Floats, accuracy: Floats, budgets: Floats) -> Floats:
    """Accuracy [B, V] of B curves (``cost``, ``accuracy`` [B, N]) at V ``budgets``, linear in log budget.

    Outside a curve's range it is the nearest end's; :func:`compare` does not ask there.
    """
    asked = np.log2(np.maximum(budgets, np.finfo(np.float64).tiny))
    order = np.argsort(cost, axis=1, kind="stable")
    xs = np.log2(np.take_along_axis(cost, order, axis=1))
    ys = np.take_along_axis(accuracy, order, axis=1)
    return np.asarray([np.interp(asked, x, y) for x, y in zip(xs, ys, strict=True)])


def draws_of(curve: Curve, draws: int, seed: int) -> Floats:
    """Shares [1 + B, P]: all problems alike, then B bootstrap draws; no draws for a curve of means."""
    problems = len(curve.accuracy)
    whole = np.full((1, problems), 1 / problems)
    if problems == 1 or draws == 0:
        return whole
    return np.concatenate([whole, bootstrap.weights(problems, draws, seed=seed)])


def stars(star: float | Floats, curve: Curve, shares: Floats) -> Floats:
    """The larger model's accuracy in each draw, [1 + B]."""
    values = np.asarray(star, np.float64)
    if values.shape not in ((), curve.accuracy.shape[:1]):
        raise MullError(f"{len(curve.accuracy)} problems need as many accuracies, not {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise MullError("the larger model's accuracy must be in [0, 1]")
    return np.asarray(shares @ np.broadcast_to(values, curve.accuracy.shape[:1]))


def _compared(volume: float, budget: float, lines: Floats, larger: Floats) -> Comparison:
    """A comparison from accuracies in each draw, [1 + B] both."""
    lines, larger = lines.round(DECIMALS), larger.round(DECIMALS)  # rounding errors decide nothing
    gap = lines - larger
    line, star = float(lines[0]), float(larger[0])
    relative = relative_improvement(line, star)
    ends = spread = None
    low = high = float(gap[0])
    if len(gap) > 1:
        # Outwards to a draw, as the relative improvement's ends are: so the two agree on the sign.
        low = float(np.percentile(gap[1:], 2.5, method="lower"))
        high = float(np.percentile(gap[1:], 97.5, method="higher"))
        ends = (low, high)
        spread = _relative_ends(gap[1:], larger[1:]) if relative is not None else None
    ahead: Ahead = "small" if low > 0 else "large" if high < 0 else "undecided"
    note = "" if relative is not None else "the larger model solves nothing here"
    return Comparison(volume, budget, line, star, relative, spread, float(gap[0]), ends, ahead, note)


def _relative_ends(gap: Floats, larger: Floats) -> tuple[float | None, float | None]:
    """The 95 % interval of the relative improvement; unbounded in draws where the larger solves nothing."""
    zero = larger <= 0
    ratio = 100 * gap / np.where(zero, 1.0, larger)
    ordered = np.sort(np.where(zero, np.where(gap > 0, np.inf, 0.0), ratio))
    last = len(ordered) - 1
    ends = (ordered[math.floor(0.025 * last)], ordered[math.ceil(0.975 * last)])
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return low, high


def _outside(cost: Floats, budget: float) -> str:
    """Why a curve [N] was not measured at ``budget``; empty if it was."""
    if budget <= 0:
        return "nothing is left: the small model's fixed cost alone is above the larger one's total"
    if budget < cost.min() * (1 - ROUNDING):
        return f"below the measured budgets: the smallest is {cost.min():.4g}"
    if budget > cost.max() * (1 + ROUNDING):
        return f"beyond the measured budgets: the largest is {cost.max():.4g}"
    return ""


def _convention(name: str) -> Convention:
    if name not in CONVENTIONS:
        raise MullError(f"there is no convention {name!r}; choose one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def _larger(size: float) -> None:
    if not 1 < size < math.inf:
        raise MullError(
            f"the larger model must be larger: it has {size:.4g} times the small one's parameters"
        )
