"""Agreement x score: N independent solutions, answers weighed by how many give them and how well they score.

The dual agreement of CodeT (Chen et al. 2022), as its published code has it: an answer weighs the square
root of the number of candidates that give it, times the score of these. It was made for programs, where
the grader's classes are behaviours and the score is the share of the public tests passed; there
``majority`` votes by behaviour alone, ``best_of_n`` takes what passes most tests, and
``best_of_n_weighted`` is agreement x tests without the root.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent


@strategy("agreement", selector="agreement", verifier="outcome")
def agreement(problem: Problem, *, budget: int) -> Plan:
    """N sampled solutions; the answer with the largest root of its votes times mean score.

    Budget: any N from 1 on.
    """
    require("agreement", budget, lambda b: b >= 1)
    return independent(problem, budget, scored=True)
