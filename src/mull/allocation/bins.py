"""Compute-optimal allocation by bins: a probe sorts the problems, and the bins share the budget as pays best.

Every problem draws k samples; the votes for the leader are its bin. Each bin then takes a mixture of
"majority of N in all" that maximises the mean accuracy within the mean tokens
(:func:`mull.policy_allocate.allocate`: a linear programme, greedy on each bin's concave hull). Probe, bins
and shares come from training runs; test runs are measured only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mull.allocation.paths import Paths
from mull.errors import MullError
from mull.policy_allocate import allocate
from mull.study.pools import Floats, Ints

PROBES = (1, 2, 4, 8)
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
#: So many runs of all problems, in the same mixture, stand behind each bin's own.
SHRINK = 2.0


@dataclass(frozen=True, eq=False)
class Binned:
    """What was chosen at one budget: the probe, and shares [k + 1, A] of the totals ``ladder`` [A] in each
    bin."""

    probe: int
    ladder: tuple[int, ...]
    shares: Floats
    expected: float


def fit(paths: Paths, budgets: Sequence[float]) -> list[Binned]:
    """The best probe and shares at each mean budget (tokens a problem), from training runs.

    What test problems then cost can differ from the budget: the means are the training problems'.
    """
    spent = _spent(paths)
    best: list[Binned | None] = [None] * len(budgets)
    for probe in (k for k in PROBES if k <= paths.most):
        ladder = tuple(n for n in LADDER if probe <= n <= paths.most)
        label = paths.seen.top[probe].ravel()
        inside = (label[:, None] == np.arange(probe + 1)).astype(np.float64)  # [runs * problems, bins]
        held = inside.sum(axis=0)
        right = paths.right[list(ladder)].reshape(len(ladder), -1)
        cost = spent[list(ladder)].reshape(len(ladder), -1)
        pull = SHRINK * paths.tokens.shape[1]
        value, price = (
            ((part @ inside).T + pull * part.mean(axis=1)) / (held + pull)[:, None] for part in (right, cost)
        )
        weight = held / held.sum()
        for at, budget in enumerate(budgets):
            try:
                shares = allocate(value, price, weight, budget)
            except MullError:
                continue  # the probe alone costs more
            expected = float((weight[:, None] * shares * value).sum())
            known = best[at]
            if known is None or expected > known.expected + 1e-12:
                best[at] = Binned(probe, ladder, shares, expected)
    return [one if one is not None else single(paths.most) for one in best]


def single(most: int) -> Binned:
    """One sample for all: where even that costs the training problems more than the budget."""
    ladder = tuple(n for n in LADDER if n <= most)
    shares = np.zeros((2, len(ladder)))
    shares[:, 0] = 1.0
    return Binned(1, ladder, shares, 0.0)


def measure(binned: Binned, paths: Paths) -> Floats:
    """Chance of a right answer, tokens and samples under the shares, means over runs: [3, P]."""
    spent = _spent(paths)
    label = paths.seen.top[binned.probe]
    found = np.zeros((3, label.shape[1]))
    for at, total in enumerate(binned.ladder):
        share = binned.shares[label, at]
        for row, part in enumerate((paths.right[total], spent[total], np.full(label.shape, total))):
            found[row] += (share * part).mean(axis=0)
    return found


def _spent(paths: Paths) -> Ints:
    zero = np.zeros((1, *paths.tokens.shape[1:]), np.int64)
    return np.concatenate([zero, paths.tokens.cumsum(axis=0)])
