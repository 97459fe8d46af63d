"""The paired bootstrap over problems: how far a mean would move with other problems.

One matrix of draws serves every quantity that is to be compared, so differences are
paired. The module resamples problems; it never resamples samples, and never sees a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval (2.5th and 97.5th percentile of the bootstrap)."""

    mean: float
    low: float
    high: float


def weights(problems: int, draws: int = 1000, *, seed: int = 0) -> Floats:
    """Each problem's share in each draw, [draws, problems]; rows sum to 1."""
    if problems < 1 or draws < 1:
        raise MullError(f"a bootstrap needs problems and draws; got {problems} and {draws}")
    picked = np.random.default_rng(seed).integers(0, problems, (draws, problems))
    picked += np.arange(draws)[:, None] * problems
    counts = np.bincount(picked.ravel(), minlength=draws * problems).reshape(draws, problems)
    return counts / problems


def means(values: Floats, shares: Floats) -> Floats:
    """The mean of per-problem ``values`` [P] or [P, A] in each draw: [B] or [B, A]."""
    if values.shape[0] != shares.shape[1]:
        raise MullError(f"draws over {shares.shape[1]} problems do not fit {values.shape[0]} values")
    return np.asarray(shares @ values)


def ci95(values: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """The ends of the 95 % interval of the mean of ``values`` [P] or [P, A]: each [] or [A]."""
    low, high = np.percentile(means(values, shares), [2.5, 97.5], axis=0)
    return np.asarray(low), np.asarray(high)


def mean_ci95(values: Floats, shares: Floats) -> Interval:
    """The mean of per-problem ``values`` [P], with its interval."""
    low, high = ci95(values, shares)
    return Interval(float(values.mean()), float(low), float(high))


def difference_ci95(first: Floats, second: Floats, shares: Floats) -> Interval:
    """The mean of ``first`` - ``second``, both [P] over the same problems, with its paired interval."""
    if first.shape != second.shape:
        raise MullError(f"paired values need one shape; got {first.shape} and {second.shape}")
    return mean_ci95(first - second, shares)
