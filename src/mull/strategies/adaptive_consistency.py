"""Adaptive-Consistency: sample one by one until the leading answer is surely the commonest.

Aggarwal et al. 2023 (arXiv 2305.11860), their Beta criterion: with a uniform prior over the shares of the
two leading answers, and the other answers left aside, stop when the leader's share is above a half with
probability ``threshold``. Uses no verifier.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.tallies import check_share, sequential


@lru_cache(1 << 16)
def lead_probability(top: int, second: int) -> float:
    """P(x > 1/2) for x ~ Beta(top + 1, second + 1), exactly.

    For whole numbers it is the chance of at most ``top`` heads in top + second + 1 tosses of a
    fair coin, a sum of binomial coefficients.
    """
    tosses = top + second + 1
    return sum(comb(tosses, heads) for heads in range(top + 1)) / (1 << tosses)


@strategy("adaptive_consistency", selector="majority")
def adaptive_consistency(problem: Problem, *, budget: int, threshold: float = 0.95, batch: int = 1) -> Plan:
    """Samples until the lead over the second answer is sure (Beta posterior); the answer most give.

    ``batch`` samples are drawn between two looks. Budget: the most samples, any N from 1 on.
    """
    require("adaptive_consistency", budget, lambda b: b >= 1)
    check_share("adaptive_consistency", "threshold", threshold)
    check_count("adaptive_consistency", "batch", batch, 1)
    return sequential(
        problem, budget, batch, lambda drawn, top, second: lead_probability(top, second) >= threshold
    )
