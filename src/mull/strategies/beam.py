"""Beam search against a process verifier, over reasoning steps.

N beams, M children a survivor, N/M survivors a round (Snell et al. 2024, section 5.2).
How finished, identical, unscored and failed beams are treated: see ``rounds``.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import beam_shape, beams_fit, check_count, check_width, require
from mull.strategies.rounds import search


@strategy("beam", selector="best_of_n_weighted", verifier="process")
def beam(problem: Problem, *, budget: int, width: int | str = 4, max_rounds: int = 40) -> Plan:
    """Beam search over steps; N finals, weighted vote.

    ``width`` M is a number of children or "sqrt" for the root of N; after
    ``max_rounds`` rounds the open beams are continued to the end. Budget: N, a
    multiple of M (for "sqrt" a perfect square from 4 on), or 1.
    """
    check_width("beam", width)
    check_count("beam", "max_rounds", max_rounds, 1)
    require(f"beam(width={width})", budget, lambda b: beams_fit(b, width))
    slots, children = beam_shape("beam", budget, width) if budget > 1 else (1, 1)
    return search(problem, groups=1, slots=slots, width=children, max_rounds=max_rounds)
