"""Which solutions stand for the paper's samples: chains of revisions and the PRM's scores, by a fixed rule.

The paper shows chosen examples (arXiv appendices L and M). Here the rule is stated, so that
nothing is picked by hand: the first in the study's order that is of the kind asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mull.paper.arrays import Floats, Labels
from mull.paper.shown import Attempt, Part, Question, attempt
from mull.problems import Problem
from mull.strategies.revisions import WINDOW
from mull.study.plan import chain_lengths

Flags = NDArray[np.bool_]
Answers = Sequence[str | None]
#: Whether four attempts are of a kind, given which are right and what they answer.
Kind = Callable[[Flags, Answers], bool]
RULE = (
    "Of each kind it is the first chain, in the study's order of problems and then of chains; no problem is "
    "shown twice."
)


def mended(right: Flags, answers: Answers) -> bool:
    """Wrong at first, right at last."""
    return bool(not right[0] and right[-1])


def lost(right: Flags, answers: Answers) -> bool:
    """Right at first, wrong at last."""
    return bool(right[0] and not right[-1])


def stuck(right: Flags, answers: Answers) -> bool:
    """Never right, though the answer changes."""
    return not right.any() and len(set(answers)) > 1


def question(problem: Problem, bins: Labels | None, row: int) -> Question:
    """A problem with its difficulty."""
    at = None if bins is None else int(bins[row]) + 1
    return Question(problem.id, problem.prompt.strip(), str(problem.gold), at)


class Chains:
    """The first four attempts of every recorded chain that has as many, [P, C, 4]."""

    def __init__(
        self, frame: pl.DataFrame, problems: Sequence[Problem], limit: int, bins: Labels | None
    ) -> None:
        lengths = np.asarray(chain_lengths(limit))
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])[lengths >= WINDOW]
        self.frame, self.problems, self.bins = frame, problems, bins
        self.each = int(lengths.sum())
        self.at = starts[:, None] + np.arange(WINDOW)
        shape = (len(problems), self.each)
        self.right: Flags = frame["correct"].to_numpy().reshape(shape)[:, self.at]
        ended: Flags = (frame["finish"] == "stop").to_numpy().reshape(shape)[:, self.at]
        self.whole: Flags = np.asarray(ended.all(axis=2))
        self._used: set[int] = set()

    def first(self, kind: Kind, bin_: int | None = None) -> Part | None:
        """The first chain of a kind, in a bin (0 the easiest) if that is given; None if there is none."""
        for row in range(len(self.problems)):
            if row in self._used or (bin_ is not None and (self.bins is None or self.bins[row] != bin_)):
                continue
            for chain in np.nonzero(self.whole[row])[0]:
                if kind(self.right[row, chain], self._answers(row, int(chain))):
                    self._used.add(row)
                    return self.part(row, int(chain))
        return None

    def _answers(self, row: int, chain: int) -> Answers:
        return self.frame["answer"].slice(row * self.each + int(self.at[chain, 0]), WINDOW).to_list()

    def part(self, row: int, chain: int) -> Part:
        """A problem's chain as it is shown."""
        first = row * self.each + int(self.at[chain, 0])
        rows = self.frame.slice(first, WINDOW).to_dicts()
        made = tuple(
            attempt(found, f"Attempt {i + 1}", rows[i - 1] if i else None) for i, found in enumerate(rows)
        )
        return Part(question(self.problems[row], self.bins, row), made, chained=True)


class Scored:
    """A pool's solutions with the PRM's values."""

    def __init__(self, frame: pl.DataFrame, problems: Sequence[Problem], bins: Labels | None) -> None:
        shape = (len(problems), frame.height // len(problems))
        self.frame, self.problems, self.bins = frame, problems, bins
        last = frame["prm"].list.last().cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(shape)
        self.right: Flags = frame["correct"].to_numpy().reshape(shape)
        self.last: Floats = last
        self.known: Flags = ~np.isnan(last) & (frame["finish"] == "stop").to_numpy().reshape(shape)

    def extremes(self, bin_: int) -> Part | None:
        """Of the bin's first problem with right and wrong solutions: each kind's best and worst scored."""
        for row in range(len(self.problems)):
            if self.bins is None or self.bins[row] != bin_:
                continue
            right, wrong = self.known[row] & self.right[row], self.known[row] & ~self.right[row]
            if right.any() and wrong.any():
                found = [*self._ends(row, right, "Right"), *self._ends(row, wrong, "Wrong")]
                return Part(question(self.problems[row], self.bins, row), tuple(found))
        return None

    def mistakes(self) -> tuple[Part, ...]:
        """The study's highest-scored wrong solution and its lowest-scored right one."""
        found = []
        for kept, sign, label in (
            (self.known & ~self.right, 1, "The wrong solution that scores highest"),
            (self.known & self.right, -1, "The right solution that scores lowest"),
        ):
            if kept.any():
                row, column = np.unravel_index(np.where(kept, sign * self.last, -np.inf).argmax(), kept.shape)
                one = self._attempt(int(row), int(column), label)
                found.append(Part(question(self.problems[int(row)], self.bins, int(row)), (one,)))
        return tuple(found)

    def _ends(self, row: int, kept: Flags, word: str) -> list[Attempt]:
        best = int(np.where(kept, self.last[row], -np.inf).argmax())
        worst = int(np.where(kept, self.last[row], np.inf).argmin())
        if self.last[row, best] == self.last[row, worst]:
            return [self._attempt(row, best, f"{word}, all scored alike")]
        ends = ((best, "highest"), (worst, "lowest"))
        return [self._attempt(row, column, f"{word}, scored {how}") for column, how in ends]

    def _attempt(self, row: int, column: int, label: str) -> Attempt:
        found: dict[str, Any] = self.frame.row(row * self.right.shape[1] + column, named=True)
        return attempt(found, label)
