"""Best-of-N weighted: N independent solutions, each answer weighs the sum of its scores.

Li et al. 2023; the paper's baseline (section 5.1).
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent


@strategy("best_of_n_weighted", selector="best_of_n_weighted", verifier="outcome")
def best_of_n_weighted(problem: Problem, *, budget: int) -> Plan:
    """N sampled solutions; the answer with the largest sum of scores.

    Budget: any N from 1 on.
    """
    require("best_of_n_weighted", budget, lambda b: b >= 1)
    return independent(problem, budget, scored=True)
