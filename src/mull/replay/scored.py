"""Replays of the rules that look at scores or at log-probabilities.

Both sum whole grains, so no order of adding changes a decision. The module never takes a missing score for
a number.
"""

from __future__ import annotations

import numpy as np

from mull.errors import MullError
from mull.replay.recorded import Drawn
from mull.replay.rules import Outcome, first, rule
from mull.strategies import score_stop as scoring
from mull.study.pools import Floats, Ints


@rule("best_of_n")
def best_of_n(drawn: Drawn, budget: int) -> Outcome:
    """Fixed N, the best-scored."""
    return _best(drawn, np.full(drawn.answers.shape[1], budget))


@rule("best_of_n_weighted")
def best_of_n_weighted(drawn: Drawn, budget: int) -> Outcome:
    """Fixed N, the largest sum of scores."""
    return _summed(drawn, budget, root=False)


@rule("agreement")
def agreement(drawn: Drawn, budget: int) -> Outcome:
    """See :mod:`mull.strategies.agreement`."""
    return _summed(drawn, budget, root=True)


@rule("score_stop")
def score_stop(drawn: Drawn, budget: int, *, price: float, least: int, spread: float) -> Outcome:
    """See :mod:`mull.strategies.score_stop`."""
    scores = _scores(drawn)[:budget]
    known = ~np.isnan(scores)
    value = np.where(known, np.rint(np.where(known, scores, 0.0) * scoring.GRAIN), 0.0).astype(np.int64)
    count = known.cumsum(axis=0)
    total, squares = value.cumsum(axis=0), (value * value).cumsum(axis=0)
    best = np.maximum.accumulate(value, axis=0)
    stop = np.zeros(value.shape, bool)
    going = np.arange(value.shape[1])
    for i in range(budget):
        enough = going[count[i, going] >= least]
        cells = zip(*(part[i, enough].tolist() for part in (count, total, squares, best)), strict=True)
        stop[i, enough] = [scoring.gain(n, s, q, b, least, spread) < price for n, s, q, b in cells]
        going = going[~stop[i, going]]
    return _best(drawn, first(stop) + 1)


@rule("confidence_vote")
def confidence_vote(drawn: Drawn, budget: int, *, consensus: float, drop: float, warmup: int) -> Outcome:
    """See :mod:`mull.strategies.confidence_vote`."""
    if drawn.confidence is None:
        raise MullError("confidence_vote needs log-probabilities, and the pool has none")
    columns = drawn.answers.shape[1]
    first_look = min(warmup, budget)
    warm = np.sort(
        np.where(drawn.confidence > 0, drawn.confidence, np.iinfo(np.int64).max)[:first_look], axis=0
    )
    known = (drawn.confidence[:first_look] > 0).sum(axis=0)
    place = np.minimum((drop * known).astype(np.int64), np.maximum(known - 1, 0))
    least = np.where(known > 0, warm[place, np.arange(columns)], 0)
    classes = drawn.recorded.right.shape[1]
    weights, votes = np.zeros(columns * classes, np.int64), np.zeros(columns * classes, np.int64)
    base = np.arange(columns) * classes
    top, total = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    answer, at, done = np.full(columns, -1), np.full(columns, budget), np.zeros(columns, bool)
    for i in range(budget):
        ballot, weight = drawn.answers[i], drawn.confidence[i]
        votes_now = (ballot >= 0) & (weight > 0) & (weight >= least) & ~done
        cell = base + np.maximum(ballot, 0)
        weights[cell] += np.where(votes_now, weight, 0)
        votes[cell] += votes_now
        top = np.where(votes_now, np.maximum(top, weights[cell]), top)
        total = total + np.where(votes_now, weight, 0)
        if i + 1 < first_look:
            continue
        ends = ~done & (total > 0) & (top / np.maximum(total, 1) >= consensus)
        ends |= ~done if i + 1 == budget else False
        at[ends], done = i + 1, done | ends
    # heaviest, then most votes, then the class that the selector prefers (the smallest number)
    key = weights.reshape(columns, classes) * 1024 + votes.reshape(columns, classes)
    answer = np.where(total > 0, key.argmax(axis=1), -1)
    return Outcome.of(drawn, answer, at, drawn.spent[at - 1, np.arange(columns)])


def _summed(drawn: Drawn, budget: int, *, root: bool) -> Outcome:
    """The answer whose scores have the largest sum, over the root of their number if asked."""
    scores = _scores(drawn)[:budget]
    columns, classes = drawn.answers.shape[1], drawn.recorded.right.shape[1]
    sums, votes = np.zeros(columns * classes, np.int64), np.zeros(columns * classes, np.int64)
    base = np.arange(columns) * classes
    for ballot, score in zip(drawn.answers[:budget], scores, strict=True):
        held = np.flatnonzero((ballot >= 0) & ~np.isnan(score))
        cell = base[held] + ballot[held]
        sums[cell] += np.rint(score[held] * scoring.GRAIN).astype(np.int64)
        votes[cell] += 1
    weight = sums / scoring.GRAIN
    weight = weight / np.sqrt(np.maximum(votes, 1)) if root else weight
    weight, votes = weight.reshape(columns, classes), votes.reshape(columns, classes)
    # heaviest, then most votes, then the class that the selector prefers (the smallest number)
    heavy = (weight == np.where(votes > 0, weight, -1.0).max(axis=1, keepdims=True)) & (votes > 0)
    answer = np.where(heavy.any(axis=1), np.where(heavy, votes, 0).argmax(axis=1), -1)
    at = np.full(columns, budget)
    return Outcome.of(drawn, answer, at, drawn.spent[at - 1, np.arange(columns)])


def _scores(drawn: Drawn) -> Floats:
    if drawn.scores is None:
        raise MullError(
            "the rule needs a verifier's scores: the pool has none, or several and none was named"
        )
    return drawn.scores


def _best(drawn: Drawn, at: Ints) -> Outcome:
    """The answer of the best-scored of each column's first ``at`` samples."""
    scores = _scores(drawn)
    among = (np.arange(drawn.samples)[:, None] < at) & ~np.isnan(scores) & (drawn.answers >= 0)
    value = np.where(among, scores, -1.0)
    best = among & (value == value.max(axis=0))
    place = np.where(best, drawn.rank, np.iinfo(np.int32).max).argmin(axis=0)
    column = np.arange(len(at))
    answer = np.where(among.any(axis=0), drawn.answers[place, column], -1)
    return Outcome.of(drawn, answer, at, drawn.spent[at - 1, column])
