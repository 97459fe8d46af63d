"""Calibration: from a verifier's scores to chances of being right, fitted on labelled samples.

Isotonic regression by pooling adjacent violators, and Platt's logistic fit with his smoothed targets,
by Newton steps with halving (Platt 1999; Lin, Lin and Weng 2007). Both are exact to rounding, keep the
order of scores, and are saved as versioned JSON. Arrays in, numbers out; no verifier is called here.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mull.errors import MullError

Floats = NDArray[np.float64]
Method = Literal["isotonic", "platt"]
VERSION = 1
#: Scores of 0 and 1 are taken as this far from them where odds are wanted.
EDGE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """A fitted map from scores in [0, 1] to chances.

    Isotonic: ``points`` are (score, chance), both ascending; between points chances are interpolated,
    beyond them they are the outermost. Platt: chance = sigmoid(``slope`` * log-odds of the score +
    ``shift``). ``verifier`` names what it was fitted for, ``samples`` how many labels it saw.
    """

    method: Method
    points: tuple[tuple[float, float], ...] = ()
    slope: float = 1.0
    shift: float = 0.0
    verifier: str = ""
    samples: int = 0
    notes: dict[str, float] = field(default_factory=dict)

    def __call__(self, scores: ArrayLike) -> Floats:
        """The chances of scores, any shape; ValueError for a score outside [0, 1]."""
        x = np.asarray(scores, np.float64)
        if not ((x >= 0) & (x <= 1)).all():
            raise ValueError("a score is not in [0, 1]")
        if self.method == "platt":
            return sigmoid(self.slope * log_odds(x) + self.shift)
        known, chances = np.array(self.points).T
        return np.asarray(np.interp(x, known, chances))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        what = {"mull_calibration": VERSION, **asdict(self)}
        path.write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read one; :class:`MullError` for what is none or of another version."""
        try:
            what = json.loads(path.read_text(encoding="utf-8"))
            version = what.pop("mull_calibration")
            found = cls(**{**what, "points": tuple((float(a), float(b)) for a, b in what["points"])})
            found.check()
        except OSError as error:
            raise MullError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MullError(f"{path} is no calibration of mull's; fit it again") from None
        if version != VERSION:
            raise MullError(f"{path} is a calibration of version {version}; this mull reads {VERSION}")
        return found

    def check(self) -> None:
        """ValueError for a map that would not keep the order of scores or leave [0, 1]."""
        if self.method == "isotonic":
            x, y = np.array(self.points, np.float64).reshape(-1, 2).T
            rises = len(x) > 0 and (np.diff(x) > 0).all() and (np.diff(y) >= 0).all()
            ok = bool(rises and ((y >= 0) & (y <= 1) & (x >= 0) & (x <= 1)).all())
        else:
            ok = self.method == "platt" and math.isfinite(self.slope + self.shift) and self.slope >= 0
        if not ok:
            raise ValueError("not a map from scores to chances")


def fit(
    scores: ArrayLike, right: ArrayLike, method: Method = "isotonic", *, verifier: str = ""
) -> Calibration:
    """The calibration of labelled samples, both [n]; NaN scores (unscored) are left out.

    :class:`MullError` for fewer than two samples, labels that are all alike, or a score outside [0, 1].
    Platt's slope is kept at 0 or more: a verifier whose scores say the opposite of the labels is known by
    ``notes["slope"]``, the slope that fits best.
    """
    x, y = _labelled(scores, right)
    if len(x) < 2 or y.min() == y.max():
        raise MullError("calibration needs samples that are right and samples that are wrong")
    if method == "isotonic":
        found = Calibration("isotonic", isotonic(x, y), verifier=verifier, samples=len(x))
    elif method == "platt":
        slope, shift = platt(log_odds(x), y)
        notes = {"slope": slope}
        if slope < 0:
            slope, shift = 0.0, math.log(y.mean() / (1 - y.mean()))
        found = Calibration("platt", (), slope, shift, verifier, len(x), notes)
    else:
        raise MullError(f"there is no calibration {method!r}; there are isotonic, platt")
    return found


