"""What an engine is: the one thing that continues traces.

Engines know traces and tokens, and nothing of strategies, budgets or answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mull.cost import Cost, ModelSize
from mull.errors import MullError
from mull.trace import ThinkingBudget, Trace


@dataclass(frozen=True)
class Job:
    """One trace to continue.

    ``seed`` (64 bits) fixes the randomness of this continuation alone: the result
    must not depend on the other jobs of a call. ``steps`` caps the number of steps
    sampled (None: to the end), ``max_tokens`` that of tokens sampled in this job, whatever
    the trace's length before. ``temperature`` 0 is greedy. ``thinking`` is the budget of a thinking
    model's reasoning, which is beside ``max_tokens``; it counts where the trace begins.
    """

    trace: Trace
    steps: int | None
    temperature: float
    seed: int
    max_tokens: int
    thinking: ThinkingBudget | None = None


@dataclass(frozen=True)
class Continuation:
    """What became of a job: the longer trace, and what it cost (``generations`` 0).

    A failure is a trace with ``finish="error"`` and a message, never an exception.
    """

    trace: Trace
    cost: Cost


class Engine(Protocol):
    """Continues traces. ``name`` identifies model and settings in records."""

    @property
    def name(self) -> str:
        """Model and settings, as recorded."""
        ...

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        ...

    @property
    def batching(self) -> Literal["together", "apart"]:
        """ "together": give it all jobs in flight in one call; "apart": as they come."""
        ...

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Continue every job's trace; one result a job, in order.

        Each job ends at its ``steps``-th step end, at the model's own end
        (finish "stop"), or at ``max_tokens`` (finish "length").
        """
        ...


def refuse_thinking(jobs: Sequence[Job], name: str) -> None:
    """:class:`MullError` if a job has a budget for thinking; for engines whose models do not think."""
    if any(job.thinking is not None for job in jobs):
        raise MullError(
            f"{name} is not known to think, and a budget for its thinking was asked for; use a strategy "
            'without one, or name the model with thinking = "<think>...</think>"'
        )
