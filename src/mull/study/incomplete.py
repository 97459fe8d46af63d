"""What a study that is over for now still lacks: what failed and why, what was not tried, what is whole.

The module reads the folder; it computes nothing anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from mull.errors import MullError
from mull.problems import Problem
from mull.study.failures import reasons
from mull.study.folder import Recorded
from mull.study.plan import Unit


class IncompleteError(MullError):
    """A study that lacks so much that there is nothing to say of it yet."""


@dataclass(frozen=True)
class Lacks:
    """What is missing of ``units``: ``failed`` ones (recorded in part) and those ``untried``.

    ``rows`` are the samples, attempts and runs that failed; ``reasons`` say why, with how often, the
    most frequent first; ``whole`` are the problems of which nothing is missing.
    """

    units: int
    failed: int
    untried: int
    rows: int
    reasons: tuple[tuple[str, int], ...]
    whole: tuple[Problem, ...]

    def __str__(self) -> str:
        parts = []
        if self.failed:
            whys = "; ".join(f"{count} times: {why}" for why, count in self.reasons[:3])
            more = len(self.reasons) - 3
            whys += f"; and {more} more reasons" if more > 0 else ""
            parts.append(
                f"{self.failed} of {self.units} units have {self.rows} failures between them ({whys})"
            )
        if self.untried:
            parts.append(f"{self.untried} of {self.units} units were not tried")
        return "; ".join(parts) + "; the same command tries again what is missing"

    @property
    def as_json(self) -> dict[str, Any]:
        """For the summary."""
        return {
            "units": self.units,
            "failed_units": self.failed,
            "untried_units": self.untried,
            "failures": self.rows,
            "reasons": [{"reason": why, "times": count} for why, count in self.reasons],
            "whole_problems": len(self.whole),
        }


def lacks(recorded: Recorded) -> Lacks | None:
    """What is missing of a study, None if nothing is."""
    missing = recorded.missing()
    if not missing:
        return None
    whys: list[str] = []
    spoilt: set[str] = set()
    failed = 0
    for unit in missing:
        frame = recorded.kept(unit)
        if frame is None:
            spoilt |= {problem.id for problem in unit.problems}
            continue
        failed += 1
        rows = frame.filter(pl.col("failed").is_not_null())
        whys += rows["failed"].to_list()
        spoilt |= set(rows["problem"].to_list())
    whole = tuple(problem for problem in recorded.problems if problem.id not in spoilt)
    why = tuple(reasons(whys))
    return Lacks(len(recorded.units), failed, len(missing) - failed, len(whys), why, whole)


@dataclass(frozen=True)
class Part(Recorded):
    """A study cut down to the problems of which nothing is missing."""

    def read(self, unit: Unit) -> pl.DataFrame:
        """A unit's rows about these problems, whether or not others of it failed."""
        kept = self.kept(unit)
        names = [problem.id for problem in self.problems]
        frame = super().read(unit) if kept is None else kept
        return frame.filter(pl.col("problem").is_in(names))

    def missing(self) -> tuple[Unit, ...]:
        """None: what is missing is of other problems."""
        return ()


def part(recorded: Recorded, found: Lacks) -> Part:
    """The study on the problems of which nothing is missing."""
    ids = {problem.id for problem in found.whole}
    fields: Mapping[str, Any] = vars(replace(recorded, problems=found.whole))
    units = tuple(unit for unit in recorded.units if any(problem.id in ids for problem in unit.problems))
    return Part(**{**fields, "units": units})
