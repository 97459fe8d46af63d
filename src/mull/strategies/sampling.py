"""What the sampling strategies share: solutions drawn side by side, scored or not.

Nothing is pruned here, and solutions never see each other.
"""

from __future__ import annotations

from mull.problems import Problem
from mull.strategies.base import Plan
from mull.trace import Sample, Score, ThinkingBudget, Trace


def independent(
    problem: Problem,
    n: int,
    *,
    scored: bool,
    temperature: float | None = None,
    thinking: ThinkingBudget | None = None,
) -> Plan:
    """``n`` independent solutions to the end; their finals, with scores if ``scored``.

    Costs n generations. ``temperature`` None is the driver's; ``thinking`` None the engine's.
    """
    traces: list[Trace] = yield Sample((Trace(problem),) * n, "end", temperature, thinking=thinking)
    if not scored:
        return [(trace, None) for trace in traces]
    scores = yield Score(tuple(traces))
    return list(zip(traces, scores, strict=True))
