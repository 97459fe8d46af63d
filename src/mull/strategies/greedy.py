"""Greedy decoding: the model's most likely next token throughout, once.

The paper's reading of the larger model in its FLOPs-matched comparison (section 7).
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent


@strategy("greedy", selector="majority")
def greedy(problem: Problem, *, budget: int) -> Plan:
    """One solution at temperature 0.

    Budget: exactly 1; :class:`BudgetError` otherwise.
    """
    require("greedy", budget, lambda b: b == 1)
    return independent(problem, 1, scored=False, temperature=0.0)
