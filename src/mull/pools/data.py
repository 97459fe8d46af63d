"""A pool as arrays: what the estimators and the replay read, aligned problem by problem.

Reading numbers the answers, takes every problem's first S samples and maps scores to [0, 1]. It
warns of what it left out, and never estimates anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from mull.errors import MullError
from mull.pools import files
from mull.pools.schema import Info, Layout, Scale, refuse_contradictions
from mull.select import AGGREGATIONS, Aggregation
from mull.study.pools import Bools, Floats, Ints, Pool, Singles

#: Whether an answer recorded as the empty text votes like any other, as in the common scripts, or drops out.
Empty = Literal["vote", "drop"]
#: Columns that are large and seldom needed.
LARGE = ("text", "prompt", "meta", "steps", "token_logprobs", "thinking")


@dataclass(frozen=True, eq=False)
class PoolData:
    """P problems with S samples each; rows are problems, in order of appearance.

    ``names`` and ``golds`` [P]; ``answers`` int [P, S]: the sample's answer class within its problem,
    -1 for none; ``correct`` bool [P, S]: False also where it is not known (``judged``); ``tokens`` int
    [P, S]: 0 where ``timed`` is False; ``scores``: by verifier, float32 [P, S] in [0, 1], NaN where
    unscored; ``logprobs`` float [P, S] in nats, NaN where unknown, or None if no sample has one;
    ``behaviours`` int [P, S], -1 for none, or None: classes of what programs do.

    ``frame`` has P x S rows in the arrays' order with the recorded columns, less the large ones
    unless they were asked for, and ``text_hash``, by which equal texts are told. ``notes`` say what was
    left out in reading. ``attempts``: of a pool of kind "trials", ``problem``, ``sample`` and ``correct``
    of every row.
    """

    names: tuple[str, ...]
    golds: tuple[str | None, ...]
    answers: Ints
    correct: Bools
    judged: Bools
    tokens: Ints
    timed: Bools
    scores: Mapping[str, Singles]
    logprobs: Floats | None
    behaviours: Ints | None
    frame: pl.DataFrame
    info: Info
    layout: Layout
    notes: tuple[str, ...] = ()
    attempts: pl.DataFrame | None = None

    @property
    def problems(self) -> int:
        """P."""
        return int(self.answers.shape[0])

    @property
    def samples(self) -> int:
        """S, samples a problem."""
        return int(self.answers.shape[1])

    @property
    def answered(self) -> bool:
        """Whether any sample has an answer; without, there is nothing to vote over."""
        return bool((self.answers >= 0).any())

    @cached_property
    def pool(self) -> Pool:
        """The arrays as the estimators take them.

        In a pool without answers every sample stands for itself, so that the chance of a
        right one and best-of-N are what they should be; its majority means nothing.
        """
        if self.answered:
            return Pool(self.answers, self.correct, self.scores, self.tokens)
        alone = np.broadcast_to(np.arange(self.samples), self.answers.shape)
        return Pool(alone, self.correct, self.scores, self.tokens)

    def step_scores(self, name: str, how: Aggregation = "last") -> Singles:
        """One value a sample from verifier ``name``'s step scores, float32 [P, S], NaN where it has none."""
        if name not in self.layout.step_scores:
            known = ", ".join(self.layout.step_scores) or "none"
            raise MullError(f"the pool has no step scores {name!r}; it has: {known}")
        if how not in AGGREGATIONS:
            raise MullError(f"there is no aggregation {how!r}; known: {', '.join(AGGREGATIONS)}")
        values = self.frame["step_scores"].struct.field(name)
        reduced = {
            "last": values.list.last(),
            "min": values.list.min(),
            "mean": values.list.mean(),
            "product": values.list.eval(pl.element().product()).list.first(),
        }[how]
        numbers = values.list.drop_nulls().list.len()
        empty = (numbers == 0) | (numbers < values.list.len())
        found = reduced.cast(pl.Float32).to_numpy().copy()
        found[empty.fill_null(True).to_numpy()] = np.nan
        return np.asarray(found.reshape(self.answers.shape), np.float32)

    @property
    def blank(self) -> Bools:
        """Whose answer is the empty text, bool [P, S]."""
        return (self.frame["answer"] == "").fill_null(False).to_numpy().reshape(self.answers.shape)

    def without_blanks(self) -> PoolData:
        """The same pool with empty answers as none."""
        frame = self.frame.with_columns(pl.col("answer").replace("", None))
        return replace(self, answers=np.where(self.blank, -1, self.answers), frame=frame)

    def with_scores(self, **scores: Singles) -> PoolData:
        """The same pool with further scores, each [P, S] in [0, 1] (such as some of :meth:`step_scores`)."""
        return replace(self, scores={**self.scores, **scores})


