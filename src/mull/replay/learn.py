"""What :mod:`mull.strategies.marginal` learns on training problems: its cap and its patience.

- *cap*: the shortest of a fixed ladder of lengths beyond which solutions are hardly ever right.
- *patience*: of a fixed ladder, the number of samples after which stopping on problems whose samples
  scatter makes the training runs *more accurate*, by two standard errors: there the majority
  converges to wrong answers. Mostly there is none, and the rule goes without.

The price is the caller's: it says what a sample must bring. It could be learned as well, for a
given worth of accuracy, but the best price on a few training problems is mostly noise (docs/replay.md).
Labels of other problems are never looked at.
"""

from __future__ import annotations

import numpy as np

from mull.replay.ledger import Learner, Ledger
from mull.strategies import Arm
from mull.study.pools import Bools

#: A solution above the cap is right less often than this.
HARDLY = 0.15
CAPS = tuple(int(256 * 2 ** (i / 2)) for i in range(21))
PATIENCES = (8, 16, 32)


def learned_marginal(budget: int, price: float, *, error: float = 2.0) -> Learner:
    """A learner of the rule's cap and patience at a price; a patience must earn ``error`` standard errors."""

    def learn(ledger: Ledger, train: Bools) -> Arm:
        cap = fit_cap(ledger, train)
        plain, *patient = (
            Arm("marginal", budget, (("price", price), ("patience", p), ("cap", cap)))
            for p in (0, *PATIENCES)
        )
        gains = {arm: ledger.advantage(arm, plain, train, 0.0) for arm in patient}
        sure = {arm: mean - error * spread for arm, (mean, spread) in gains.items()}
        found = max(sure, key=lambda arm: sure[arm])
        return found if sure[found] > 0 else plain

    return learn


def fit_cap(ledger: Ledger, train: Bools) -> int:
    """The least rung beyond which under ``HARDLY`` of the training samples are right.

    0 where there is none, or under 1 % of the samples are longer.
    """
    recorded = ledger.drawn.recorded
    tokens, answers = recorded.tokens[train], recorded.answers[train]
    rows = np.nonzero(train)[0][:, None]
    right = recorded.right[rows, np.maximum(answers, 0)] & (answers >= 0)
    for cap in CAPS:
        longer = tokens > cap
        if longer.mean() < 0.01:
            return 0
        if right[longer].mean() < HARDLY:
            return cap
    return 0
