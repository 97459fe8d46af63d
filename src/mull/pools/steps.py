"""Measures of verifiers on labels: do scores rank right above wrong, and is the first error found.

Functions of plain arrays; they choose no threshold and read no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mull.errors import MullError


@dataclass(frozen=True)
class Binary:
    """Accuracy, precision, recall and F1 of "right" at a threshold; 0 where there is nothing to divide by."""

    accuracy: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class FirstError:
    """ProcessBench's measures of finding the first wrong step.

    ``wrong``: the share of wrong solutions whose first wrong step is named exactly; ``right``: the
    share of right ones that are left alone; ``f1``: the harmonic mean of the two.
    """

    wrong: float
    right: float
    f1: float


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The chance that a right one scores above a wrong one, ties counting half (Mann and Whitney's U)."""
    values, truth = _checked(scores, labels)
    right = int(truth.sum())
    wrong = len(truth) - right
    if not right or not wrong:
        raise MullError("an AUROC needs labels of both kinds")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[truth].sum() - right * (right + 1) / 2) / (right * wrong))


def binary(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Binary:
    """Called right when the score is above ``threshold``."""
    values, truth = _checked(scores, labels)
    said = values > threshold
    hits = int((said & truth).sum())
    precision = hits / max(int(said.sum()), 1)
    recall = hits / max(int(truth.sum()), 1)
    f1 = 2 * hits / max(int(said.sum()) + int(truth.sum()), 1)
    return Binary(float((said == truth).mean()), precision, recall, f1)


def first_below(scores: Sequence[float], threshold: float) -> int:
    """The first step whose score is below ``threshold``, -1 if none is."""
    return next((at for at, score in enumerate(scores) if score < threshold), -1)


def first_error(predicted: Sequence[int], labels: Sequence[int]) -> FirstError:
    """How well ``predicted`` first wrong steps meet ``labels``; both have -1 for "all right"."""
    said, truth = np.asarray(predicted), np.asarray(labels)
    if said.shape != truth.shape or not said.size:
        raise MullError(f"{said.size} predictions do not fit {truth.size} labels")
    fine = truth < 0
    if fine.all() or not fine.any():
        raise MullError("this measure needs both right and wrong solutions")
    wrong, right = float((said == truth)[~fine].mean()), float((said < 0)[fine].mean())
    return FirstError(wrong, right, 2 * wrong * right / (wrong + right) if wrong + right else 0.0)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.bool_)
    if values.shape != truth.shape or values.ndim != 1 or not values.size:
        raise MullError(f"{values.size} scores do not fit {truth.size} labels")
    if np.isnan(values).any():
        raise MullError("a score is missing; leave the unscored out first")
    return values, truth
