"""Computing one unit: the pool's samples with their scores, an arm's run, and so on, as a frame.

A unit starts from empty prefix caches, so what it costs depends on the unit alone and
not on what its worker did before. Sample i of a problem's pool is the same whatever the
pool's size, and sample 0 is what every arm of one generation draws. Where a model is outside
mull and something failed, what there is goes to a file of its own, and the next time only
the rest is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from mull.drive import Result, Task
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.study import chains, larger, pooling, store
from mull.study.config import Study
from mull.study.failures import Failures
from mull.study.models import Models
from mull.study.plan import Unit
from mull.tree import tree


def record(models: Models, study: Study, unit: Unit, place: Path) -> None:
    """Compute a unit and write its shard."""
    if study.outside:
        asyncio.run(record_outside(models, study, unit, place))
        return
    fresh = models.fresh()
    if unit.arm is not None:
        frame = run(fresh, study, unit.arm, unit.problems)
    else:
        compute = {"pool": pool, "chains": chains.attempts, "larger": larger.answers}[unit.kind]
        frame = compute(fresh, study, unit.problems)
    store.write(place / "shards" / unit.file, frame, unit.key)


async def record_outside(models: Models, study: Study, unit: Unit, place: Path) -> pl.DataFrame:
    """Compute a unit, or what had failed of it; its shard is whole, or is written as a failed one.

    Raises the :class:`~mull.errors.MullError` that ends the run, if there is one, after that.
    """
    shards, failures, schema = place / "shards", Failures(), store.schema(unit.kind, True)
    kept = shards / unit.failed
    before = store.read(kept, unit.key, schema) if kept.exists() else None
    watched = models.watched(failures)
    if unit.arm is not None:
        frame = await searched(watched, study, unit.arm, unit.problems, failures, before)
    else:
        compute = {"pool": pooling.rows, "chains": chains.rows, "larger": larger.rows}[unit.kind]
        frame = await compute(watched, study, unit.problems, before)
    store.count_replayed(shards / unit.file, failures.replayed)
    if frame["failed"].null_count() < frame.height:
        store.write(kept, frame, unit.key)
    else:
        store.write(shards / unit.file, frame, unit.key)
        store.remove(kept)
    if failures.fatal is not None:
        raise failures.fatal
    return frame


def pool(models: Models, study: Study, problems: Sequence[Problem]) -> pl.DataFrame:
    """The pool's rows for some problems."""
    return asyncio.run(pooling.rows(models, study, problems))


def run(models: Models, study: Study, arm: Arm, problems: Sequence[Problem]) -> pl.DataFrame:
    """An arm's rows for some problems."""
    results = models.driver(study).run([Task(problem, arm) for problem in problems])
    return pl.DataFrame([_row(result) for result in results], schema=store.RUN)


async def searched(
    models: Models,
    study: Study,
    arm: Arm,
    problems: Sequence[Problem],
    failures: Failures,
    before: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """An arm's rows for some problems with models outside; a problem with a failure is run again whole."""
    rows: dict[str, dict[str, Any]] = {}
    if before is not None:
        rows = {r["problem"]: r for r in before.filter(pl.col("failed").is_null()).to_dicts()}
    tasks = [Task(problem, arm) for problem in problems if problem.id not in rows]
    for result in await models.driver(study).drive(tasks):
        name = result.task.problem.id
        rows[name] = {**_row(result), "failed": failures.of(name)}
    return pl.DataFrame([rows[problem.id] for problem in problems], schema=store.OUTSIDE["arm"])


def _row(result: Result) -> dict[str, Any]:
    candidates = []
    for c in result.candidates:
        score = None if c.scores is None else c.scores.last
        candidates.append({"answer": c.answer, "score": score, "tokens": len(c.trace.tokens)})
    return {
        "problem": result.task.problem.id,
        "arm": result.task.arm.label,
        "budget": result.task.arm.budget,
        "answer": result.selection.answer,
        "correct": bool(result.correct),
        "candidates": candidates,
        **asdict(result.cost),
        "events": list(result.events),
    }


async def record_trees(models: Models, study: Study, wanted: Sequence[Task], place: Path) -> None:
    """Run some tasks again, each from empty caches, and write their search trees.

    Nothing is written if one fails: trees are for looking at, and can wait.
    """
    shown = []
    for task in wanted:
        failures = Failures()
        fresh = models.watched(failures) if study.outside else models.fresh()
        (result,) = await fresh.driver(study, record=True).drive([task])
        if failures.whys or failures.fatal:
            return
        shown.append(as_tree(result))
    store.write_text(place / "trees.json", json.dumps(shown, allow_nan=False) + "\n")


def as_tree(result: Result) -> dict[str, Any]:
    """A recorded result as ``trees.json`` has it."""
    problem = result.task.problem
    return {
        "problem": problem.id,
        "prompt": problem.prompt,
        "gold": problem.gold,
        "arm": str(result.task.arm),
        "answer": result.selection.answer,
        "correct": result.correct,
        "weights": dict(result.selection.weights),
        **tree(result),
    }
