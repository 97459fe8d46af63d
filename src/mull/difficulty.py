"""Difficulty: one number a problem, higher is easier, and quantile bins of it.

Oracle difficulty reads labels (the base model's pass@1), predicted difficulty reads the
verifier over the same samples, charged difficulty reads it over the first few samples of
the very run. Bins are numbered 0 (easiest) to 4; people are shown 1 to 5. The module
never decides which strategy a bin gets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.study.estimators import Pool, draw, probe

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: How many bins the paper uses.
BINS = 5


@dataclass(frozen=True, eq=False)
class Bins:
    """Problems in quantile bins.

    ``labels`` [P]: 0 (easiest) to count - 1. ``thresholds``: count - 1 values, not
    increasing; a new problem with value v is in the first bin b with
    v >= thresholds[b], else in the last. ``sizes``: problems in each bin.
    """

    labels: Labels
    thresholds: tuple[float, ...]
    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many bins there are; some may be empty."""
        return len(self.sizes)

    def assign(self, value: float) -> int:
        """The bin of a new problem; without a value (NaN) it is taken for the hardest."""
        return int(assign(np.asarray([value]), self.thresholds)[0])


def assign(values: Floats, thresholds: Sequence[float]) -> Labels:
    """The bins of ``values`` of any shape by descending ``thresholds``; NaN goes to the last bin."""
    rising = -np.asarray(thresholds, np.float64)
    keys = np.where(np.isnan(values), np.inf, -np.asarray(values, np.float64))
    return np.asarray(np.searchsorted(rising, keys, side="left"), np.int64)


def oracle(pool: Pool) -> Floats:
    """The base model's pass@1 over all samples, [P]; reads labels (the paper's section 3.2)."""
    return np.asarray(pool.correct.mean(axis=1))


def predicted(pool: Pool, score: str) -> Floats:
    """Mean verifier score over all scored samples, [P], no labels; NaN where none is scored."""
    return np.asarray(probe(pool, score, pool.samples)[0])


def charged(pool: Pool, score: str, k: int, *, runs: int = 64, seed: int = 0) -> Floats:
    """Mean verifier score of the first ``k`` samples of each of ``runs`` runs, [runs, P].

    The runs are the random orders ``draw(pool.samples, runs, seed=seed)``: judge a run on
    the outcomes of the same draws, in which these k samples are the run's first.
    """
    return probe(pool, score, k, draw(pool.samples, runs, seed=seed))


def quantile_bins(
    values: Floats,
    *,
    count: int = BINS,
    ids: Sequence[str] | None = None,
    ties: Literal["split", "together"] = "split",
) -> Bins:
    """``count`` bins of problems by ``values`` [P], highest first.

    With ties "split" sizes differ by at most one, and problems with equal values are
    ordered by a hash of their id (by index without ``ids``): deterministic, and unrelated to the
    file's order. With "together" all problems that share a boundary's value go to the easier
    bin (the paper's oracle sizes 100/100/100/105/95), so ``labels`` equals :func:`assign` of
    the values; bins may then be empty. NaN sorts as hardest.
    """
    values = np.asarray(values, np.float64)
    total = len(values)
    if values.ndim != 1 or total < count or count < 1:
        raise MullError(f"{count} difficulty bins need at least {count} problems; got {total}")
    if ids is not None and len(ids) != total:
        raise MullError(f"{total} difficulty values but {len(ids)} problem ids")
    keys = np.where(np.isnan(values), -np.inf, values)
    turn = np.arange(total) if ids is None else np.asarray([_hash(name) for name in ids], np.uint64)
    order = np.lexsort((turn, -keys))
    ends = [round(total * (b + 1) / count) for b in range(count - 1)]
    thresholds = _thresholds(keys[order], ends, ties)
    if ties == "together":
        labels = assign(values, thresholds)
    else:
        labels = np.empty(total, np.int64)
        labels[order] = np.searchsorted(np.asarray(ends), np.arange(total), side="right")
    sizes = tuple(int(size) for size in np.bincount(labels, minlength=count))
    return Bins(labels, thresholds, sizes)


def thresholds_of(values: Floats, count: int = BINS) -> tuple[float, ...]:
    """Thresholds that cut ``values`` (any shape, such as [runs, problems]) into ``count`` quantiles."""
    keys = -np.sort(-np.where(np.isnan(values), -np.inf, values).ravel())
    if len(keys) < count:
        raise MullError(f"{count} difficulty bins need at least {count} values; got {len(keys)}")
    return _thresholds(keys, [round(len(keys) * (b + 1) / count) for b in range(count - 1)], "split")


def _thresholds(falling: Floats, ends: Sequence[int], ties: str) -> tuple[float, ...]:
    """For each bin but the last the lowest value in it: halfway to the next bin's, or the tie itself."""
    finite = falling[np.isfinite(falling)]
    lowest = float(finite[-1]) if len(finite) else 0.0
    found = []
    for end in ends:
        above, below = max(float(falling[end - 1]), lowest), max(float(falling[end]), lowest)
        found.append(above if ties == "together" or above == below else (above + below) / 2)
    return tuple(found)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
