"""What is wrong with a pool, in sentences: for whoever is about to trust its figures.

The checks look at recorded values alone; they change nothing and refuse nothing.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from mull.pools.data import PoolData

#: A share of samples below which a cap or repeated texts are not worth a word.
_SHARE = 0.005
#: Names shown of the problems that a warning is about.
_SHOWN = 5


def warnings(data: PoolData) -> list[str]:
    """Everything that is off, most telling first; empty for a sound pool."""
    found = [*data.notes, *_kind(data), *_labels(data), *_answers(data), *_tokens(data)]
    return [*found, *_repeats(data), *_errors(data)]


def _kind(data: PoolData) -> list[str]:
    what = {
        "trials": "the samples of a problem are trials in order, not independent draws, as pass@k has it",
        "search": "the samples of a problem are the states a search kept, best first, not independent draws",
        "steps": "every row is a step, not a problem",
    }
    return [what[data.info.kind]] if data.info.kind in what else []


def _labels(data: PoolData) -> list[str]:
    unknown = int((~data.judged).sum())
    if unknown == data.judged.size:
        return ["no sample says whether it is right; accuracies cannot be told"]
    found = []
    if unknown:
        found.append(f"{_of(unknown, data)} do not say whether they are right; they count as wrong")
    lost = np.flatnonzero(~data.correct.any(axis=1))
    if lost.size and data.samples > 1:
        names = ", ".join(data.names[i] for i in lost[:_SHOWN]) + (", ..." if lost.size > _SHOWN else "")
        found.append(
            f"on {lost.size} of {data.problems} problems no sample is right "
            f"(the gold answer may be wrong or out of reach): {names}"
        )
    equal = data.frame.filter((pl.col("answer") == pl.col("gold")) & ~pl.col("correct")).height
    if equal:
        found.append(f"{_of(equal, data)} have the gold answer's very text and are marked wrong")
    return found


def _answers(data: PoolData) -> list[str]:
    if not data.answered:
        return ["no sample has an answer; there is nothing to vote over"]
    found = []
    missing = data.frame["answer"].null_count()
    if missing:
        found.append(f"{_of(missing, data)} have no answer; they never vote")
    blank = int((data.frame["answer"] == "").sum())
    if blank:
        found.append(
            f"{_of(blank, data)} have an empty answer, which votes like any other, as in the common scripts; "
            "--empty drop leaves it out"
        )
    return found


def _tokens(data: PoolData) -> list[str]:
    timed = int(data.timed.sum())
    if not timed:
        return ["no sample has a token count; costs cannot be told"]
    found = []
    if timed < data.timed.size:
        found.append(f"{_of(data.timed.size - timed, data)} have no token count; they count as 0 tokens")
    zero = int((data.timed & (data.tokens == 0)).sum())
    if zero:
        found.append(f"{_of(zero, data)} have a token count of 0; means are too low by their share")
    cap, at = capped(data)
    if at:
        found.append(
            f"{_of(at, data)} stop at exactly {cap} tokens, which looks like a cap: "
            "their answers may be cut off"
        )
    return found


def capped(data: PoolData) -> tuple[int, int]:
    """The largest token count and how many samples have it, or 0 where that is no more than chance."""
    counts = data.tokens[data.timed]
    if not counts.size:
        return 0, 0
    cap = int(counts.max())
    at = int((counts == cap).sum())
    many = at >= max(3, _SHARE * counts.size) and cap > np.median(counts)
    return cap, at if many else 0


def _repeats(data: PoolData) -> list[str]:
    found = []
    texts = data.frame.select("problem", "text_hash").drop_nulls()
    again = texts.height - texts.unique().height
    if again >= _SHARE * data.correct.size and again:
        found.append(f"{_of(again, data)} repeat another sample's text on the same problem word for word")
    if data.samples < 4 or not data.timed.all() or (data.tokens == data.tokens[0, 0]).all():
        return found
    if not again and _all_twice(data):
        found.append(
            "every sample has a twin with its answer and token count: was the pool put together from copies?"
        )
    whole = np.concatenate([data.tokens, data.answers, data.correct], axis=1)
    twins = data.problems - len(np.unique(whole, axis=0))
    if twins:
        found.append(
            f"{twins} problems have the very samples of another problem; they may be the same one twice"
        )
    return found


def _all_twice(data: PoolData) -> bool:
    """Whether every (answer, tokens) of every problem occurs at least twice in it."""
    places = data.frame.select("problem", "answer", "tokens").group_by("problem", "answer", "tokens").len()
    return bool((places["len"] >= 2).all())


def _errors(data: PoolData) -> list[str]:
    found = []
    errors = data.frame["error"].drop_nulls()
    errors = errors.filter(errors != "")
    if len(errors):
        first = errors.value_counts(sort=True).row(0)
        found.append(f"{_of(len(errors), data)} record an error, most often: {first[0]}")
    cut = int((data.frame["finish"] == "length").sum())
    if cut:
        found.append(f"{_of(cut, data)} were cut by their length limit")
    for name, score in data.scores.items():
        unscored = int(np.isnan(score).sum())
        if unscored:
            found.append(f"{_of(unscored, data)} have no score {name!r}; they drop out of choices by it")
    return found


def _of(count: int, data: PoolData) -> str:
    share = count / data.correct.size
    shown = f"{share:.1%}" if share >= 0.001 else "under 0.1%"
    return f"{count} of {data.correct.size} samples ({shown})"
