"""Majority vote (self-consistency): N independent solutions, the commonest answer.

Uses no verifier.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent


@strategy("majority", selector="majority")
def majority(problem: Problem, *, budget: int) -> Plan:
    """N sampled solutions; the answer most of them give.

    Budget: any N from 1 on.
    """
    require("majority", budget, lambda b: b >= 1)
    return independent(problem, budget, scored=False)
