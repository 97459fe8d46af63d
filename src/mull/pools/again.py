"""Recording a chunk of a pool with models outside mull: problem by problem, and only what is missing.

A sample that is there and lacks a score is scored again, not sampled again. The module makes rows; it
writes no file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from mull.engines.base import Continuation, Engine, Job
from mull.engines.small import SmallEngine
from mull.errors import MullError, settled
from mull.mishaps import checked, flaw, mishap
from mull.pools.schema import to_frame
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study.failures import AsideEngine, AsideVerifier, Failures, Watched, WatchedVerifier
from mull.study.judging import judge
from mull.study.thinking import thinking_of, thinking_row
from mull.trace import Step, Trace
from mull.verifiers.base import Verdict, Verifier
from mull.verifiers.small import SmallVerifier

if TYPE_CHECKING:
    from mull.pools.record import Recording

#: A pool's samples draw the seeds of an arm of one generation.
_ONE = Arm("single", 1)
_UNSCORED = "unscored by "
Row = dict[str, Any]
Key = tuple[str, int]


def jobs(recording: Recording, wanted: Sequence[tuple[Problem, int]]) -> list[Job]:
    """The jobs of samples, each with its seed."""
    return [
        Job(
            Trace(problem),
            None,
            recording.temperature,
            seed_for(recording.seed, problem.id, _ONE, 0, index),
            recording.max_tokens,
        )
        for problem, index in wanted
    ]


def failures(frame: pl.DataFrame) -> list[str]:
    """Why rows failed or are unscored, where asking again may mend it."""
    return [why for row in frame.select("finish", "error").to_dicts() if (why := _lasting(row))]


def _lasting(row: Row) -> str:
    why = row["error"] or ""
    return why if (row["finish"] == "error" or _UNSCORED in why) and not settled(why) else ""


def sampled(
    recording: Recording, problems: Sequence[Problem], before: pl.DataFrame | None
) -> tuple[pl.DataFrame, MullError | None]:
    """The rows of some problems, what is good of ``before`` kept; and a mistake that ends the recording."""
    noted = Failures()
    old = {} if before is None else {(r["problem"], r["sample"]): r for r in before.to_dicts()}
    return asyncio.run(_sampled(recording, problems, old, noted)), noted.fatal


async def _sampled(
    recording: Recording, problems: Sequence[Problem], old: Mapping[Key, Row], noted: Failures
) -> pl.DataFrame:
    own = recording.engine
    engine: Engine = AsideEngine(own) if isinstance(own, SmallEngine) else Watched(own, noted)
    verifiers: dict[str, Verifier] = {
        name: AsideVerifier(v) if isinstance(v, SmallVerifier) else WatchedVerifier(v, noted)
        for name, v in recording.verifiers.items()
    }
    groups = (_problem(recording, engine, verifiers, problem, old) for problem in problems)
    found = await asyncio.gather(*groups)
    return to_frame([row for group in found for row in group], recording.layout)


async def _problem(
    recording: Recording,
    engine: Engine,
    verifiers: Mapping[str, Verifier],
    problem: Problem,
    old: Mapping[Key, Row],
) -> list[Row]:
    """One problem's rows, in order."""
    keys = [(problem.id, i) for i in range(recording.samples)]
    rows = {key: dict(old[key]) for key in keys if key in old and not _lasting(old[key])}
    there = [key for key in keys if key not in rows and key in old and old[key]["finish"] != "error"]
    missing = [key for key in keys if key not in rows and key not in there]
    asked = jobs(recording, [(problem, i) for _, i in missing])
    made = await engine.sample(asked) if asked else []
    traces = [checked(job, found.trace) for job, found in zip(asked, made, strict=True)]
    traces += [
        Trace(
            problem,
            tuple(Step(text, ()) for text in old[key]["steps"]),
            old[key]["finish"],
            thinking=thinking_of(old[key]),
        )
        for key in there
    ]
    verdicts = {name: await scored(verifier, traces) for name, verifier in verifiers.items()}
    for at, key in enumerate((*missing, *there)):
        given = {name: verdicts[name][at] for name in verifiers}
        if at < len(missing):
            rows[key] = row(recording, asked[at], made[at], key[1], given)
        else:
            rows[key] = {**old[key], **_judged(recording, traces[at], given)}
    listed = [rows[key] for key in keys]
    await judge(recording.grader, [problem], listed)
    return listed


async def scored(verifier: Verifier, traces: Sequence[Trace]) -> list[Verdict | None]:
    """A verdict a trace, None where there is nothing to score."""
    found: list[Verdict | None] = [None] * len(traces)
    fit = [i for i, trace in enumerate(traces) if trace.steps and trace.finish != "error"]
    if fit:
        for i, verdict in zip(fit, await verifier.score([traces[i] for i in fit]), strict=True):
            found[i] = verdict
    return found


def _judged(recording: Recording, trace: Trace, verdicts: Mapping[str, Verdict | None]) -> Row:
    """A sample's scores, and what went wrong with it."""
    whys = [mishap(trace, recording.max_tokens)]
    scores: dict[str, float] = {}
    step_scores: dict[str, list[float]] = {}
    for name, verdict in verdicts.items():
        why = "" if verdict is None else flaw(verdict, trace)
        whys.append(why and f"{_UNSCORED}{name}: {why}")
        if verdict is not None and verdict.scores is not None and not why:
            scores[name] = verdict.scores.last
            if name in recording.stepwise and len(verdict.scores.steps) == len(trace.steps):
                step_scores[name] = list(verdict.scores.steps)
    return {"error": "; ".join(filter(None, whys)) or None, "scores": scores, "step_scores": step_scores}


def row(
    recording: Recording, job: Job, made: Continuation, index: int, verdicts: Mapping[str, Verdict | None]
) -> Row:
    """A sample's row, but for its answer."""
    trace, problem = checked(job, made.trace), job.trace.problem
    logprobs = [value for step in trace.steps for value in step.logprobs]
    return {
        "problem": problem.id,
        "sample": index,
        "tokens": made.cost.completion_tokens,
        "text": trace.text,
        "logprob": trace.logprob if logprobs else None,
        "finish": trace.finish,
        "prompt": problem.prompt,
        "gold": problem.gold,
        "meta": json.dumps(dict(problem.meta)) if problem.meta else None,
        "steps": [step.text for step in trace.steps],
        "token_logprobs": logprobs or None,
        **thinking_row(trace),
        **_judged(recording, trace, verdicts),
    }
