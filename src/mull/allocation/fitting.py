"""Fitting the model on training problems: prior, lengths, limit, and two small choices that are judged on
runs.

Every choice reads training problems alone. The slope is judged by how well the leader's being right is
foretold, the lift by the accuracy of the allocation itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mull.allocation import lengths, types
from mull.allocation.greedy import greedy
from mull.allocation.model import FADE, TILTS, Model
from mull.allocation.paths import Paths
from mull.allocation.tables import MOST, tables
from mull.errors import MullError
from mull.replay.learn import fit_cap
from mull.replay.ledger import Ledger
from mull.replay.recorded import Recorded
from mull.study.pools import Bools, Floats

#: What the log-length is tried to weigh, the least first.
SLOPES = (0.0, -0.5, -1.0, -1.5, -2.0, -3.0)
#: Where a slope is judged: after so many samples, in so many random orders of each training problem's.
LOOKS = (1, 2, 4, 8, 16)
ORDERS = 4
#: Where a lift is judged: mean samples a problem.
BUDGETS = (1.5, 2.0, 3.0, 4.0, 6.0)


def fit(
    recorded: Recorded,
    train: Bools,
    *,
    most: int = MOST,
    limit: int | None = None,
    mean: Floats | None = None,
) -> Model:
    """The model from the training problems' rows (``train`` bool [P]) of a pool.

    ``limit`` None: learned as well (0: none). ``mean`` [P]: log-lengths expected of the problems before
    their first sample, found without the training problem itself (None: the same for all).
    """
    if not 1 <= most <= MOST:
        raise MullError(f"a problem can get 1 to {MOST} samples, not {most}")
    if limit is None:
        limit = fit_cap(Ledger(recorded.draw(1, 1, 0)), train)
    tokens, cut = lengths.known(recorded.tokens[train], limit)
    answers = np.where(cut, -1, recorded.answers[train])
    prior = types.fit(types.counted(answers, recorded.right[train]))
    expected = None if mean is None else mean[train]
    plain = Model(prior, lengths.fit(tokens, answers >= 0, expected), limit=limit, most=most)
    orders = recorded.draw(ORDERS, min(most, recorded.shape[1]), 0)
    paths = Paths.of(orders, limit, orders.samples).of_problems(train)
    sloped = replace(plain, slope=_slope(plain, paths, expected))
    return sloped.lifted(_lift(sloped, paths, expected, float(recorded.tokens[train].mean())))


def _slope(plain: Model, paths: Paths, mean: Floats | None) -> float:
    """The slope under which the model best foretells whether the leader of a vote is right (log score)."""
    looks = np.array([n for n in LOOKS if n <= paths.most])
    seen, right = paths.seen.at(looks), paths.right[looks]
    found, lean = tables(plain.most), types.leaning()
    state = found.states.of(seen.voting, seen.top, seen.second)
    expected = plain.lengths.mean if mean is None else mean
    above = plain.lengths.departure(seen.drawn, seen.logs, expected) + expected - plain.lengths.mean
    above = above * (FADE / (FADE + seen.drawn))
    chance, good = (part[state] * plain.prior.weights for part in (found.chance, found.right))
    best, slope = -np.inf, 0.0
    for value in SLOPES:
        tilt = np.exp(np.clip(above * value, TILTS[0], TILTS[-1])[..., None] * lean)
        share = (good * tilt).sum(axis=-1) / np.maximum((chance * tilt).sum(axis=-1), 1e-30)
        share = np.clip(share, 1e-3, 1 - 1e-3)
        votes = seen.voting > 0
        score = float(np.where(right, np.log(share), np.log(1 - share))[votes].mean()) if votes.any() else 0.0
        if score > best + 1e-9:
            best, slope = score, value
    return slope


def _lift(sloped: Model, paths: Paths, mean: Floats | None, unit: float) -> int:
    """The lift with which the training runs themselves come out best, on average over low budgets."""
    size = paths.tokens.shape[2]
    budgets = [int(b * unit * size) for b in BUDGETS]
    scores = []
    for lift in (0, 1, 2):
        worths = sloped.lifted(lift).worth(paths.seen.at(slice(0, paths.most)), mean)
        whole = greedy(worths, paths.tokens, budgets).whole
        scores.append(np.take_along_axis(paths.right, whole, axis=0).mean(axis=(0, 1)))
    best = 0
    for lift in (1, 2):
        ahead = scores[lift] - scores[best]
        if ahead.mean() > ahead.std() / max(size - 1, 1) ** 0.5:
            best = lift
    return best
