"""The plan of a study: its units of work, in order, each with its key and its file's name.

A unit is one arm, or the pool, on a few problems. The plan depends on the study
alone, so that every run of it, however often cut off, computes the same units.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

from mull.problems import Problem
from mull.strategies.base import Arm
from mull.study.config import Study

#: Generations that a unit takes at most (but a problem at least), and problems.
GENERATIONS, PROBLEMS = 2048, 50


@dataclass(frozen=True)
class Unit:
    """One arm (None: the pool) on ``problems``; ``key`` is a content hash of the study and the unit."""

    arm: Arm | None
    index: int
    problems: tuple[Problem, ...]
    generations: int
    key: str

    @property
    def label(self) -> str:
        """What it does, in a word."""
        return "pool" if self.arm is None else str(self.arm)

    @property
    def file(self) -> str:
        """The shard's file name."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")
        return f"{slug}-{self.index:03d}.parquet"

    @property
    def work(self) -> float:
        """About how long it takes, in generations by the pool: a search's come dearer."""
        return len(self.problems) * self.generations * (1.0 if self.arm is None else 1.6)


def canonical(arm: Arm) -> Arm:
    """The arm with its width as a number, so that two names of one search share one run."""
    params = dict(arm.params)
    if params.get("width") != "sqrt":
        return arm
    beams = arm.budget // (int(params.get("k", 0)) + 1)
    width = 1 if beams == 1 else isqrt(beams)
    return replace(arm, params=tuple((k, width if k == "width" else v) for k, v in arm.params))


def live(study: Study) -> tuple[Arm, ...]:
    """The different arms that are to be run, in order."""
    return tuple(dict.fromkeys(canonical(arm) for arm in study.live))


def plan(study: Study, problems: Sequence[Problem], study_hash: str) -> tuple[Unit, ...]:
    """Every unit of the study: the pool's, then each arm's."""
    units = []
    for arm in (None, *live(study)):
        generations = study.pool if arm is None else arm.budget
        size = max(1, min(PROBLEMS, GENERATIONS // generations))
        for index, first in enumerate(range(0, len(problems), size)):
            chunk = tuple(problems[first : first + size])
            what = json.dumps([study_hash, "pool" if arm is None else str(arm), [p.id for p in chunk]])
            key = hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
            units.append(Unit(arm, index, chunk, generations, key))
    return tuple(units)
