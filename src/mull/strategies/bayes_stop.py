"""Bayesian stopping: sample until the present majority is almost surely that of the whole budget.

After n of N samples with a votes for the leader and b for the runner-up, m = N - n are to come.
With a Dirichlet prior (1 for the leader, 1 for the runner-up, ``rest`` for all other answers) the votes
to come are Dirichlet-multinomial. Grouping splits that in two Beta-binomials (Johnson, Kotz and
Balakrishnan 1997, chapter 39):

    K ~ BetaBinomial(m; a + b + 2, n - a - b + rest)   samples that go to one of the two,
    X ~ BetaBinomial(K; a + 1, b + 1)                  of these, to the leader,

and the leader stays ahead with probability P(a + X > b + K - X). That a third answer overtakes both
is left out: it has fewer votes than the runner-up. Aggarwal et al. 2023 stop on a posterior of
shares; this one counts how many samples are left, so it ends when the lead cannot be lost.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, exp, lgamma

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.tallies import check_share, sequential


@lru_cache(1 << 17)
def _ahead(extra: int, top: int, second: int) -> float:
    """P(leader ahead) once ``extra`` more samples went to one of the two."""
    need = (extra + second - top) // 2 + 1  # the fewest of them that keep the leader ahead
    if need <= 0:
        return 1.0
    if need > extra:
        return 0.0
    # BetaBinomial(x; extra, top + 1, second + 1) for whole numbers, from x = extra downwards
    term = comb(top + extra, extra) / comb(top + second + 1 + extra, extra)
    total = term
    for x in range(extra, need, -1):
        term *= x / (top + x) * (second + extra - x + 1) / (extra - x + 1)
        total += term
    return min(1.0, total)


def _among(extra: int, left: int, two: float, others: float) -> float:
    """BetaBinomial(extra; left, two, others)."""
    away = left - extra
    logs = lgamma(left + 1) - lgamma(extra + 1) - lgamma(away + 1)
    logs += lgamma(two + extra) + lgamma(others + away) - lgamma(two + others + left)
    return exp(logs + lgamma(two + others) - lgamma(two) - lgamma(others))


@lru_cache(1 << 16)
def stays(left: int, drawn: int, top: int, second: int, rest: float = 1.0) -> float:
    """The chance that the leader still leads once ``left`` more samples are drawn (formula above)."""
    if top - second > left:
        return 1.0
    if not left:
        return 0.0  # a tie
    two, others = top + second + 2, drawn - top - second + rest
    return min(1.0, sum(_among(k, left, two, others) * _ahead(k, top, second) for k in range(left + 1)))


@strategy("bayes_stop", selector="majority")
def bayes_stop(
    problem: Problem, *, budget: int, threshold: float = 0.95, rest: float = 1.0, batch: int = 1
) -> Plan:
    """Samples until the leader would surely win the whole budget's vote (Beta-binomial); its answer.

    ``rest`` is the prior's weight of all answers but the two leading ones. Budget: the most
    samples, any N from 1 on.
    """
    require("bayes_stop", budget, lambda b: b >= 1)
    check_share("bayes_stop", "threshold", threshold)
    check_share("bayes_stop", "rest", rest, least=1e-3, most=1e3)
    check_count("bayes_stop", "batch", batch, 1)
    return sequential(
        problem,
        budget,
        batch,
        lambda drawn, top, second: stays(budget - drawn, drawn, top, second, float(rest)) >= threshold,
    )
