"""Equal answers of one problem as one, over the pool and every search: for studies with a grader.

The pool and each arm were recorded with equal answers merged, each on its own, so one answer may
have two spellings in two places. Votes that join them compare texts, so here they are brought to
one spelling, and judged. The module merges and judges; it counts no votes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from mull.answers import Grader
from mull.grading import grader
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.study.folder import Recorded

#: By problem, which of its answers are right.
Right = tuple[Mapping[str, bool], ...]


def merged(
    recorded: Recorded, samples: pl.DataFrame, runs: Mapping[Arm, pl.DataFrame]
) -> tuple[pl.DataFrame, dict[Arm, pl.DataFrame], Right | None]:
    """The frames with one spelling an answer, and which are right; as they are without a grader."""
    judging = grader(recorded.study.grader)
    if judging is None:
        return samples, dict(runs), None
    pool, size = samples["answer"].to_list(), recorded.study.pool
    finals = {arm: frame["candidates"].to_list() for arm, frame in runs.items()}
    chosen = {arm: frame["answer"].to_list() for arm, frame in runs.items()}
    right = []
    for row, problem in enumerate(recorded.problems):
        own = pool[row * size : (row + 1) * size]
        named, verdicts = _spellings(judging, problem, own, [finals[arm][row] for arm in runs])
        pool[row * size : (row + 1) * size] = [named.get(answer) for answer in own]
        for arm in runs:
            for candidate in finals[arm][row]:
                candidate["answer"] = named.get(candidate["answer"])
            chosen[arm][row] = named.get(chosen[arm][row])
        right.append(verdicts)
    made = {
        arm: frame.with_columns(
            pl.Series("candidates", finals[arm], frame.schema["candidates"]),
            pl.Series("answer", chosen[arm], pl.String),
        )
        for arm, frame in runs.items()
    }
    return samples.with_columns(pl.Series("answer", pool, pl.String)), made, tuple(right)


def _spellings(
    judging: Grader,
    problem: Problem,
    own: Sequence[str | None],
    finals: Sequence[list[dict[str, str | None]]],
) -> tuple[dict[str | None, str | None], dict[str, bool]]:
    """Each answer's one spelling, and which spellings are right."""
    every = [*own, *(candidate["answer"] for listed in finals for candidate in listed)]
    named = dict(zip(every, judging.canonical(every, problem), strict=True))
    spelt = {answer for answer in named.values() if answer is not None}
    return named, {answer: judging.correct(answer, str(problem.gold), problem) for answer in sorted(spelt)}
