"""pass@1: one solution at the driver's temperature, nothing to choose from.

Every other strategy at a budget of one generation is this one.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent


@strategy("single", selector="majority")
def single(problem: Problem, *, budget: int) -> Plan:
    """One sampled solution (pass@1).

    Budget: exactly 1; :class:`BudgetError` otherwise.
    """
    require("single", budget, lambda b: b == 1)
    return independent(problem, 1, scored=False)