def read_pool(
    path: Path | str, *, samples: int | None = None, empty: Empty = "vote", large: bool = False
) -> PoolData:
    """Read a pool file, or a folder of them.

    Problems may have different numbers of samples: the arrays have every problem's first S, by sample
    number, S the smallest count; or ``samples``, and then problems with fewer are left out. Where a
    sample number occurs twice in a problem, the first row counts. ``empty`` says what an empty answer is;
    ``large`` reads texts, prompts, metadata and steps as well.

    Raises :class:`MullError` for what is no pool or damaged, for an answer that is both right and wrong,
    and for a right sample without an answer in a pool that has answers.
    """
    path = Path(path)
    rows, layout, info = files.scan(path)
    wanted = [name for name in layout.schema if large or name not in LARGE]
    same = pl.col("text").hash(0).alias("text_hash")
    frame = rows.select(*wanted, pl.when(pl.col("text").is_not_null()).then(same)).collect(engine="streaming")
    if not frame.height:
        raise MullError(f"{path} has no samples")
    attempts = frame.select("problem", "sample", "correct") if info.kind == "trials" else None
    refuse_contradictions(frame, str(path))
    notes: list[str] = []
    frame, count = _aligned(frame, path, samples, notes)
    frame = _labelled(frame)
    shape = (-1, count)
    correct = frame["correct"].fill_null(False).to_numpy().reshape(shape)
    answers = _classes(frame, "answer").reshape(shape)
    if (answers >= 0).any() and (correct & (answers < 0)).any():
        row, place = np.argwhere(correct & (answers < 0))[0]
        name = frame["problem"][int(row) * count]
        raise MullError(
            f"{path}: problem {name!r}, sample {frame['sample'][int(row * count + place)]} is right "
            "without an answer; record what it answered, or leave the answers out altogether"
        )
    logprobs = frame["logprob"].cast(pl.Float64)
    found = PoolData(
        names=tuple(frame["problem"].gather_every(count)),
        golds=tuple(frame["gold"].gather_every(count)),
        answers=answers,
        correct=correct,
        judged=frame["correct"].is_not_null().to_numpy().reshape(shape),
        tokens=frame["tokens"].fill_null(0).to_numpy().reshape(shape),
        timed=frame["tokens"].is_not_null().to_numpy().reshape(shape),
        scores={name: _score(frame, name, info, path).reshape(shape) for name in layout.scores},
        logprobs=None if logprobs.null_count() == len(logprobs) else logprobs.to_numpy().reshape(shape),
        behaviours=_classes(frame, "behaviour").reshape(shape) if "behaviour" in layout.optional else None,
        frame=frame.drop("_problem"),
        info=info,
        layout=layout,
        notes=tuple(notes),
        attempts=attempts,
    )
    return found if empty == "vote" else found.without_blanks()


def _aligned(
    frame: pl.DataFrame, path: Path, samples: int | None, notes: list[str]
) -> tuple[pl.DataFrame, int]:
    """The rows of every problem's first S samples, in order, with column ``_problem``; and S."""
    table = frame.select(pl.col("problem").unique(maintain_order=True)).with_row_index("_problem")
    frame = frame.join(table, on="problem", how="left", maintain_order="left")
    height = frame.height
    frame = frame.unique(["_problem", "sample"], keep="first", maintain_order=True)
    if frame.height < height:
        notes.append(
            f"{height - frame.height} rows repeat a problem's sample number; only the first of each counts"
        )
    frame = frame.sort("_problem", "sample", maintain_order=True)
    counts = np.bincount(frame["_problem"].to_numpy(), minlength=table.height)
    fewest, most = int(counts.min()), int(counts.max())
    count = fewest if samples is None else samples
    if count < 1 or count > most:
        raise MullError(f"{path}: {count} samples a problem were asked for, and there are at most {most}")
    short = int((counts < count).sum())
    if short:
        notes.append(f"{short} of {table.height} problems have fewer than {count} samples and are left out")
    if most > count and fewest != most:
        over = int(np.maximum(counts - count, 0).sum())
        notes.append(
            f"problems have from {fewest} to {most} samples; the first {count} of each are used, and "
            f"{over} samples are not"
        )
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    kept = (np.arange(frame.height) - starts < count) & (np.repeat(counts, counts) >= count)
    return frame.filter(pl.Series(kept)), count


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame where a sample that is not labelled takes the label of the same answer to its problem."""
    unknown = frame["correct"].null_count()
    if unknown in (0, frame.height):
        return frame
    same = pl.col("correct").max().over("_problem", "answer")
    return frame.with_columns(pl.when(pl.col("answer").is_not_null()).then(same).otherwise(pl.col("correct")))


def _classes(frame: pl.DataFrame, column: str) -> Ints:
    """Different texts of each problem numbered from 0, by the text's order; -1 for none."""
    if frame[column].null_count() == frame.height:
        return np.full(frame.height, -1, np.int64)
    place = frame.select((pl.col(column).rank("dense").over("_problem").cast(pl.Int64) - 1).fill_null(-1))
    return place.to_series().to_numpy()


def _score(frame: pl.DataFrame, name: str, info: Info, path: Path) -> Singles:
    """A verifier's scores as float32 in [0, 1], NaN where there is none."""
    raw = frame["scores"].struct.field(name).cast(pl.Float64).to_numpy()
    known = raw[~np.isnan(raw)]
    if not known.size:
        return raw.astype(np.float32)
    low, high = float(known.min()), float(known.max())
    inferred: Scale = "logit" if low < 0 else "ratio" if high > 1 else "unit"
    scale = info.scales.get(name, inferred)
    if scale == "logit":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-raw)), np.float32)
    if low < 0 or (scale == "unit" and high > 1):
        raise MullError(
            f"{path}: score {name!r} is {low if low < 0 else high}; on the scale {scale!r} it cannot be"
        )
    return np.asarray(raw / max(high, 1e-300) if scale == "ratio" else raw, np.float32)
