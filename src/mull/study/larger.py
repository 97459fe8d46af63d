"""The larger model's answers, decoded greedily, as a frame; or those of them that had failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import polars as pl

from mull.engines.base import Job
from mull.errors import settled
from mull.mishaps import checked, mishap
from mull.problems import Problem
from mull.study import store
from mull.study.config import Study
from mull.study.failures import asked
from mull.study.judging import judge
from mull.study.models import Models, small
from mull.trace import Trace


def answers(models: Models, study: Study, problems: Sequence[Problem]) -> pl.DataFrame:
    """What the larger model answers to some problems."""
    return asyncio.run(rows(models, study, problems))


async def rows(
    models: Models, study: Study, problems: Sequence[Problem], before: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The rows for some problems; those of ``before`` that had not failed are kept."""
    engine = models.larger
    assert engine is not None, "a unit of the larger model has one"
    found: dict[str, dict[str, Any]] = {}
    if before is not None:
        found = {r["problem"]: r for r in before.filter(pl.col("failed").is_null()).to_dicts()}
    jobs = [Job(Trace(p), None, 0.0, 0, study.max_tokens) for p in problems if p.id not in found]
    own = small(engine)
    for job, made in zip(jobs, await asked(engine, jobs), strict=True):
        trace, cost = checked(job, made.trace), made.cost
        why = mishap(trace, study.max_tokens)
        prompt = cost.prompt_tokens if own is None else len(own.words.prompt(trace.problem.prompt))
        count = cost.completion_tokens if own is None else len(trace.tokens)
        found[trace.problem.id] = {
            "problem": trace.problem.id,
            "finish": trace.finish,
            "tokens": count,
            "text": trace.text,
            "prompt_tokens": prompt,
            "flops": engine.size.flops(max(prompt - 1, 0) + count, 0),
            "error": why,
            "requests": cost.requests,
            "sent_tokens": cost.prompt_tokens,
            "cached_tokens": cost.cached_tokens,
            "failed": why if trace.finish == "error" and not settled(why) else None,
        }
    listed = [found[problem.id] for problem in problems]
    await judge(study.grader, problems, listed)
    schema = store.schema("larger", study.outside)
    return pl.DataFrame([{name: row[name] for name in schema.names()} for row in listed], schema=schema)
