"""Budget forcing: how long a thinking model thinks, as an arm's parameters.

The thinking is closed at ``tokens`` tokens, and where the model would close it before, its end
is held back ``waits`` times and "Wait" put in its place (Muennighoff et al. 2025, s1). With
several solutions their answers vote, so that a study can weigh longer thinking against more
samples. What closes a thinking is the prompt format's; the engine does the forcing.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import require
from mull.strategies.sampling import independent
from mull.trace import ThinkingBudget


@strategy("think", selector="majority")
def think(problem: Problem, *, budget: int, tokens: int = 1024, waits: int = 0) -> Plan:
    """N solutions, the thinking before each held to a budget; the answer most of them give.

    ``tokens`` of thinking at most; its end is held back ``waits`` times. Budget: any N from 1 on.
    """
    return _plan("think", problem, budget, tokens, waits, scored=False)


@strategy("think_weighted", selector="best_of_n_weighted", verifier="outcome")
def think_weighted(problem: Problem, *, budget: int, tokens: int = 1024, waits: int = 0) -> Plan:
    """N solutions, the thinking before each held to a budget; scores are summed by answer.

    ``tokens`` of thinking at most; its end is held back ``waits`` times. Budget: any N from 1 on.
    """
    return _plan("think_weighted", problem, budget, tokens, waits, scored=True)


def _plan(what: str, problem: Problem, budget: int, tokens: int, waits: int, *, scored: bool) -> Plan:
    thinking = ThinkingBudget(tokens, waits)
    require(what, budget, lambda b: b >= 1)
    return independent(problem, budget, scored=scored, thinking=thinking)
