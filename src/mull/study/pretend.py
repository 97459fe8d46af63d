"""Stand-ins that cost what the real models would: for counting what a strategy is going to ask.

A strategy is run on one made-up problem, against an engine whose solutions all have the mean length
and the mean number of steps and a verifier whose scores are drawn. So requests and tokens are
counted for any strategy there is. Nothing here says anything about accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from mull.cost import Cost, ModelSize
from mull.drive import Driver, Task
from mull.engines.base import Continuation, Job
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a prompt and of a solution, and mean steps of a solution; ``how`` they are known."""

    prompt: float
    solution: float
    steps: float
    how: str

    @property
    def step(self) -> list[int]:
        """The tokens of each step of a made-up solution."""
        count = max(1, round(self.steps))
        whole = max(count, round(self.solution))
        return [whole // count + (i < whole % count) for i in range(count)]


@dataclass(frozen=True)
class PretendEngine:
    """An engine of mean solutions. ``own``: it keeps what it has read, as mull's own engine does."""

    lengths: Lengths
    size: ModelSize
    own: bool
    name: str = "pretend"
    batching: Literal["together", "apart"] = "apart"

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Every job continued by mean steps."""
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Continuation:
        trace, tokens = job.trace, self.lengths.step
        at = len(trace.steps)
        stop = len(tokens) if job.steps is None else min(len(tokens), at + job.steps)
        steps = tuple(
            Step(f"step {job.seed}\n" if i < len(tokens) - 1 else f"Answer: {job.seed % 5}", (0,) * tokens[i])
            for i in range(at, stop)
        )
        count = sum(tokens[at:stop])
        earlier = len(trace.earlier) * sum(tokens)
        read = round(self.lengths.prompt) + earlier + len(trace.tokens)
        kept = read if self.own and at else 0
        flops = self.size.flops(max(read - kept - 1, 0) + count, kept) if self.size.parameters else 0.0
        cost = Cost(requests=1, prompt_tokens=read, completion_tokens=count, flops=flops)
        if job.thinking is not None and not at:  # at its longest, and read again with the solution
            long, asked = job.thinking.tokens, job.thinking.waits + 1
            more = self.size.flops(long, read) if self.size.parameters else 0.0
            cost += Cost(
                requests=asked, prompt_tokens=asked * read + long, completion_tokens=long, flops=more
            )
        return Continuation(trace.then(steps, "stop" if stop == len(tokens) else None), cost)


@dataclass(frozen=True)
class PretendVerifier:
    """A verifier of drawn scores. ``own``: it reads only what is new of a growing trace."""

    lengths: Lengths
    size: ModelSize
    own: bool
    name: str = "pretend"

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """A drawn score a step."""
        found = []
        for trace in traces:
            draw = Random(trace.text)
            new = len(trace.steps[-1].tokens) if self.own else round(self.lengths.prompt) + len(trace.tokens)
            flops = self.size.flops(new, 0) if self.size.parameters else 0.0
            scores = Scores(tuple(draw.random() for _ in trace.steps))
            found.append(Verdict(scores, Cost(verifier_tokens=new, verifier_flops=flops)))
        return found


def asked(arm: Arm, engine: PretendEngine, verifier: PretendVerifier, max_tokens: int) -> Cost:
    """What an arm takes on one problem of mean solutions."""
    driver = Driver(engine, verifier, seed=0, max_tokens=max(max_tokens, sum(engine.lengths.step) + 1))
    (result,) = driver.run([Task(Problem("pretend", "What is it?"), arm)])
    return result.cost
