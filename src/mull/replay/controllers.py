"""The offline search for width-and-depth controllers, on recorded samples of training problems only.

As AutoTTS (2026) has it: a controller maps one scalar to all its knobs, candidates are tried on a replay
store, and no token is generated. Candidates are drawn once from a fixed range; a training half
chooses among them, first the controller that does best over all costs, then its effort at the one
asked for. Nothing here is tuned on the problems that a result is reported on.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mull.replay.ledger import Learner, Ledger
from mull.strategies import Arm
from mull.study.pools import Bools

EFFORTS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: What a mean sample's tokens must bring, over which a controller is to be good.
COSTS = (0.02, 0.005, 0.001)
CANDIDATES = 12


@lru_cache
def candidates(budget: int, count: int = CANDIDATES, seed: int = 0) -> tuple[tuple[Arm, ...], ...]:
    """``count`` controllers, each as its arms over ``EFFORTS``; the first is the strategy's default."""
    rng = np.random.default_rng(seed)
    found = [tuple(Arm("width_depth", budget, (("effort", e),)) for e in EFFORTS)]
    while len(found) < count:
        ends = (
            ("width_low", float(rng.integers(1, 3))),
            ("width_high", float(rng.integers(1, 9))),
            ("keep_low", round(float(rng.uniform(0.4, 1.0)), 2)),
            ("keep_high", round(float(rng.uniform(0.4, 1.0)), 2)),
            ("lead_low", round(float(rng.uniform(0.5, 0.8)), 2)),
            ("lead_high", round(float(rng.uniform(0.85, 0.999)), 3)),
        )
        found.append(tuple(Arm("width_depth", budget, (("effort", e), *ends)) for e in EFFORTS))
    return tuple(found)


def learned_width_depth(budget: int, cost: float) -> Learner:
    """A learner: the best controller over ``COSTS`` on training problems, at its best effort for ``cost``."""

    def learn(ledger: Ledger, train: Bools) -> Arm:
        def overall(arms: tuple[Arm, ...]) -> float:
            return sum(max(ledger.worth(arm, train, c) for arm in arms) for c in COSTS)

        best = max(candidates(budget), key=overall)
        return max(best, key=lambda arm: ledger.worth(arm, train, cost))

    return learn
