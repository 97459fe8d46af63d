"""Diverse verifier tree search: independent subtrees, each keeping its best beam.

Not in the paper: from Hugging Face's search-and-learn (Beeching et al. 2024). Subtrees
never compete, so the finals stay diverse at large budgets.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import beams_fit, check_count, require
from mull.strategies.rounds import search


@strategy("dvts", selector="best_of_n_weighted", verifier="process")
def dvts(problem: Problem, *, budget: int, width: int = 4, max_rounds: int = 40) -> Plan:
    """N/M independent subtrees, each expanding its best step M times; weighted vote.

    ``width`` M is the number of children; all subtrees' finals vote. Budget: N, a
    multiple of M, or 1.
    """
    check_count("dvts", "width", width, 1)
    check_count("dvts", "max_rounds", max_rounds, 1)
    require(f"dvts(width={width})", budget, lambda b: beams_fit(b, width))
    groups = budget // width if budget > 1 else 1
    return search(problem, groups=groups, slots=1, width=width if budget > 1 else 1, max_rounds=max_rounds)
