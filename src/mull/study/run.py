"""Recording a study: whatever of its plan its folder does not hold yet.

The same call starts a study, goes on with it or finds it finished, and what is recorded is
the same to the last bit however often it was cut off. The module concludes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.problems import Problem
from mull.study import crew, folder, outside, present, store
from mull.study.config import FEWEST, Study, content_hash, load_problems
from mull.study.folder import Recorded
from mull.study.progress import Say, State

#: Workers that are started unless more are asked for.
MOST_WORKERS = 16


def record(study: Study, out: Path, *, workers: int | None = None, say: Say | None = None) -> Recorded:
    """Record ``study`` in folder ``out``, or what is missing of it there.

    Refuses a folder that holds anything else, and stops at a damaged shard. ``workers``
    defaults to the cores there are (one where a model is outside mull: it has many requests under
    way); ``say`` is told how far it is, every second or so. With models outside something may
    fail: then the units that it touched are missing still (:mod:`mull.study.incomplete`).
    """
    began = time.monotonic()
    if workers is not None and workers < 1:
        raise MullError(f"workers is {workers}; it must be at least 1")

    def tell(done: int, total: int, work: float, all_work: float, note: str) -> None:
        if say is not None:
            say(State(done, total, work, all_work, time.monotonic() - began, note))

    tell(0, 1, 0, 1, "reading problems and models")
    problems = problems_of(study)
    asked = asyncio.run(present.named(study))
    recorded = _begin(out, asked, problems, content_hash(asked, problems))
    with store.lock(out):
        store.sweep(out)
        for unit in recorded.units:
            if recorded.shard(unit).exists():
                recorded.read(unit)
                store.remove(recorded.shard(unit).with_name(unit.failed))  # left by a kill just then
        _fill(recorded, asked, workers, tell)
        tell(len(recorded.units), len(recorded.units) + 1, 1, 1, "analysing")
    return recorded


def problems_of(study: Study) -> tuple[Problem, ...]:
    """The study's problems; :class:`MullError` if they are too few."""
    source = study.problems
    problems = load_problems(**vars(source))
    if len(problems) < FEWEST:
        raise MullError(f"{len(problems)} problems are too few; a study needs at least {FEWEST}")
    return problems


def _begin(out: Path, study: Study, problems: Sequence[Problem], key: str) -> Recorded:
    """The folder, made or recognised, once every server that is needed is there."""
    if (out / "study.toml").exists():
        found = folder.begin(out, study, {}, problems, key)
        if found.missing():
            asyncio.run(present.check(study))
        return found
    from mull.study import models

    asyncio.run(present.check(study))
    return folder.begin(out, study, models.names(study), problems, key)


def _fill(recorded: Recorded, study: Study, workers: int | None, tell: Any) -> None:
    """Compute what is missing: units first, then the trees, which need the pool."""
    missing = recorded.missing()
    trees = recorded.path / "trees.json"
    if not missing and trees.exists():
        return
    from mull.study.config import to_toml

    first = {"folder": str(recorded.path.resolve()), "study": to_toml(study)}
    total, all_work = len(recorded.units), sum(unit.work for unit in missing) * 1.001
    known, work, note = total - len(missing), 0.0, "starting"
    size, depth = min(workers or min(crew.cores(), MOST_WORKERS), max(len(missing), 1)), 1
    if study.outside:
        size, depth = 1, outside.MOST
    with crew.crew(size, first, depth) as members:
        tell(known, total + 1, 0.0, all_work, note)
        note = missing[0].label if missing else note
        for index in members.work([{"unit": unit.file} for unit in missing]):
            if index is not None:
                known, work, note = known + 1, work + missing[index].work, missing[index].label
            tell(known, total + 1, work, all_work, note)
        if not trees.exists() and not recorded.missing():
            tell(known, total + 1, work, all_work, "search trees")
            for _ in members.work([{"trees": True}]):
                tell(known, total + 1, work, all_work, "search trees")
