"""The plan of a study: its units of work, in order, each with its key and its file's name.

A unit is one arm, the pool, the chains of revisions, or the larger model's answers, on a
few problems. The plan depends on the study alone, so that every run of it, however often
cut off, computes the same units.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Literal

from mull.problems import Problem
from mull.strategies.base import Arm
from mull.study.config import Study

#: Generations that a unit takes at most (but a problem at least), and problems.
GENERATIONS, PROBLEMS = 2048, 50
Kind = Literal["pool", "chains", "larger", "arm"]
_DEARER: dict[Kind, float] = {"pool": 1.0, "chains": 7.0, "larger": 15.0, "arm": 1.6}


@dataclass(frozen=True)
class Unit:
    """One thing to record on ``problems``; ``key`` is a content hash of the study and the unit.

    ``arm`` is None but for a unit of kind "arm"; ``generations`` are those of one problem.
    """

    kind: Kind
    arm: Arm | None
    index: int
    problems: tuple[Problem, ...]
    generations: int
    key: str

    @property
    def label(self) -> str:
        """What it does, in a word."""
        return self.kind if self.arm is None else str(self.arm)

    @property
    def file(self) -> str:
        """The shard's file name."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")
        return f"{slug}-{self.index:03d}.parquet"

    @property
    def failed(self) -> str:
        """The name of the file that holds what there is of it while something of it has failed."""
        return self.file.replace(".parquet", ".failed.parquet")

    @property
    def work(self) -> float:
        """About how long it takes, in generations by the pool: searches and revisions come dearer."""
        return len(self.problems) * self.generations * _DEARER[self.kind]


def canonical(arm: Arm) -> Arm:
    """The arm with its width as a number, so that two names of one search share one run."""
    params = dict(arm.params)
    if params.get("width") != "sqrt":
        return arm
    beams = arm.budget // (int(params.get("k", 0)) + 1)
    width = 1 if beams == 1 else isqrt(beams)
    return replace(arm, params=tuple((k, width if k == "width" else v) for k, v in arm.params))


def chain_lengths(budget: int) -> tuple[int, ...]:
    """The lengths of the chains that are recorded for revision budgets up to ``budget``, a power of 4.

    One chain of ``budget`` attempts, 4 of at least a quarter of that, and so on to ``budget`` of at
    least one: the prefixes of these give every ratio of sequential to parallel attempts that the
    paper has (ICLR table 1), the shorter of them several times over.
    """
    lengths = [1] * budget
    number, length = budget // 4, 4
    while number >= 1:
        lengths[:number] = [length] * number
        number, length = number // 4, length * 4
    return tuple(lengths)


def live(study: Study) -> tuple[Arm, ...]:
    """The different arms that are to be run, in order."""
    return tuple(dict.fromkeys(canonical(arm) for arm in study.live))


def plan(study: Study, problems: Sequence[Problem], study_hash: str) -> tuple[Unit, ...]:
    """Every unit of the study: the pool's, the chains' and the larger model's if any, each arm's."""
    wanted: list[tuple[Kind, Arm | None, int]] = [("pool", None, study.pool)]
    if study.chains:
        wanted.append(("chains", None, sum(chain_lengths(study.chains))))
    if study.larger is not None:
        wanted.append(("larger", None, 1))
    wanted += [("arm", arm, arm.budget) for arm in live(study)]
    units = []
    for kind, arm, generations in wanted:
        size = max(1, min(PROBLEMS, GENERATIONS // generations))
        if kind == "chains":  # the long chains fill the lanes only if many problems are side by side
            size = PROBLEMS
        for index, first in enumerate(range(0, len(problems), size)):
            chunk = tuple(problems[first : first + size])
            what = json.dumps([study_hash, kind if arm is None else str(arm), [p.id for p in chunk]])
            key = hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
            units.append(Unit(kind, arm, index, chunk, generations, key))
    return tuple(units)
