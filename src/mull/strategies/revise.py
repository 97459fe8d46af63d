"""Sequential revisions: chains of attempts, the answer chosen by a verifier or by majority.

The paper's second mechanism (Snell et al. 2024, section 6): at a budget N the ratio of
sequential to parallel compute is set by the number of chains.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.revisions import Chain, revised


@strategy("revise", selector="hierarchical", verifier="revision", reviser=True)
def revise(problem: Problem, *, budget: int, chains: int = 1, length: int = 0) -> Plan:
    """Chains of revisions; a verifier votes within each chain, then over the chains.

    ``chains`` x ``length`` attempts; ``length`` 0 is whatever the budget N allows, N / chains.
    Budget: a multiple of ``chains``; with a ``length`` their product.
    """
    return _plan("revise", problem, budget, chains, length, scored=True)


@strategy("revise_majority", selector="majority", reviser=True)
def revise_majority(problem: Problem, *, budget: int, chains: int = 1, length: int = 0) -> Plan:
    """Chains of revisions; all attempts of all chains vote alike.

    ``chains`` x ``length`` attempts; ``length`` 0 is whatever the budget N allows, N / chains.
    Budget: a multiple of ``chains``; with a ``length`` their product.
    """
    return _plan("revise_majority", problem, budget, chains, length, scored=False)


def _plan(what: str, problem: Problem, budget: int, chains: int, length: int, *, scored: bool) -> Plan:
    check_count(what, "chains", chains, 1)
    check_count(what, "length", length, 0)
    name = f"{what}(chains={chains}, length={length})" if length else f"{what}(chains={chains})"
    require(name, budget, lambda b: b == chains * length if length else b >= chains and b % chains == 0)
    return revised(problem, [Chain(c) for c in range(chains)], budget, scored=scored)
