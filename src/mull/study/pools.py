"""The pool: many recorded samples of every problem, as arrays that the estimators read.

It checks what it is given and numbers the answer classes; it never estimates anything,
and never takes a missing score for a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError

Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pool:
    """S recorded samples of each of P problems; rows are problems.

    ``answers`` int [P, S]: the sample's answer class within its problem, -1 for no answer.
    ``correct`` bool [P, S]: one value a class, False without an answer. ``scores``: by
    verifier, float32 [P, S] in [0, 1], NaN where unscored. ``tokens`` int [P, S]: sampled tokens.
    """

    answers: Ints
    correct: Bools
    scores: Mapping[str, Singles]
    tokens: Ints

    def __post_init__(self) -> None:
        """Refuse what no estimator could read: shapes, scores out of range, a class both right and wrong."""
        shape = self.answers.shape
        if len(shape) != 2 or 0 in shape:
            raise MullError(f"a pool needs at least one problem and one sample; its shape is {shape}")
        for name, array in {"correct": self.correct, "tokens": self.tokens, **self.scores}.items():
            if array.shape != shape:
                raise MullError(f"pool: {name!r} has shape {array.shape}, the answers have {shape}")
        for name, score in self.scores.items():
            bad = np.argwhere((score < 0) | (score > 1))
            if bad.size:
                raise MullError(
                    f"pool: score {name!r} of problem {bad[0][0]}, sample {bad[0][1]} is outside 0..1"
                )
        mixed = self._class_right != self._class_size * (self._class_right > 0)
        if mixed.any():
            row = int(self._class_problem[np.argmax(mixed)])
            raise MullError(f"pool: problem {row} has an answer class that is both right and wrong")
        if (self.correct & (self.answers < 0)).any():
            row = int(np.argwhere(self.correct & (self.answers < 0))[0][0])
            raise MullError(f"pool: problem {row} has a sample that is right without an answer")

    @property
    def problems(self) -> int:
        """P."""
        return int(self.answers.shape[0])

    @property
    def samples(self) -> int:
        """S, samples a problem."""
        return int(self.answers.shape[1])

    def first(self, k: int) -> Pool:
        """The pool of every problem's first ``k`` samples."""
        if not 1 <= k <= self.samples:
            raise MullError(f"a pool of {self.samples} samples a problem has no first {k}")
        scores = {name: score[:, :k] for name, score in self.scores.items()}
        return Pool(self.answers[:, :k], self.correct[:, :k], scores, self.tokens[:, :k])

    def mean_tokens(self, ns: Sequence[int]) -> Floats:
        """Expected sampled tokens of an n-sample run, [P, len(ns)]."""
        return np.outer(self.tokens.mean(axis=1, dtype=np.float64), np.asarray(ns, np.float64))

    def score(self, name: str) -> Singles:
        """The scores of verifier ``name``, [P, S]; :class:`MullError` lists the known ones otherwise."""
        if name not in self.scores:
            raise MullError(f"the pool has no score {name!r}; it has: {', '.join(self.scores) or 'none'}")
        return self.scores[name]

    @cached_property
    def classes(self) -> Ints:
        """Answer classes numbered through the pool, problem by problem, [P, S]; -1 for no answer."""
        answered = self.answers >= 0
        width = int(self.answers.max(initial=0)) + 1
        key = self.answers.astype(np.int64) + np.arange(self.problems)[:, None] * width
        out = np.full(self.answers.shape, -1, np.int64)
        out[answered] = np.unique(key[answered], return_inverse=True)[1].reshape(-1)
        return out

    @cached_property
    def _class_size(self) -> Ints:
        return np.bincount(self.classes[self.classes >= 0])

    @cached_property
    def _class_right(self) -> Ints:
        return np.bincount(self.classes[self.correct & (self.classes >= 0)], minlength=len(self._class_size))

    @cached_property
    def _class_problem(self) -> Ints:
        rows = np.zeros(len(self._class_size), np.int64)
        held = self.classes >= 0
        rows[self.classes[held]] = np.nonzero(held)[0]
        return rows
