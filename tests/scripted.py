"""A scripted engine and verifier: solutions made up from the job's seed, no model anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from random import Random

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict


def digest(*parts: object) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=6).digest(), "big")


@dataclass
class ScriptedEngine:
    """Steps of 1-3 made-up tokens; each step after ``least`` is the last with chance 1/3."""

    batching: str = "together"
    least: int = 1
    kinds: int = 3  # how many different steps there are: few make duplicates likely
    fails: Callable[[Job], object] = lambda job: None  # an exception to raise, or a finish, or seconds
    name: str = "scripted"
    size: ModelSize = field(default_factory=lambda: ModelSize(100))
    tokens: int = 0
    calls: list[list[Job]] = field(default_factory=list)

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        self.calls.append(list(jobs))
        for fault in map(self.fails, jobs):
            if isinstance(fault, Exception):
                raise fault
            if isinstance(fault, float):
                await asyncio.sleep(fault)
        return [self.one(job) for job in jobs]

    def one(self, job: Job) -> Continuation:
        trace, used = job.trace, 0
        fault = self.fails(job)
        if fault == "empty":
            return Continuation(trace, Cost(requests=1))
        if fault == "error":
            return Continuation(trace.then((), "error", "scripted failure"), Cost(requests=1))
        seed = job.seed if job.temperature else digest(trace.problem.id, trace.tokens)
        random = Random(seed)
        goal = len(trace.steps) + (job.steps or 1000)
        while trace.open and len(trace.steps) < goal:
            kind, last = random.randrange(self.kinds), random.random() < 1 / 3
            last = last and len(trace.steps) >= self.least
            text = f"Answer: {kind}\n" if last else f"think {kind}\n"
            ids = (10 + kind,) * random.randint(1, 3) + ((1,) if last else ())
            finish = "stop" if last else None
            if used + len(ids) >= job.max_tokens:
                ids, text, finish = ids[: job.max_tokens - used], text[:-1], "length"
            trace = trace.then((Step(text, ids, (-0.5,) * len(ids)),), finish)
            used += len(ids)
        if fault == "length" and trace.steps:
            trace = replace(trace, finish="length")
        self.tokens += used
        return Continuation(trace, Cost(requests=1, completion_tokens=used))


@dataclass
class ScriptedVerifier:
    """A value a step, made up from the prefix; ``value`` maps (prefix, made-up value) to what is said."""

    value: Callable[[Trace, float], object] = lambda trace, made_up: made_up
    name: str = "scripted"
    tokens: int = 0
    seen: list[Trace] = field(default_factory=list)

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        self.seen.extend(traces)
        return [self.one(trace) for trace in traces]

    def one(self, trace: Trace) -> Verdict:
        self.tokens += len(trace.tokens)
        values = []
        for n in range(1, len(trace.steps) + 1):
            prefix = replace(trace, steps=trace.steps[:n])
            said = self.value(prefix, digest(prefix.tokens) % 1000 / 1000)
            if isinstance(said, Exception):
                raise said
            if said is None:
                return Verdict(None, Cost(verifier_tokens=len(trace.tokens)), "no step tag")
            values.append(float(said))  # type: ignore[arg-type]
        return Verdict(Scores(tuple(values)), Cost(verifier_tokens=len(trace.tokens)))
