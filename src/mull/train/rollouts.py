"""Monte-Carlo step labels by any engine, on any problems, as a pool with labelled steps.

As for the small world (:mod:`mull.train.labels`): solutions are sampled and those without an answer
dropped; from the end of every step ``rollouts`` continuations are sampled, and the step's label is
the share that reach the right answer; the last step's is 0 or 1 (after Math-Shepherd; Snell et al.
2024, appendix D). What is done is kept in a journal, a line a problem, so that a killed
labelling goes on, and problems at which a server failed are asked again. Nothing is trained here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mull import grading
from mull.answers import extract_answer, is_correct
from mull.cost import Cost
from mull.engines.base import Continuation, Engine, Job
from mull.errors import MullError, settled
from mull.mishaps import checked, described
from mull.models import known_as
from mull.pools import files
from mull.pools.schema import Info, Layout, to_frame
from mull.problems import Problem
from mull.reading import answer_of
from mull.seeds import seed_for
from mull.strategies.base import Arm
from mull.study import store
from mull.study.failures import reasons
from mull.study.progress import clock
from mull.trace import Trace
from mull.train.labels import beginnings

LAYOUT = Layout(optional=("steps", "step_labels"))
Row = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Labelling:
    """What is labelled: ``samples`` solutions of each problem, ``rollouts`` from each of their steps.

    ``max_tokens`` caps a solution; ``grader`` says which answers are right
    (:func:`mull.grading.grader`). Problems go out ``chunk`` at a time.
    """

    problems: tuple[Problem, ...]
    engine: Engine
    samples: int = 4
    rollouts: int = 8
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 2048
    grader: str | None = None
    chunk: int = 32

    def __post_init__(self) -> None:
        for name in ("samples", "rollouts", "max_tokens", "chunk"):
            if getattr(self, name) < 1:
                raise MullError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.temperature <= 10:
            raise MullError(f"temperature is {self.temperature}; it must be above 0 and at most 10")
        if without := next((p.id for p in self.problems if p.gold is None), None):
            raise MullError(f"problem {without!r} has no gold answer, so its steps cannot be labelled")

    @property
    def key(self) -> str:
        """What is asked, as 16 hex digits; a server's address does not count, nor how many problems."""
        what = [known_as(self.engine.name), self.samples, self.rollouts, self.seed, self.temperature]
        told = json.dumps([*what, self.max_tokens, self.grader])
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Done:
    """A problem that is labelled: its rows, and the tokens that were sampled for them."""

    rows: tuple[Row, ...]
    tokens: int


def label(asked: Labelling, out: Path, say: Say) -> None:
    """Label into the pool ``out``, or go on; returns at once if it exists.

    :class:`MullError` for a journal of another labelling, and if problems failed, with how many and why.
    """
    if out.exists():
        return
    journal = out.with_suffix(".journal")
    out.parent.mkdir(parents=True, exist_ok=True)
    done = _read(journal, asked.key)
    todo = [problem for problem in asked.problems if problem.id not in done]
    failed: list[str] = []
    began, before = time.monotonic(), len(asked.problems) - len(todo)
    with journal.open("a", encoding="utf-8") as file:
        if not done and not journal.stat().st_size:
            _write(file, {"key": asked.key, "engine": known_as(asked.engine.name)})
        for at in range(0, len(todo), asked.chunk):
            part = todo[at : at + asked.chunk]
            found, whys = asyncio.run(label_chunk(asked, part))
            failed += whys
            for name, one in found.items():
                _write(file, {"problem": name, "rows": one.rows, "tokens": one.tokens})
            done |= found
            share = (at + len(part)) / len(todo)
            left = (time.monotonic() - began) * (1 / share - 1)
            say(_progress(before + at + len(part), asked, done, failed, left))
    if failed:
        whys = [f"{count} times: {why}" for why, count in reasons(failed)[:3]]
        raise MullError(
            f"{len(failed)} of {len(asked.problems)} problems could not be labelled ({'; '.join(whys)}); "
            "the same command tries these again"
        )
    rows = [row for problem in asked.problems for row in done[problem.id].rows]
    if not rows:
        raise MullError(
            f"none of {asked.samples * len(asked.problems)} sampled solutions has an answer: "
            "there is nothing to learn from; look at the prompt format, --max-tokens and the grader"
        )
    frames = (to_frame(rows[at : at + 4096], LAYOUT) for at in range(0, len(rows), 4096))
    files.write(frames, out, LAYOUT, Info(f"rollouts {known_as(asked.engine.name)}", "steps"))
    journal.unlink()


def _progress(count: int, asked: Labelling, done: dict[str, Done], failed: list[str], left: float) -> str:
    rows = [row for one in done.values() for row in one.rows]
    values = [value for row in rows for value in row["step_labels"]]
    tokens = sum(one.tokens for one in done.values())
    mean = f", mean value {np.mean(values):.2f}" if values else ""
    wrong = f", {len(failed)} failed" if failed else ""
    return (
        f"labels: {count} of {len(asked.problems)} problems{wrong}, {len(rows)} solutions, "
        f"{len(values)} steps{mean}, {tokens / 1e3:.0f}k tokens, {clock(left)} left"
    )


