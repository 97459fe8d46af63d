"""Figure 2's searches, run again as they were recorded: every step, rollout and score of one problem.

A study keeps what a search answered, not its steps, but for a few trees; its seeds give back
the very same run. What is run again is compared with the record and refused if it differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mull.answers import is_correct
from mull.drive import Driver, Result, Task
from mull.engines.base import Around, Continuation, Engine, Job
from mull.engines.small import SmallEngine
from mull.paper.shown import Grown, Node, lines_of
from mull.problems import Problem
from mull.select import SELECTORS
from mull.strategies.base import Arm
from mull.study.config import checkpoints
from mull.study.folder import Recorded
from mull.trace import Candidate, Scores, Step, Trace
from mull.tree import tree
from mull.verifiers.base import Verifier
from mull.verifiers.small import SmallVerifier


class Listening(Around):
    """An engine that keeps what it samples greedily, which in a search are the rollouts alone."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self.rollouts: dict[str, tuple[str, ...]] = {}

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """What the inner engine samples."""
        made = await self.inner.sample(jobs)
        for job, found in zip(jobs, made, strict=True):
            if job.temperature == 0:
                steps = found.trace.steps[len(job.trace.steps) :]
                self.rollouts[job.trace.text] = tuple(step.text.strip() for step in steps)
        return made


class Rerun:
    """The study's base model and PRM, to run recorded searches again."""

    def __init__(self, recorded: Recorded, engine: SmallEngine, prm: SmallVerifier) -> None:
        self.recorded, self.engine, self.prm = recorded, engine, prm

    @classmethod
    def of(cls, recorded: Recorded) -> Rerun | None:
        """None unless mull runs both models itself and they are those that were recorded."""
        where = checkpoints(recorded.study)
        if "proposer" not in where or "prm" not in where:
            return None
        engine, prm = SmallEngine.load(where["proposer"]), SmallVerifier.load(where["prm"])
        if (engine.name, prm.name) != (recorded.engine, recorded.prm):
            return None
        return cls(recorded, engine, prm)

    def run(self, problem: Problem, arm: Arm) -> tuple[Result, Mapping[str, tuple[str, ...]]]:
        """An arm on a problem, with its tree, and the rollouts by the prefix that they grew from."""
        study, engine = self.recorded.study, Listening(self.engine.fresh())
        verifier: Verifier = self.prm.fresh()
        driver = Driver(
            engine,
            {"process": verifier, "outcome": verifier},
            seed=study.seed,
            temperature=study.temperature,
            max_tokens=study.max_tokens,
            record=True,
        )
        (found,) = asyncio.run(driver.drive([Task(problem, arm)]))
        return found, engine.rollouts


def agrees(result: Result, row: Mapping[str, Any]) -> bool:
    """Whether a run is the recorded one: same answer, same candidates."""
    mine = [(c.answer, len(c.trace.tokens)) for c in result.candidates]
    return result.selection.answer == row["answer"] and mine == [
        (c["answer"], c["tokens"]) for c in row["candidates"]
    ]


def grown(result: Result, rollouts: Mapping[str, tuple[str, ...]], k: int, title: str, says: str) -> Grown:
    """A recorded run's tree, laid out in columns by depth, children beside their parent."""
    found = tree(result)["nodes"]
    ends = {branch.node: i for i, branch in enumerate(result.rounds[-1].branches)}
    chosen = result.selection.chosen
    path = _path(found, next((node for node, i in ends.items() if i == chosen), None))
    prefix = {0: ""}
    depth, rows = {0: -1}, {0: 0}
    levels: dict[int, list[int]] = {}
    for node in found[1:]:
        prefix[node["id"]] = prefix[node["parent"]] + node["text"]
        depth[node["id"]] = depth[node["parent"]] + 1
        levels.setdefault(depth[node["id"]], []).append(node["id"])
    order: list[int] = []
    for level in sorted(levels):
        placed = sorted(levels[level], key=lambda i: (rows[found[i]["parent"]], i))
        rows |= {i: row for row, i in enumerate(placed)}
        order += placed
    place = {i: at for at, i in enumerate(order)}
    nodes = []
    for i in order:
        node = found[i]
        ended = i in ends
        open_ = k > 0 and node["finish"] is None
        nodes.append(
            Node(
                depth[i],
                rows[i],
                place.get(node["parent"]),
                node["text"].strip(),
                node["score"],
                bool(node["kept"]),
                rollouts.get(prefix[i], ()) if open_ else (),
                node["answer"] if ended else None,
                is_correct(node["answer"], str(result.task.problem.gold)) if ended else None,
                i in path,
            )
        )
    made = result.selection
    return Grown(title, says, tuple(nodes), dict(made.weights), made.answer, bool(result.correct))


def _path(nodes: Sequence[Mapping[str, Any]], end: int | None) -> set[int]:
    found: set[int] = set()
    while end:
        found.add(end)
        end = nodes[end]["parent"]
    return found


def whole(problem: Problem, rows: Sequence[Mapping[str, Any]], title: str, says: str) -> Grown:
    """Best-of-N weighted over a pool's rows: whole solutions side by side, chosen by their last values."""
    candidates = [
        Candidate(
            Trace(problem, (Step(row["text"], ()),), row["finish"]),
            row["answer"],
            None if row["prm"] is None else Scores((row["prm"][-1],)),
        )
        for row in rows
    ]
    made = SELECTORS["best_of_n_weighted"](problem.id, candidates)
    nodes: list[Node] = []
    for at, row in enumerate(rows):
        lines, picked = lines_of(row["text"]), at == made.chosen
        values = row["prm"] if row["prm"] and len(row["prm"]) == len(lines) else [None] * len(lines)
        for depth, (line, value) in enumerate(zip(lines, values, strict=True)):
            parent = len(nodes) - 1 if depth else None
            nodes.append(Node(depth, at, parent, line, value, True, chosen=picked))
        nodes[-1] = replace(nodes[-1], answer=row["answer"], correct=bool(row["correct"]))
    right = any(row["correct"] for row in rows if row["answer"] == made.answer and made.answer is not None)
    return Grown(title, says, tuple(nodes), dict(made.weights), made.answer, right)
