"""Calibration of a verifier on a labelled pool: the map, and how well it does on problems it has not seen.

Samples of one problem are alike, so what is shown of a calibration is out of fold by problem: a
problem's chances come from a map fitted without it. The map handed out is fitted on all. Pools in,
numbers out; no verifier is called and nothing is drawn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mull.errors import MullError
from mull.pools.data import PoolData
from mull.select import Aggregation
from mull.verifiers.calibration import (
    Bin,
    Calibration,
    Floats,
    Method,
    calibration_curve,
    expected_error,
    fit,
)


@dataclass(frozen=True)
class Fitted:
    """A calibration; curves and expected calibration errors before, and after (out of fold).

    ``brier`` are the mean squared differences of scores and labels, before and after.
    """

    calibration: Calibration
    before: tuple[Bin, ...]
    after: tuple[Bin, ...]
    errors: tuple[float, float]
    brier: tuple[float, float]
    problems: int
    folds: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, for a report."""
        return {
            "method": self.calibration.method,
            "verifier": self.calibration.verifier,
            "samples": self.calibration.samples,
            "problems": self.problems,
            "folds": self.folds,
            "before": [asdict(each) for each in self.before],
            "after": [asdict(each) for each in self.after],
            "ece": {"before": self.errors[0], "after": self.errors[1]},
            "brier": {"before": self.brier[0], "after": self.brier[1]},
        }


def calibrate(
    pool: PoolData,
    verifier: str,
    method: Method = "isotonic",
    *,
    aggregation: Aggregation = "last",
    folds: int = 5,
    bins: int = 10,
    name: str = "",
) -> Fitted:
    """Fit a calibration for the pool's scores by ``verifier``, of samples or (aggregated) of steps.

    Samples that were not judged or not scored are left out. ``name`` is what the verifier calls itself
    where the calibration is to serve ("": it is not checked). :class:`MullError` for a verifier that the
    pool does not have, or for too few labels of either kind to fit every fold.
    """
    if verifier in pool.scores:
        scores = np.asarray(pool.scores[verifier], np.float64)
    elif verifier in pool.layout.step_scores:
        scores = np.asarray(pool.step_scores(verifier, aggregation), np.float64)
    else:
        known = ", ".join(dict.fromkeys([*pool.scores, *pool.layout.step_scores])) or "none"
        raise MullError(f"the pool has no scores {verifier!r}; it has: {known}")
    return cross_fitted(scores, pool.correct, pool.judged, method, folds=folds, bins=bins, name=name)


def cross_fitted(
    scores: ArrayLike,
    correct: ArrayLike,
    judged: ArrayLike,
    method: Method = "isotonic",
    *,
    folds: int = 5,
    bins: int = 10,
    name: str = "",
) -> Fitted:
    """What :func:`calibrate` finds, of arrays [problems, samples]; scores of NaN are left out."""
    scores, right = np.asarray(scores, np.float64), np.asarray(correct, np.float64)
    problems = len(scores)
    if not 2 <= folds <= problems:
        raise MullError(f"folds must be from 2 to the number of problems ({problems}), not {folds}")
    used = np.asarray(judged, np.bool_) & ~np.isnan(scores)
    whole = fit(scores[used], right[used], method, verifier=name)
    chances = np.full(scores.shape, np.nan)
    fold = np.arange(problems) % folds
    for k in range(folds):
        seen, held = fold != k, fold == k
        part = fit(scores[seen][used[seen]], right[seen][used[seen]], method)
        values = np.where(used[held], scores[held], 0.0)
        chances[held] = np.where(used[held], part(values), np.nan)
    x, y, z = scores[used], right[used], chances[used]
    before, after = calibration_curve(x, y, bins), calibration_curve(z, y, bins)
    errors = (expected_error(before), expected_error(after))
    brier = (_brier(x, y), _brier(z, y))
    return Fitted(whole, tuple(before), tuple(after), errors, brier, problems, folds)


def _brier(x: Floats, y: Floats) -> float:
    return float(np.mean((x - y) ** 2))
