"""Recording a pool: samples of any engine on any problems, in chunks that a killed run does not lose.

Sample i of a problem depends on the seed, the problem and i alone, as in a study's pool: a larger
pool begins with a smaller one's samples. Chunks lie beside the pool in ``POOL.parts`` until all are
there and become the one file. The module chooses nothing and grades by normal form.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mull.answers import Extract, extract_answer, is_correct
from mull.cost import Cost
from mull.drive import answer_of, checked, flaw, mishap
from mull.engines.base import Continuation, Engine, Job
from mull.errors import MullError
from mull.pools import files
from mull.pools.files import Written
from mull.pools.schema import Info, Layout, to_frame
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study import store
from mull.study.progress import Say, State
from mull.trace import Trace
from mull.verifiers.base import Verdict, Verifier

#: Samples that a chunk takes at most, but a problem at least.
CHUNK = 2048
#: A pool's samples draw the seeds of an arm of one generation.
_ONE = Arm("single", 1)


@dataclass(frozen=True)
class Recording:
    """What is recorded: ``samples`` solutions of each problem by ``engine``, scored by ``verifiers``.

    A verifier's score is the value of the last step; of those named in ``stepwise``, the values of all
    steps are kept as step scores. ``max_tokens`` caps a solution.
    """

    problems: tuple[Problem, ...]
    engine: Engine
    samples: int
    verifiers: Mapping[str, Verifier] = field(default_factory=dict)
    stepwise: tuple[str, ...] = ()
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 256
    extract: Extract = extract_answer

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("max_tokens", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise MullError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 < self.temperature <= 10:
            raise MullError(f"temperature is {self.temperature}; it must be above 0 and at most 10")

    @property
    def layout(self) -> Layout:
        """The pool's columns."""
        return Layout(tuple(self.verifiers), self.stepwise, ("steps", "token_logprobs"))

    @property
    def info(self) -> Info:
        """The pool's metadata."""
        return Info(f"record {self.engine.name}", scales=dict.fromkeys(self.verifiers, "unit"))

    @property
    def key(self) -> str:
        """What is asked, as 16 hex digits."""
        names = {name: verifier.name for name, verifier in self.verifiers.items()}
        what = [self.engine.name, names, self.samples, self.seed, self.temperature, self.max_tokens]
        asked = [[p.id, p.prompt, p.gold] for p in self.problems]
        return hashlib.blake2b(json.dumps([what, asked]).encode(), digest_size=8).hexdigest()

    def chunks(self) -> list[tuple[Problem, ...]]:
        """The problems, cut into units of work."""
        size = max(1, CHUNK // self.samples)
        return [self.problems[at : at + size] for at in range(0, len(self.problems), size)]


def record(recording: Recording, out: Path, say: Say | None = None) -> Written:
    """Record into the file ``out``, or whatever is missing of it; ``say`` is told how far it is.

    Refuses an ``out`` that exists, and the parts of another recording.
    """
    if out.exists():
        raise MullError(f"{out} exists; choose another --out, or delete it to record it again")
    parts = files.parts_of(out)
    _begin(parts, recording, out)
    chunks, schema = recording.chunks(), recording.layout.schema
    paths = [parts / f"part-{at:05d}.parquet" for at in range(len(chunks))]
    began, made = time.monotonic(), 0
    with store.lock(parts):
        store.sweep(parts)
        have = [path.exists() for path in paths]
        for path, there in zip(paths, have, strict=True):
            if there:
                store.read(path, recording.key, schema)
        left = sum(len(chunk) for chunk, there in zip(chunks, have, strict=True) if not there)
        for at, (chunk, path) in enumerate(zip(chunks, paths, strict=True)):
            if say is not None:
                note = f"{recording.samples} samples of each of {len(chunk)} problems"
                say(State(sum(have), len(chunks), made, max(left, 1), time.monotonic() - began, note))
            if not have[at]:
                store.write(path, sampled(recording, chunk), recording.key)
                have[at], made = True, made + len(chunk)
        files.merge(paths, out, recording.info)
    shutil.rmtree(parts, ignore_errors=True)
    if say is not None:
        say(State(len(chunks), len(chunks), 1, 1, time.monotonic() - began, ""))
    return Written(len(recording.problems) * recording.samples, len(recording.problems))


def _begin(parts: Path, recording: Recording, out: Path) -> None:
    """Make the parts' folder, or recognise it as this recording's."""
    mark = parts / "recording.json"
    try:
        parts.mkdir(parents=True, exist_ok=True)
        found = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else None
    except (OSError, ValueError) as error:
        raise MullError(f"cannot use {parts}: {error}") from None
    if found is None:
        store.write_text(mark, json.dumps({"key": recording.key, "engine": recording.engine.name}) + "\n")
    elif not isinstance(found, dict) or found.get("key") != recording.key:
        raise MullError(
            f"{parts} holds the parts of another recording; record with the same settings, "
            f"choose another --out, or delete {parts}"
        )


def sampled(recording: Recording, problems: Sequence[Problem]) -> pl.DataFrame:
    """The rows of some problems, in the recording's layout."""
    jobs = [
        Job(
            Trace(problem),
            None,
            recording.temperature,
            seed_for(recording.seed, problem.id, _ONE, 0, index),
            recording.max_tokens,
        )
        for problem in problems
        for index in range(recording.samples)
    ]
    made, verdicts = asyncio.run(_ask(recording, jobs))
    rows = []
    for at, (job, found) in enumerate(zip(jobs, made, strict=True)):
        given = {name: verdicts[name][at] for name in recording.verifiers}
        rows.append(_row(recording, job, found, at % recording.samples, given))
    return to_frame(rows, recording.layout)


async def _ask(
    recording: Recording, jobs: list[Job]
) -> tuple[list[Continuation], dict[str, list[Verdict | None]]]:
    """The engine's continuations, and each verifier's verdicts on those that can be scored."""
    try:
        made = await recording.engine.sample(jobs)
    except MullError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        made = [Continuation(job.trace.then((), "error", why), Cost()) for job in jobs]
    traces = [checked(job, found.trace) for job, found in zip(jobs, made, strict=True)]
    fit = [i for i, trace in enumerate(traces) if trace.steps and trace.finish != "error"]
    verdicts: dict[str, list[Verdict | None]] = {}
    for name, verifier in recording.verifiers.items():
        verdicts[name] = [None] * len(traces)
        for i, verdict in zip(fit, await verifier.score([traces[i] for i in fit]), strict=True):
            verdicts[name][i] = verdict
    return made, verdicts


def _row(
    recording: Recording, job: Job, made: Continuation, index: int, verdicts: Mapping[str, Verdict | None]
) -> dict[str, Any]:
    trace, problem = checked(job, made.trace), job.trace.problem
    answer = answer_of(trace, recording.extract)
    logprobs = [value for step in trace.steps for value in step.logprobs]
    whys = [mishap(trace, recording.max_tokens)]
    scores: dict[str, float] = {}
    step_scores: dict[str, list[float]] = {}
    for name, verdict in verdicts.items():
        why = "" if verdict is None else flaw(verdict, trace)
        whys.append(why and f"unscored by {name}: {why}")
        if verdict is not None and verdict.scores is not None and not why:
            scores[name] = verdict.scores.last
            if name in recording.stepwise and len(verdict.scores.steps) == len(trace.steps):
                step_scores[name] = list(verdict.scores.steps)
    return {
        "problem": problem.id,
        "sample": index,
        "answer": answer,
        "correct": None if problem.gold is None else is_correct(answer, problem.gold),
        "tokens": made.cost.completion_tokens,
        "text": trace.text,
        "logprob": trace.logprob if logprobs else None,
        "finish": trace.finish,
        "error": "; ".join(filter(None, whys)) or None,
        "prompt": problem.prompt,
        "gold": problem.gold,
        "meta": json.dumps(dict(problem.meta)) if problem.meta else None,
        "steps": [step.text for step in trace.steps],
        "token_logprobs": logprobs or None,
        "scores": scores,
        "step_scores": step_scores,
    }
