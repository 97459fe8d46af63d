"""Which search trees a study shows: a few problems', from easy to hard by the pool's pass@1."""

from __future__ import annotations

import polars as pl

from mull.drive import Task
from mull.study.folder import Recorded
from mull.study.plan import live

#: The search that is shown is the first of these that the study has, at its largest budget up to 16.
SHOWN = ("beam", "lookahead", "dvts")
#: How many trees.
COUNT = 6


def choose(recorded: Recorded, count: int = COUNT) -> list[Task]:
    """The tasks whose trees are shown; none if the study has no search. Reads the pool's shards."""
    arms = [
        arm for name in SHOWN for arm in live(recorded.study) if arm.strategy == name and arm.budget <= 16
    ]
    if not arms:
        return []
    arm = max((a for a in arms if a.strategy == arms[0].strategy), key=lambda a: a.budget)
    pool = pl.concat([recorded.read(unit) for unit in recorded.units if unit.kind == "pool"])
    rates = pool.group_by("problem").agg(pl.col("correct").mean())
    names = rates.sort("correct", "problem", descending=[True, False])["problem"].to_list()
    count = min(count, len(names))
    places = dict.fromkeys(round((i + 0.5) * len(names) / count - 0.5) for i in range(count))
    known = {problem.id: problem for problem in recorded.problems}
    return [Task(known[names[place]], arm) for place in places]