def isotonic(x: Floats, y: Floats) -> tuple[tuple[float, float], ...]:
    """The non-decreasing map that fits y in least squares, as (x, value) at the ends of its level pieces."""
    known, inverse = np.unique(x, return_inverse=True)
    weights = np.bincount(inverse).astype(np.float64)
    means = np.bincount(inverse, weights=y) / weights
    # Each block: total weight, mean, index of its first and last x.
    blocks: list[tuple[float, float, int, int]] = []
    for i, (weight, mean) in enumerate(zip(weights.tolist(), means.tolist(), strict=True)):
        first = i
        while blocks and blocks[-1][1] >= mean:
            w, m, first, _ = blocks.pop()
            mean = (w * m + weight * mean) / (w + weight)
            weight += w
        blocks.append((weight, mean, first, i))
    points: list[tuple[float, float]] = []
    for _, mean, first, last in blocks:
        level = min(1.0, max(0.0, mean))
        points.append((float(known[first]), level))
        if last > first:
            points.append((float(known[last]), level))
    return tuple(points)


def platt(odds: Floats, y: Floats, steps: int = 100) -> tuple[float, float]:
    """Slope and shift of the logistic fit to labels y, with Platt's targets (n+1)/(n+2) and 1/(n+2)."""
    good, bad = float(y.sum()), float(len(y) - y.sum())
    target = np.where(y > 0.5, (good + 1) / (good + 2), 1 / (bad + 2))
    design = np.stack([odds, np.ones_like(odds)], axis=1)
    at = np.array([0.0, math.log((good + 1) / (bad + 1))])

    def loss(where: Floats) -> float:
        z = design @ where
        return float(np.sum(np.logaddexp(0, z) - target * z))

    now = loss(at)
    for _ in range(steps):
        chance = sigmoid(design @ at)
        slope = design.T @ (chance - target)
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-12 * np.eye(2)
        move = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-10 and (new := loss(at - size * move)) > now - 1e-4 * size * float(slope @ move):
            size /= 2
        if size <= 1e-10 or float(np.abs(slope).max()) < 1e-9:
            break
        at, now = at - size * move, new
    return float(at[0]), float(at[1])


@dataclass(frozen=True)
class Bin:
    """Samples of like score: number, mean score, the share that is right, its 95 % interval (Wilson)."""

    samples: int
    score: float
    right: float
    low: float
    high: float


def calibration_curve(
    scores: ArrayLike, right: ArrayLike, bins: int = 10, *, even: bool = False
) -> list[Bin]:
    """Bins of equal width over [0, 1], or with ``even`` of equal number; empty ones are left out."""
    x, y = _labelled(scores, right)
    if bins < 1:
        raise MullError(f"a calibration curve needs at least one bin, not {bins}")
    if even:
        order = np.argsort(x, kind="stable")
        groups = [part for part in np.array_split(order, min(bins, max(len(x), 1))) if len(part)]
    else:
        place = np.minimum((x * bins).astype(int), bins - 1)
        groups = [found for b in range(bins) if len(found := np.flatnonzero(place == b))]
    return [_bin(x[group], y[group]) for group in groups]


def expected_error(curve: list[Bin]) -> float:
    """The expected calibration error: |score - share right|, weighted by samples (Guo et al. 2017)."""
    total = sum(each.samples for each in curve)
    return sum(each.samples * abs(each.score - each.right) for each in curve) / total if total else math.nan


def _bin(x: Floats, y: Floats) -> Bin:
    n, share, z = len(x), float(y.mean()), 1.959963984540054
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Bin(n, float(x.mean()), share, max(0.0, middle - half), min(1.0, middle + half))


def _labelled(scores: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(scores, np.float64).ravel(), np.asarray(right, np.float64).ravel()
    if x.shape != y.shape:
        raise MullError(f"{len(x)} scores do not fit {len(y)} labels")
    keep = ~(np.isnan(x) | np.isnan(y))
    x, y = x[keep], y[keep]
    if not ((x >= 0) & (x <= 1)).all() or not np.isin(y, (0, 1)).all():
        raise MullError("calibration needs scores in [0, 1] and labels that are right or wrong")
    return x, y


def log_odds(x: Floats) -> Floats:
    """log(x / (1 - x)), with 0 and 1 moved inwards by :data:`EDGE`."""
    inside = np.clip(x, EDGE, 1 - EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def sigmoid(z: Floats) -> Floats:
    """The logistic function, without overflow."""
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1 / (1 + small), small / (1 + small)))
