"""Stopping by the distribution of scores: sample until a better best one is not worth its price.

In the manner of OptScale (AAAI 2026), which models a verifier's scores on one problem as normal and asks
how many samples it takes; here the question is put at the margin. With n scores so far of mean mu and
standard deviation s, and the best of them B, one more sample raises the best by

    E max(x - B, 0) = s (phi(z) - z (1 - Phi(z))),   z = (B - mu) / s,

the expected improvement of Mockus et al. 1978. Sampling stops when that is below ``price``. The
prior ``spread`` counts as ``least`` samples towards s, so that few equal scores do not stop it.
"""

from __future__ import annotations

from math import erfc, exp, pi, sqrt

from mull.problems import Problem
from mull.select import aggregate
from mull.strategies.base import Finals, Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.tallies import check_share
from mull.trace import Sample, Score, Scores, Trace

#: Scores are taken to this many steps in 1, so that their sums are exact in any order.
GRAIN = 1 << 20


def grains(score: float) -> int:
    """A score in [0, 1] in whole grains."""
    return round(score * GRAIN)


def gain(count: int, total: int, squares: int, best: int, least: int = 2, spread: float = 0.1) -> float:
    """The expected rise of the best score by one more sample (formula above).

    ``total`` and ``squares`` are sums over ``count`` scores in grains, and ``best`` their largest.
    """
    mean = total / count
    about = (squares / count - mean * mean) / GRAIN / GRAIN
    sd = sqrt((max(about, 0.0) * count + spread * spread * least) / (count + least))
    z = (best - mean) / GRAIN / sd
    return sd * (exp(-z * z / 2) / sqrt(2 * pi) - z * erfc(z / sqrt(2)) / 2)


@strategy("score_stop", selector="best_of_n", verifier="outcome")
def score_stop(
    problem: Problem, *, budget: int, price: float = 0.01, least: int = 2, spread: float = 0.1
) -> Plan:
    """Samples until one more is expected to raise the best score by less than ``price``; the best one.

    At least ``least`` scored samples are drawn. Budget: the most samples, any N from 1 on.
    """
    require("score_stop", budget, lambda b: b >= 1)
    check_share("score_stop", "price", price)
    check_share("score_stop", "spread", spread, least=1e-3)
    check_count("score_stop", "least", least, 1)
    return _best(problem, budget, price, least, spread)


def _best(problem: Problem, budget: int, price: float, least: int, spread: float) -> Plan:
    finals: Finals = []
    seen: list[int] = []
    while len(finals) < budget:
        traces: list[Trace] = yield Sample((Trace(problem),), "end")
        scores: list[Scores | None] = yield Score(tuple(traces))
        finals += zip(traces, scores, strict=True)
        seen += [grains(aggregate(s)) for s in scores if s is not None]
        if len(seen) >= least:
            squares = sum(s * s for s in seen)
            if gain(len(seen), sum(seen), squares, max(seen), least, spread) < price:
                break
    return finals