async def label_chunk(asked: Labelling, problems: Sequence[Problem]) -> tuple[dict[str, Done], list[str]]:
    """Some problems labelled, by id, and for each other one why it failed."""
    many = range(asked.samples)
    roots = [
        Job(Trace(p), None, asked.temperature, _seed(asked, p, 0, i), asked.max_tokens)
        for p in problems
        for i in many
    ]
    sampled = await _sample(asked.engine, roots)
    whys: dict[str, str] = {}
    _note(whys, sampled)
    graders = {problem.id: _Grading(problem, asked.grader) for problem in problems}
    kept: list[tuple[Trace, str]] = []
    for made in sampled:
        trace = made.trace
        answer = graders[trace.problem.id].answer(trace) if trace.complete else None
        if answer is not None and trace.problem.id not in whys:
            kept.append((trace, answer))
    jobs, places = [], []
    numbers = dict.fromkeys(graders, 0)
    for k, start in beginnings([trace for trace, _ in kept], asked.rollouts):
        name = start.problem.id
        seed = _seed(asked, start.problem, 1, numbers[name])
        room = max(asked.max_tokens - len(start.tokens), 1)
        jobs.append(Job(start, None, asked.temperature, seed, room))
        places.append((k, len(start.steps)))
        numbers[name] += 1
    rolled = await _sample(asked.engine, jobs)
    _note(whys, rolled)
    hits: dict[tuple[int, int], list[bool]] = {}
    for place, made in zip(places, rolled, strict=True):
        grade = graders[made.trace.problem.id]
        hits.setdefault(place, []).append(grade.right(grade.answer(made.trace)))
    tokens = dict.fromkeys(graders, 0)
    for made in (*sampled, *rolled):
        tokens[made.trace.problem.id] += made.cost.completion_tokens
    rows: dict[str, list[Row]] = {name: [] for name in graders}
    for k, (trace, answer) in enumerate(kept):
        values = [float(np.mean(hits[k, depth])) for depth in range(1, len(trace.steps))]
        name = trace.problem.id
        rows[name].append(_row(trace, len(rows[name]), answer, values, graders[name]))
    return {name: Done(tuple(rows[name]), tokens[name]) for name in graders if name not in whys}, list(
        whys.values()
    )


def _seed(asked: Labelling, problem: Problem, request: int, index: int) -> int:
    return seed_for(asked.seed, problem.id, Arm("rollouts", 2), request, index)


def _row(trace: Trace, number: int, answer: str, values: list[float], grade: _Grading) -> Row:
    right = grade.right(answer)
    return {
        "problem": trace.problem.id,
        "sample": number,
        "answer": answer,
        "correct": right,
        "tokens": len(trace.tokens) or None,
        "text": trace.text,
        "finish": trace.finish,
        "prompt": trace.problem.prompt,
        "gold": trace.problem.gold,
        "steps": [step.text for step in trace.steps],
        "step_labels": [*values, float(right)],
    }


class _Grading:
    """The answers of one problem's traces, and whether they are right; each judged once."""

    def __init__(self, problem: Problem, name: str | None) -> None:
        self.problem, self.grader = problem, grading.grader(name)
        self._known: dict[str, bool] = {}

    def answer(self, trace: Trace) -> str | None:
        return answer_of(trace, self.grader.extract if self.grader else extract_answer)

    def right(self, answer: str | None) -> bool:
        gold = self.problem.gold or ""
        if answer is None:
            return False
        if answer not in self._known:
            self._known[answer] = (
                self.grader.correct(answer, gold, self.problem) if self.grader else is_correct(answer, gold)
            )
        return self._known[answer]


async def _sample(engine: Engine, jobs: list[Job]) -> list[Continuation]:
    """The engine's continuations, checked; what it raises is an error of all but for a mistake."""
    if not jobs:
        return []
    try:
        made = await engine.sample(jobs)
    except MullError:
        raise
    except Exception as error:
        return [Continuation(j.trace.then((), "error", described(error)), Cost()) for j in jobs]
    return [Continuation(checked(j, m.trace), m.cost) for j, m in zip(jobs, made, strict=True)]


def _note(whys: dict[str, str], made: Sequence[Continuation]) -> None:
    """Note the problems at which something failed that asking again may mend."""
    for one in made:
        trace = one.trace
        if trace.finish == "error" and not settled(trace.error):
            whys.setdefault(trace.problem.id, trace.error)


def _write(file: Any, line: Row) -> None:
    """One line of the journal, on the disk before anything else is done."""
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _read(journal: Path, key: str) -> dict[str, Done]:
    """What a journal holds; a last line that was cut off is dropped."""
    if not journal.exists():
        return {}
    data = journal.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        store.write_text(journal, whole.decode("utf-8"))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines and lines[0].get("key") != key:
            raise MullError(
                f"{journal} holds another labelling (by {lines[0].get('engine')}); go on with the same "
                "settings, choose another --out, or delete it"
            )
        return {line["problem"]: Done(tuple(line["rows"]), line["tokens"]) for line in lines[1:]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MullError(f"{journal} is damaged ({error}); delete it to label anew") from None


def read(pool: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a pool that have all of some columns; :class:`MullError` for one that has none of these."""
    rows, layout, _ = files.scan(pool)
    if missing := [name for name in columns if name not in layout.schema]:
        raise MullError(f"{pool} has no column {missing[0]!r}, which this training needs")
    return (
        row for row in rows.collect().iter_rows(named=True) if all(row[name] is not None for name in columns)
    )
