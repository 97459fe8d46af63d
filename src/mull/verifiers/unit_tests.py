"""Unit tests as a verifier: the share of a problem's public tests that the program in a solution passes.

Programs run in the sandbox of :mod:`mull.execution`; only what a vote may look at is run, never the
official tests that the gold answer holds. A finished solution gets one value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mull.cost import Cost
from mull.execution.grader import ProgramGrader
from mull.trace import Need, Scores, Trace
from mull.verifiers.base import Verdict


class UnitTests:
    """Implements :class:`mull.verifiers.base.Verifier`; ``grader`` holds the sandbox and its limits."""

    kind: Need = "outcome"
    name = "unit tests"

    def __init__(self, grader: ProgramGrader | None = None) -> None:
        self.grader = grader or ProgramGrader()

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order; programs run in a thread beside the event loop."""
        return await asyncio.to_thread(lambda: [self._one(trace) for trace in traces])

    def _one(self, trace: Trace) -> Verdict:
        if not trace.text.strip():
            return Verdict(None, Cost(), "the solution is empty")
        (share,) = self.grader.passed(trace.problem, [trace.text])
        if share is None:
            return Verdict(None, Cost(), f"problem {trace.problem.id!r} has no public tests")
        return Verdict(Scores((share,)))
