"""Traces: immutable prefixes of steps, and the three things a strategy may ask for.

A trace is data only. It holds no engine state; an engine that caches prefixes
looks them up by the trace's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from mull.errors import MullError
from mull.problems import Problem

#: Why a trace ended: the model's own end, a length cap, the budget, an engine failure.
Finish = Literal["stop", "length", "budget", "error"]
#: Which model continues a trace.
Role = Literal["proposer", "reviser"]
#: What a verifier is asked for: a value a solution, a value a step, a value a solution given earlier ones.
Need = Literal["outcome", "process", "revision"]


@dataclass(frozen=True)
class Step:
    """One reasoning step as sampled: text, token ids, and a log-probability (nats) a token."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Thinking:
    """What a thinking model wrote before its solution.

    ``text`` is what stands between the marks; ``tokens`` is how many were sampled, None where a
    server does not tell them from the solution's. ``waits`` is how often the end was held back, and
    ``cut`` whether it was set at the budget instead of by the model.
    """

    text: str
    tokens: int | None = None
    waits: int = 0
    cut: bool = False


@dataclass(frozen=True)
class ThinkingBudget:
    """How long a model thinks: at most ``tokens``, and its own end held back ``waits`` times.

    Budget forcing (Muennighoff et al. 2025, s1): at ``tokens`` the thinking is closed; where the
    model closes it before, "Wait" takes the end's place. All stretches share ``tokens``.
    """

    tokens: int
    waits: int = 0

    def __post_init__(self) -> None:
        for name, least in (("tokens", 1), ("waits", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise MullError(f"thinking: {name} is a whole number from {least} on, not {value!r}")


@dataclass(frozen=True)
class Trace:
    """A prefix of a solution to one problem; ``finish`` is None while it is open.

    ``error`` says what went wrong when ``finish`` is "error". A revision has the texts of
    ``earlier`` attempts before it, oldest first: what the model is shown beside the problem.
    ``chain`` tells chains of revisions on one problem apart; None is a trace of no chain.
    ``thinking`` stands before the solution and is no part of its ``text``, ``steps`` and ``tokens``:
    no answer is looked for in it, and verifiers see it only where they are told to.
    """

    problem: Problem
    steps: tuple[Step, ...] = ()
    finish: Finish | None = None
    error: str = ""
    earlier: tuple[str, ...] = ()
    chain: int | None = field(default=None, compare=False)
    thinking: Thinking | None = None

    @property
    def open(self) -> bool:
        """Whether the trace can be continued."""
        return self.finish is None

    @property
    def complete(self) -> bool:
        """Whether the model ended the trace itself."""
        return self.finish == "stop"

    @cached_property
    def text(self) -> str:
        """The solution so far."""
        return "".join(step.text for step in self.steps)

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """All sampled token ids so far, the prompt's left out."""
        return tuple(token for step in self.steps for token in step.tokens)

    @property
    def logprob(self) -> float:
        """Summed log-probability of the sampled tokens, in nats."""
        return sum(sum(step.logprobs) for step in self.steps)

    def then(self, steps: tuple[Step, ...], finish: Finish | None, error: str = "") -> Trace:
        """This trace, longer by ``steps``."""
        return replace(self, steps=self.steps + steps, finish=finish, error=error)


@dataclass(frozen=True)
class Sample:
    """A request: continue every trace, to the next step's end or to the solution's end.

    Answered with a list of traces, one for each asked, in order. A trace that
    is not open comes back as it is and costs nothing. ``temperature`` None is the
    driver's; 0 is greedy. ``by`` says which model samples. ``thinking`` is the budget of a
    thinking model's reasoning, beside the solution's own limit; None leaves it to the engine's settings.
    """

    traces: tuple[Trace, ...]
    until: Literal["step", "end"]
    temperature: float | None = None
    by: Role = "proposer"
    thinking: ThinkingBudget | None = None


@dataclass(frozen=True)
class Score:
    """A request: the verifier's values for every trace.

    Answered with a list of :class:`Scores` (or None for a trace that could not be
    scored), one for each asked, in order. With ``lookahead`` k each open trace is
    first rolled out greedily by up to k steps and scored there; the rollout serves
    the score alone and is charged. ``need`` None is what the strategy is registered with.
    """

    traces: tuple[Trace, ...]
    lookahead: int = 0
    need: Need | None = None


@dataclass(frozen=True)
class Read:
    """A request: the answers that finished traces give. It costs nothing.

    Answered with a list of normal forms, None for a trace without an answer, in order.
    """

    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class Scores:
    """A verifier's values for one trace, each in [0, 1]: one a step, in order.

    A verifier of whole solutions gives a single value. Never empty: a trace without
    a value is represented by None where a ``Scores`` is expected.
    """

    steps: tuple[float, ...]

    @property
    def last(self) -> float:
        """The value of the last step."""
        return self.steps[-1]


@dataclass(frozen=True)
class Candidate:
    """A finished trace with its answer (normal form, None if it has none) and its scores."""

    trace: Trace
    answer: str | None
    scores: Scores | None = None
