"""What an engine is: the one thing that continues traces.

Engines know traces and tokens, and nothing of strategies, budgets or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

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

    A failure is a trace with ``finish="error"`` and a message, never an exception. ``replayed``: it
    was given from a record, and cost that when it was made.
    """

    trace: Trace
    cost: Cost
    replayed: bool = False


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


class Around:
    """What engines around another have in common: they go by its name, and are asked as it is."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner engine's."""
        return self.inner.name

    @property
    def size(self) -> ModelSize:
        """The inner engine's."""
        return self.inner.size

    @property
    def batching(self) -> Literal["together", "apart"]:
        """The inner engine's."""
        return self.inner.batching


def refuse_thinking(jobs: Sequence[Job], name: str) -> None:
    """:class:`MullError` if a job has a budget for thinking; for engines whose models do not think."""
    if any(job.thinking is not None for job in jobs):
        raise MullError(
            f"{name} is not known to think, and a budget for its thinking was asked for; use a strategy "
            'without one, or name the model with thinking = "<think>...</think>"'
        )


#: Is told the place of a job in its call, and its result, as soon as there is one.
Told = Callable[[int, Continuation], None]


@runtime_checkable
class Telling(Protocol):
    """An engine that can tell of each result when it comes, and not only of all at the end."""

    async def sample_telling(self, jobs: Sequence[Job], told: Told) -> list[Continuation]:
        """What :meth:`Engine.sample` gives; every result is told of once, failures too."""
        ...


def at_once(job: Job) -> Continuation | None:
    """The result of a job that needs no model: nothing to continue or wanted, or no such temperature."""
    trace = job.trace
    if not trace.open:
        return Continuation(trace, Cost())
    if not job.temperature >= 0:
        why = f"temperature must be at least 0, not {job.temperature}"
        return Continuation(trace.then((), "error", why), Cost(requests=1))
    if job.max_tokens <= 0:
        return Continuation(trace.then((), "length"), Cost(requests=1))
    if job.steps is not None and job.steps <= 0:
        return Continuation(trace, Cost(requests=1))
    return None
