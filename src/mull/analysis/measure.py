"""What an arm is worth on every problem: accuracy and costs, in arrays; and over a bin of problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.difficulty import Bins

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measure:
    """An arm on every problem, arrays [P]: means where the pool was resampled, else the one run."""

    accuracy: Floats
    generations: Floats
    completion_tokens: Floats
    verifier_tokens: Floats
    flops: Floats

    @property
    def tokens(self) -> Floats:
        """The proposer's tokens and the verifier's."""
        return self.completion_tokens + self.verifier_tokens


def stacked(measures: Sequence[Measure], name: str) -> Floats:
    """One field of several measures, [arms, P]."""
    return np.stack([np.asarray(getattr(m, name), np.float64) for m in measures])


def by_bin(bins: Bins, values: Floats) -> list[float | None]:
    """The mean of ``values`` [P] in each bin, easiest first; None for a bin without problems."""
    groups = [values[bins.labels == b] for b in range(bins.count)]
    return [float(group.mean()) if len(group) else None for group in groups]


def by_bin_ci95(bins: Bins, values: Floats, shares: Floats) -> list[list[float] | None]:
    """The 95 % interval of each bin's mean, by draws of problems (``shares`` [B, P])."""
    found: list[list[float] | None] = []
    for b in range(bins.count):
        inside = bins.labels == b
        weight = shares[:, inside].sum(axis=1)
        drawn = (shares[:, inside] @ values[inside])[weight > 0] / weight[weight > 0]
        found.append([float(end) for end in np.percentile(drawn, [2.5, 97.5])] if drawn.size else None)
    return found
