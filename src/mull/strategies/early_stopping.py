"""Early-stopping self-consistency: windows of samples, until one is unanimous.

Li et al. 2024 (arXiv 2401.10480): windows do not overlap; when all answers of a window agree, sampling
stops, and all samples drawn so far vote. Uses no verifier.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan, strategy
from mull.strategies.budgets import check_count, require
from mull.strategies.tallies import read
from mull.trace import Sample, Trace


@strategy("early_stopping", selector="majority")
def early_stopping(problem: Problem, *, budget: int, window: int = 5) -> Plan:
    """Windows of samples until all of one agree; the answer most of all samples give.

    A window with a sample without an answer is not unanimous. Budget: the most samples, any
    N from 1 on; the last window takes what is left.
    """
    require("early_stopping", budget, lambda b: b >= 1)
    check_count("early_stopping", "window", window, 1)
    return _windows(problem, budget, window)


def _windows(problem: Problem, budget: int, window: int) -> Plan:
    traces: list[Trace] = []
    while len(traces) < budget:
        made: list[Trace] = yield Sample((Trace(problem),) * min(window, budget - len(traces)), "end")
        traces += made
        answers = yield from read(made)
        if answers[0] is not None and len(set(answers)) == 1:
            break
    return [(trace, None) for trace in traces]
