"""Lookahead search: beam search whose open beams are scored after a greedy rollout.

Each open beam is rolled out by up to k steps at temperature 0 and scored there; the
rollout serves the score alone (Snell et al. 2024, section 5.2). With k = 0 it is beam
search, by the same code.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import beam_shape, beams_fit, check_count, check_width, require
from mull.strategies.rounds import search


@strategy("lookahead", selector="best_of_n_weighted", verifier="process")
def lookahead(
    problem: Problem, *, budget: int, k: int = 1, width: int | str = 4, max_rounds: int = 40
) -> Plan:
    """Beam search with greedy rollouts of k steps before scoring.

    Costs beams x (k + 1) generations, so a budget B runs B / (k + 1) beams; that
    must be whole and fit ``width`` as in beam search. Budget 1 is one sampled solution;
    a larger budget never runs a single beam, which would leave k / (k + 1) of it unspent.
    """
    check_count("lookahead", "k", k, 0)
    check_width("lookahead", width)
    check_count("lookahead", "max_rounds", max_rounds, 1)

    def fits(b: int) -> bool:
        return b == 1 or (b % (k + 1) == 0 and b > k + 1 and beams_fit(b // (k + 1), width))

    require(f"lookahead(k={k}, width={width})", budget, fits)
    beams = budget // (k + 1) if budget > 1 else 1
    slots, children = beam_shape("lookahead", beams, width) if beams > 1 else (1, 1)
    return search(problem, groups=1, slots=slots, width=children, max_rounds=max_rounds, lookahead=k)
