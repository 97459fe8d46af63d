"""How much compute one curve saves over another at equal accuracy, with its uncertainty.

Curves are per-problem accuracies and costs at several budgets; ratios are of compute, so
2 means that the baseline needs twice as much. A ratio that the data do not hold is None
with the reason, never an extrapolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.study import bootstrap

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy [P, N] against cost [P, N], or [N] if it is the same for every problem; one unit, above 0."""

    cost: Floats
    accuracy: Floats

    def __post_init__(self) -> None:
        """Refuse shapes that disagree and costs that have no logarithm."""
        if self.accuracy.ndim != 2 or self.cost.shape not in (self.accuracy.shape, self.accuracy.shape[1:]):
            raise MullError(f"a curve's cost {self.cost.shape} does not fit accuracies {self.accuracy.shape}")
        if not (self.cost > 0).all():
            raise MullError("a curve's costs must be above 0")

    def means(self, shares: Floats) -> tuple[Floats, Floats]:
        """Mean cost and accuracy over problems weighted by ``shares`` [B, P]: two of [B, N]."""
        cost = np.broadcast_to(self.cost, self.accuracy.shape)
        return np.asarray(shares @ cost), np.asarray(shares @ self.accuracy)


@dataclass(frozen=True)
class Ratio:
    """Baseline's over policy's compute at accuracy ``target``, with a 95 % interval over problems.

    ``ratio`` is None with a ``reason`` where one of them never reaches the target. ``high``
    None: unbounded, in over 2.5 % of the draws only the policy gets there; ``low`` is 0 where in as
    many only the baseline does. ``reached`` is the share of draws in which both do.
    """

    target: float
    ratio: float | None
    low: float | None
    high: float | None
    reached: float
    reason: str = ""


def cost_at(cost: Floats, accuracy: Floats, target: float) -> float:
    """The cost at which a curve [N] first reaches ``target``; inf if it never does.

    Between points the accuracy's running maximum is linear in log cost. A target below the first
    point is reached at its cost: nothing cheaper was measured.
    """
    order = np.argsort(cost, kind="stable")
    costs, best = cost[order], np.maximum.accumulate(accuracy[order])
    at = int(np.searchsorted(best, target - 1e-12))
    if at == len(best):
        return float("inf")
    if at == 0 or best[at] <= best[at - 1]:
        return float(costs[at])
    part = min(1.0, max(0.0, (target - best[at - 1]) / (best[at] - best[at - 1])))
    return float(np.exp((1 - part) * np.log(costs[at - 1]) + part * np.log(costs[at])))


def equal_accuracy_ratio(
    baseline: Curve,
    policy: Curve,
    *,
    at: int | None = None,
    target: float | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Ratio:
    """Compute the baseline needs over compute the policy needs, at equal accuracy.

    At the highest accuracy that both reach; with ``at`` at the baseline's accuracy at
    its point ``at`` (an index), with ``target`` at that accuracy. In each paired bootstrap draw over
    problems the curves, and any target read from them, are taken anew.
    """
    problems = len(baseline.accuracy)
    if len(policy.accuracy) != problems:
        raise MullError(f"the curves are over different problems: {problems} and {len(policy.accuracy)}")
    if at is not None and target is not None:
        raise MullError("a ratio is taken at a point of the baseline or at a target, not both")
    if at is not None and not -baseline.accuracy.shape[1] <= at < baseline.accuracy.shape[1]:
        raise MullError(f"the baseline has {baseline.accuracy.shape[1]} points; there is none at {at}")
    whole = np.full((1, problems), 1 / problems)
    shares = np.concatenate([whole, bootstrap.weights(problems, draws, seed=seed)])
    curves = zip(*baseline.means(shares), *policy.means(shares), strict=True)
    found = np.asarray([_both(*curve, at, target) for curve in curves])
    goal, theirs, ours = found[0]
    if np.isinf(theirs) or np.isinf(ours):
        who = "the policy" if np.isinf(ours) else "the baseline"
        return Ratio(float(goal), None, None, None, _reached(found), f"{who} never reaches {goal:.1%}")
    usable = found[1:][np.isfinite(found[1:, 1:]).any(axis=1)]
    ratios = np.sort(np.where(np.isinf(usable[:, 2]), 0.0, usable[:, 1] / usable[:, 2]))
    low = float(ratios[int(0.025 * (len(ratios) - 1))])
    high = float(ratios[int(np.ceil(0.975 * (len(ratios) - 1)))])
    bound = None if np.isinf(high) else high
    return Ratio(float(goal), float(theirs / ours), low, bound, _reached(found))


def _reached(found: Floats) -> float:
    return float(np.isfinite(found[1:, 1:]).all(axis=1).mean())


def _both(
    their_cost: Floats, theirs: Floats, our_cost: Floats, ours: Floats, at: int | None, target: float | None
) -> tuple[float, float, float]:
    """(target, baseline's cost, policy's cost) on one draw's mean curves."""
    if at is not None:
        target = float(theirs[at])
    elif target is None:
        target = float(min(theirs.max(), ours.max()))
    return target, cost_at(their_cost, theirs, target), cost_at(our_cost, ours, target)
