"""Recording a pool: samples of any engine on any problems, in chunks that a killed run does not lose.

Sample i of a problem depends on the seed, the problem and i alone, as in a study's pool: a larger
pool begins with a smaller one's samples. Chunks lie beside the pool in ``POOL.parts`` until all are
there and become the one file. Of engines and verifiers outside mull something may fail: then the
chunk is kept beside the others with what there is of it, and recording again asks for the rest.
The module chooses nothing.
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

from mull.cost import Cost
from mull.engines.base import Continuation, Engine, Job
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.mishaps import checked
from mull.models import known_as
from mull.pools import again, files
from mull.pools.files import Written
from mull.pools.schema import Info, Layout, to_frame
from mull.problems import Problem
from mull.study import store
from mull.study.failures import reasons
from mull.study.judging import judge
from mull.study.progress import Say, State
from mull.verifiers.base import Verdict, Verifier
from mull.verifiers.small import SmallVerifier

#: Samples that a chunk takes at most, but a problem at least.
CHUNK = 2048


@dataclass(frozen=True)
class Recording:
    """What is recorded: ``samples`` solutions of each problem by ``engine``, scored by ``verifiers``.

    A verifier's score is the value of the last step; of those named in ``stepwise``, the values of all
    steps are kept as step scores. ``max_tokens`` caps a solution. ``grader`` says which answers are
    equal (:func:`mull.grading.grader`); None is mull's own normal form.
    """

    problems: tuple[Problem, ...]
    engine: Engine
    samples: int
    verifiers: Mapping[str, Verifier] = field(default_factory=dict)
    stepwise: tuple[str, ...] = ()
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 256
    grader: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("max_tokens", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise MullError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 < self.temperature <= 10:
            raise MullError(f"temperature is {self.temperature}; it must be above 0 and at most 10")

    @property
    def layout(self) -> Layout:
        """The pool's columns."""
        # mull's own engine does not think; a server's model may, asked or not.
        optional: tuple[str, ...] = ("steps", "token_logprobs")
        if not isinstance(self.engine, SmallEngine):
            optional += ("thinking", "thinking_tokens")
        return Layout(tuple(self.verifiers), self.stepwise, optional)

    @property
    def info(self) -> Info:
        """The pool's metadata."""
        return Info(f"record {known_as(self.engine.name)}", scales=dict.fromkeys(self.verifiers, "unit"))

    @property
    def key(self) -> str:
        """What is asked, as 16 hex digits; a server's address does not count."""
        names = {name: known_as(verifier.name) for name, verifier in self.verifiers.items()}
        engine = known_as(self.engine.name)
        what: list[Any] = [engine, names, self.samples, self.seed, self.temperature, self.max_tokens]
        what += [self.grader] if self.grader else []
        asked = [[p.id, p.prompt, p.gold] for p in self.problems]
        return hashlib.blake2b(json.dumps([what, asked]).encode(), digest_size=8).hexdigest()

    @property
    def outside(self) -> bool:
        """Whether a model is not run by mull itself, so that asking it may fail."""
        own = [isinstance(v, SmallVerifier) for v in self.verifiers.values()]
        return not isinstance(self.engine, SmallEngine) or not all(own)

    def chunks(self) -> list[tuple[Problem, ...]]:
        """The problems, cut into units of work."""
        size = max(1, CHUNK // self.samples)
        return [self.problems[at : at + size] for at in range(0, len(self.problems), size)]


def record(recording: Recording, out: Path, say: Say | None = None) -> Written:
    """Record into the file ``out``, or whatever is missing of it; ``say`` is told how far it is.

    Refuses an ``out`` that exists, and the parts of another recording. Where models outside mull failed
    :class:`MullError` says how often and why; what there is is kept, and is not asked for again.
    """
    if out.exists():
        raise MullError(f"{out} exists; choose another --out, or delete it to record it again")
    parts = files.parts_of(out)
    _begin(parts, recording, out)
    chunks, schema = recording.chunks(), recording.layout.schema
    paths = [parts / f"part-{at:05d}.parquet" for at in range(len(chunks))]
    began, made = time.monotonic(), 0
    failed: list[str] = []
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
                have[at] = _record_part(recording, chunk, path, failed)
                made += len(chunk)
        if failed:
            whys = "; ".join(f"{count} times: {why}" for why, count in reasons(failed)[:3])
            total = len(recording.problems) * recording.samples
            raise MullError(
                f"{out} is incomplete: {len(failed)} of {total} samples "
                f"failed or are unscored ({whys}); the same command tries these again"
            )
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
        store.write_text(
            mark, json.dumps({"key": recording.key, "engine": known_as(recording.engine.name)}) + "\n"
        )
    elif not isinstance(found, dict) or found.get("key") != recording.key:
        raise MullError(
            f"{parts} holds the parts of another recording; record with the same settings, "
            f"choose another --out, or delete {parts}"
        )


def _record_part(recording: Recording, chunk: Sequence[Problem], path: Path, failed: list[str]) -> bool:
    """Record a chunk, or what is missing of it; False, with the reasons in ``failed``, if something is."""
    if not recording.outside:
        store.write(path, sampled(recording, chunk), recording.key)
        return True
    kept = path.with_suffix(".failed")
    before = store.read(kept, recording.key, recording.layout.schema) if kept.exists() else None
    frame, fatal = again.sampled(recording, chunk, before)
    whys = again.failures(frame)
    store.write(kept if whys else path, frame, recording.key)
    if fatal is not None:
        raise fatal
    if not whys:
        store.remove(kept)
    failed += whys
    return not whys


def sampled(recording: Recording, problems: Sequence[Problem]) -> pl.DataFrame:
    """The rows of some problems, in the recording's layout."""
    jobs = again.jobs(recording, [(problem, i) for problem in problems for i in range(recording.samples)])
    rows = asyncio.run(_rows(recording, jobs, problems))
    return to_frame(rows, recording.layout)


async def _rows(recording: Recording, jobs: list[Job], problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """A row a job, judged."""
    made, verdicts = await _ask(recording, jobs)
    rows = []
    for at, (job, found) in enumerate(zip(jobs, made, strict=True)):
        given = {name: verdicts[name][at] for name in recording.verifiers}
        rows.append(again.row(recording, job, found, at % recording.samples, given))
    await judge(recording.grader, problems, rows)
    return rows


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
    verdicts = {name: await again.scored(v, traces) for name, v in recording.verifiers.items()}
    return made, verdicts
