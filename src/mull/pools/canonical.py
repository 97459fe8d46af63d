"""A pool's answers as a grader has them: one text a class of equal answers, and graded anew.

After that votes and replays compare texts as ever. Programs are another matter, because two that do
the same in public can differ on the official tests: their classes go beside the answers
(``behaviours``), which stay what they are. The module never looks at the gold answer to make a class.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from mull.answers import Grader
from mull.errors import MullError
from mull.pools.data import PoolData
from mull.problems import Problem
from mull.study.pools import Bools, Ints


def canonicalised(data: PoolData, grader: Grader) -> PoolData:
    """The pool with each problem's equal answers as one, labelled by the grader.

    Where a problem has no gold answer a class keeps the label that most of its samples have, a
    right one where they are as many. ``notes`` say what was merged and what changed its label.
    """
    size, recorded = data.samples, data.frame["answer"].to_list()
    texts: list[str | None] = []
    right, judged = data.correct.copy(), data.judged.copy()
    merged = 0
    for row, problem in enumerate(problems_of(data)):
        own = recorded[row * size : (row + 1) * size]
        named = grader.canonical(own, problem)
        texts += named
        merged += len({a for a in own if a is not None}) - len({a for a in named if a is not None})
        verdicts: dict[str | None, bool] = {None: False}
        for answer in dict.fromkeys(named):
            if answer is None:
                continue
            if problem.gold is not None:
                verdicts[answer] = grader.correct(answer, problem.gold, problem)
                continue
            held = np.array([name == answer for name in named]) & judged[row]
            verdicts[answer] = bool(held.any()) and 2 * int(right[row, held].sum()) >= int(held.sum())
        if problem.gold is not None:
            judged[row] = True
        right[row] = [verdicts[answer] for answer in named]
    return replace(
        data,
        answers=_classes(texts, size),
        correct=right,
        judged=judged,
        frame=data.frame.with_columns(
            pl.Series("answer", texts, pl.String), pl.Series("correct", right.reshape(-1))
        ),
        notes=(*data.notes, *_said(data, merged, right)),
    )


def behaving(data: PoolData, grader: Grader) -> PoolData:
    """The pool with ``behaviours``: the recorded ones, or else what the grader finds by running programs.

    For the latter the answers must be programs, and the pool be read with ``large``.
    """
    if data.behaviours is not None:
        return data
    size, recorded = data.samples, data.frame["answer"].to_list()
    found: list[str | None] = []
    for row, problem in enumerate(problems_of(data)):
        if not problem.prompt:
            raise MullError("the pool records neither what its programs did nor the prompts to run them with")
        found += grader.canonical(recorded[row * size : (row + 1) * size], problem)
    return replace(data, behaviours=_classes(found, size))


def problems_of(data: PoolData) -> Iterator[Problem]:
    """The pool's problems, with prompt and metadata where these were read."""
    first = data.frame.gather_every(data.samples)
    for row, (name, gold) in enumerate(zip(data.names, data.golds, strict=True)):
        held = first.row(row, named=True)
        yield _problem(name, held.get("prompt"), gold, held.get("meta"))


def regraded(frames: Iterable[pl.DataFrame], grader: Grader) -> Iterator[pl.DataFrame]:
    """An import's frames with ``correct`` as the grader says, wherever there is a gold answer.

    Answers stay as they are, so that readers may merge them in whatever way; a judgement is made once
    for each different (problem, answer, gold) of a frame.
    """
    for frame in frames:
        if not {"answer", "gold"} <= set(frame.columns):
            yield frame
            continue
        texts = frame.with_columns(pl.col("problem", "answer", "gold").cast(pl.String))
        shared = [name for name in ("prompt", "meta") if name in frame.columns]
        keys = texts.unique(["problem", "answer", "gold"], maintain_order=True)
        keys = keys.filter(pl.col("gold").is_not_null()).select("problem", "answer", "gold", *shared)
        verdicts = [
            row["answer"] is not None
            and grader.correct(
                row["answer"],
                row["gold"],
                _problem(row["problem"], row.get("prompt"), row["gold"], row.get("meta")),
            )
            for row in keys.iter_rows(named=True)
        ]
        table = keys.select("problem", "answer", "gold").with_columns(
            pl.Series("_correct", verdicts, pl.Boolean)
        )
        on = ["problem", "answer", "gold"]
        joined = texts.join(table, on=on, how="left", nulls_equal=True, maintain_order="left")
        kept = pl.col("correct") if "correct" in frame.columns else pl.lit(None, pl.Boolean)
        yield joined.with_columns(pl.coalesce("_correct", kept).alias("correct")).drop("_correct")


def _problem(name: str, prompt: str | None, gold: str | None, meta: str | None) -> Problem:
    try:
        found = json.loads(meta) if meta else {}
    except ValueError:
        found = {}
    held = found if isinstance(found, dict) else {}
    kept = {k: json.dumps(v) if isinstance(v, list) else v for k, v in held.items()}
    plain = {k: v for k, v in kept.items() if isinstance(v, str | int | float)}
    return Problem(name, prompt or "", gold, plain)


def _classes(texts: list[str | None], size: int) -> Ints:
    """Different texts of each problem numbered from 0, in the texts' order; -1 for none."""
    found = np.full(len(texts), -1, np.int64)
    for first in range(0, len(texts), size):
        own = texts[first : first + size]
        number = {text: n for n, text in enumerate(sorted({t for t in own if t is not None}))}
        found[first : first + size] = [-1 if text is None else number[text] for text in own]
    return found.reshape(-1, size)


def _said(data: PoolData, merged: int, right: Bools) -> list[str]:
    found = []
    if merged:
        found.append(f"the grader merged {merged} spellings into others of their problems")
    better = int((right & ~data.correct & data.judged).sum())
    worse = int((~right & data.correct).sum())
    if better or worse:
        found.append(f"the grader calls {better} samples right that were recorded wrong, and {worse} wrong")
    return found
