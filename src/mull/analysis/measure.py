"""What an arm is worth on every problem: accuracy and costs, in arrays. Data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
