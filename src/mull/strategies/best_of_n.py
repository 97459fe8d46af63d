"""Best-of-N: N independent solutions, the answer of the one scored highest.

The paper's unweighted variant (ICLR appendix, figure 13).
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent


@strategy("best_of_n", selector="best_of_n", verifier="outcome")
def best_of_n(problem: Problem, *, budget: int) -> Plan:
    """N sampled solutions; the answer of the best-scored one.

    Budget: any N from 1 on.
    """
    require("best_of_n", budget, lambda b: b >= 1)
    return independent(problem, budget, scored=True)
