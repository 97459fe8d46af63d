"""Chains of revisions as arrays: every ratio of sequential to parallel attempts, and what chains do.

A ratio's accuracy at a budget is the mean over disjoint groups of recorded chains, each cut
to the ratio's length, so that no attempt counts twice. Costs are means over the same groups:
the prompt is read once, every later context anew. Nothing is sampled here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mull.analysis.measure import Measure
from mull.errors import MullError
from mull.select import tie_rank
from mull.strategies.base import Arm
from mull.study.plan import chain_lengths

Floats = NDArray[np.float64]
Selector = Literal["hierarchical", "majority"]
#: The values that a hierarchical vote can go by: the revision verifier's with and without the attempts
#: before, and the PRM's.
VERIFIERS = ("score", "score_blind", "prm")
#: The strategy that a selector stands for.
STRATEGIES: dict[Selector, str] = {"hierarchical": "revise", "majority": "revise_majority"}


def ratios(budget: int, largest: int) -> tuple[tuple[int, int], ...]:
    """(chains, length) pairs at ``budget`` attempts, most parallel first.

    All factorisations into powers of two; at 256 only those into powers of four, and the
    same at ``largest``, the recorded limit (Snell et al. 2025, ICLR table 1, has it for 256).
    """
    lengths = [1 << i for i in range(budget.bit_length())]
    if budget == largest:
        lengths = [length for length in lengths if (length.bit_length() - 1) % 2 == 0]
    return tuple((budget // length, length) for length in lengths)


@dataclass(frozen=True, eq=False)
class Revisions:
    """The chains of P problems, arrays [P, A] over their A attempts; ``starts`` and ``lengths`` [C] say
    where each of C chains begins and how long it is, the same for all problems.

    ``answers``: answer class within the problem, -1 for none; ``ranks``: the hash that breaks ties
    between classes; ``scores``: by name of :data:`VERIFIERS`, NaN where there is none.
    """

    limit: int
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    answers: NDArray[np.int64]
    ranks: tuple[tuple[int, ...], ...]
    correct: NDArray[np.bool_]
    scores: dict[str, Floats]
    frame: pl.DataFrame

    @property
    def problems(self) -> int:
        """P."""
        return len(self.answers)

    def grid(self, column: str) -> Floats:
        """A column of the recorded rows, [P, A]."""
        return self.frame[column].cast(pl.Float64).to_numpy().reshape(self.answers.shape)

    @cached_property
    def budgets(self) -> tuple[int, ...]:
        """Powers of two up to the limit."""
        return tuple(1 << i for i in range(self.limit.bit_length()))

    def groups(self, chains: int, length: int) -> list[list[int]]:
        """Disjoint groups of ``chains`` recorded chains of at least ``length`` attempts."""
        fit = np.nonzero(self.lengths >= length)[0].tolist()
        whole = len(fit) // chains
        if not whole:
            raise MullError(f"{chains} chains of {length} revisions were not recorded")
        return [fit[i * chains : (i + 1) * chains] for i in range(whole)]

    def accuracy(
        self, chains: int, length: int, selector: Selector = "hierarchical", by: str = "score"
    ) -> Floats:
        """Accuracy [P] of ``chains`` chains of ``length`` attempts, voting ``by`` a score."""
        groups = self.groups(chains, length)
        if selector == "hierarchical":
            votes = self._standing(length, by)
        found = np.zeros(self.problems)
        for p in range(self.problems):
            for group in groups:
                tally: dict[int, list[float]] = {}
                for chain in group:
                    if selector == "hierarchical":
                        cast = votes[p][chain]
                    else:
                        at = self.starts[chain]
                        cast = [(int(a), 1.0) for a in self.answers[p, at : at + length]]
                    for answer, weight in cast:
                        if answer >= 0:
                            entry = tally.setdefault(answer, [0.0, 0.0])
                            entry[0] += weight
                            entry[1] += 1
                won = self._winner(p, tally)
                found[p] += won is not None and self._right[p][won]
        return found / len(groups)

    def _standing(self, length: int, by: str) -> list[dict[int, list[tuple[int, float]]]]:
        """For each problem and chain the winning class of its first attempts, with its best score."""
        key = (length, by)
        if key not in self._stood:
            scores, made = self.scores[by], []
            for p in range(self.problems):
                row: dict[int, list[tuple[int, float]]] = {}
                for chain in np.nonzero(self.lengths >= length)[0].tolist():
                    at = int(self.starts[chain])
                    tally: dict[int, list[float]] = {}
                    best: dict[int, float] = {}
                    for i in range(at, at + length):
                        answer, score = int(self.answers[p, i]), float(scores[p, i])
                        if answer >= 0 and score == score:
                            entry = tally.setdefault(answer, [0.0, 0.0])
                            entry[0] += score
                            entry[1] += 1
                            best[answer] = max(best.get(answer, 0.0), score)
                    won = self._winner(p, tally)
                    row[chain] = [] if won is None else [(won, best[won])]
                made.append(row)
            self._stood[key] = made
        return self._stood[key]

    @cached_property
    def _stood(self) -> dict[tuple[int, str], list[dict[int, list[tuple[int, float]]]]]:
        return {}

    def _winner(self, p: int, tally: dict[int, list[float]]) -> int | None:
        """The heaviest class, ties by votes and then by hash, as :mod:`mull.select` has it."""
        if not tally:
            return None
        return max(tally, key=lambda a: (tally[a][0], tally[a][1], self.ranks[p][a]))

    @cached_property
    def _right(self) -> list[dict[int, bool]]:
        return [
            {int(a): bool(c) for a, c in zip(answers, correct, strict=True) if a >= 0}
            for answers, correct in zip(self.answers, self.correct, strict=True)
        ]

    def measure(
        self, chains: int, length: int, selector: Selector = "hierarchical", by: str = "score"
    ) -> Measure:
        """Accuracy and cost of a ratio; majority pays for no verifier."""
        used = [chain for group in self.groups(chains, length) for chain in group]
        groups = len(used) // chains
        at = np.concatenate([np.arange(self.starts[c], self.starts[c] + length) for c in used])
        later = at[~np.isin(at, self.starts)]

        def total(column: str, where: NDArray[np.int64] = at) -> Floats:
            return np.asarray(self.grid(column)[:, where].sum(axis=1) / groups)

        first = self.starts[0]
        flops = total("flops") + total("context_flops", later) + self.grid("context_flops")[:, first]
        read = np.zeros(self.problems)
        if selector == "hierarchical":
            read = total("tokens") + total("verifier_context_tokens", later)
            read += self.grid("verifier_context_tokens")[:, first]
            flops += total("verifier_flops") + total("verifier_context_flops", later)
            flops += self.grid("verifier_context_flops")[:, first]
        count = np.full(self.problems, float(chains * length))
        return Measure(self.accuracy(chains, length, selector, by), count, total("tokens"), read, flops)

    def arms(self, selector: Selector) -> dict[Arm, Measure]:
        """Every ratio at every budget."""
        return {
            Arm(STRATEGIES[selector], budget, (("chains", chains),)): self.measure(chains, length, selector)
            for budget in self.budgets
            for chains, length in ratios(budget, self.limit)
        }

    def by_position(self, column: str = "correct") -> Floats:
        """A column's mean at each position of the chains that reach it, [P, limit]."""
        values = self.grid(column)
        found = np.empty((self.problems, self.limit))
        for position in range(self.limit):
            found[:, position] = values[:, self.starts[self.lengths > position] + position].mean(axis=1)
        return found

    def transitions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(times an attempt was right, times the next was then wrong) and the reverse: [P, 2] each."""
        inside = np.ones(self.answers.shape[1] - 1, bool)
        inside[self.starts[1:] - 1] = False
        before, after = self.correct[:, :-1][:, inside], self.correct[:, 1:][:, inside]
        lost = np.stack([before.sum(axis=1), (before & ~after).sum(axis=1)], axis=1)
        won = np.stack([(~before).sum(axis=1), (~before & after).sum(axis=1)], axis=1)
        return lost, won


def revisions(frame: pl.DataFrame, problems: Sequence[str], limit: int) -> Revisions:
    """The recorded rows of all problems, in their order, as arrays."""
    lengths = np.asarray(chain_lengths(limit))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    shape = (len(problems), int(lengths.sum()))
    if frame["problem"].to_list()[:: shape[1]] != list(problems):
        raise MullError("the chains' shards are not of this study's problems; delete them and run again")
    answers = np.full(shape, -1, np.int64)
    ranks = []
    listed = frame["answer"].to_list()
    for row, problem in enumerate(problems):
        classes: dict[str, int] = {}
        for column, answer in enumerate(listed[row * shape[1] : (row + 1) * shape[1]]):
            if answer is not None:
                answers[row, column] = classes.setdefault(answer, len(classes))
        ranks.append(tuple(tie_rank(problem, answer) for answer in classes))
    scores = {
        name: frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(shape)
        for name in VERIFIERS
    }
    correct = frame["correct"].to_numpy().reshape(shape)
    return Revisions(limit, starts, lengths, answers, tuple(ranks), correct, scores, frame)
