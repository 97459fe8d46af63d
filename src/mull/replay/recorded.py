"""Recorded samples made ready for replay, and the random orders in which runs draw them.

Answer classes are renumbered so that of two tied answers the smaller number is the one that
:mod:`mull.select` prefers; samples likewise get a rank for tied scores. So a replay ends in the same
answer as the selectors do. The module draws and counts; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.pools import PoolData
from mull.select import tie_rank
from mull.strategies import confidence_vote, score_stop
from mull.study.pools import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class Recorded:
    """P problems x S samples.

    ``answers`` [P, S]: classes within the problem, -1 for none; ``texts``: each problem's answers by
    class; ``right`` bool [P, K] by class; ``tokens`` [P, S]; ``scores`` float [P, S], NaN where
    unscored, in steps of 2**-20, or None; ``confidence`` int [P, S] in grains of
    :mod:`~mull.strategies.confidence_vote`, 0 where unknown, or None; ``rank`` [P, S]: the smaller wins
    between tied scores. ``step`` is the tokens of a step: where a replayed sample can be cut.
    ``kinds`` [P, K], or None: which answers are one to a vote and yet not right together, such as
    programs of one behaviour; -1 for an answer that does not vote.
    """

    names: tuple[str, ...]
    answers: Ints
    texts: tuple[tuple[str, ...], ...]
    right: Bools
    tokens: Ints
    scores: Floats | None
    confidence: Ints | None
    logprobs: Floats | None
    rank: Ints
    step: int
    kinds: Ints | None = None

    @classmethod
    def of(
        cls, data: PoolData, *, score: str | None = None, step: int = 64, behaviours: bool = False
    ) -> Recorded:
        """From a pool; ``score`` names the verifier whose scores count (None: its only one, if it has one).

        With ``behaviours`` answers vote by the pool's behaviours, and are right each by itself.

        Raises :class:`MullError` for a pool without answers, and for an unknown or undetermined score.
        """
        if not data.answered:
            raise MullError("the pool has no answers; a replay votes over them")
        if step < 1:
            raise MullError(f"a step has at least 1 token, not {step}")
        if score is not None and score not in data.scores:
            raise MullError(f"the pool has no score {score!r}; it has: {', '.join(data.scores) or 'none'}")
        name = score or (next(iter(data.scores)) if len(data.scores) == 1 else None)
        answers, texts = _by_rank(data)
        right = np.zeros((len(answers), max(map(len, texts))), bool)
        rows = np.broadcast_to(np.arange(len(answers))[:, None], answers.shape)
        hit = data.correct & (answers >= 0)
        right[rows[hit], answers[hit]] = True
        sure = None
        if data.logprobs is not None:
            mean = data.logprobs / np.maximum(data.tokens, 1)
            mean = np.where(data.tokens > 0, mean, np.nan)
            sure = np.array(
                [[0 if m != m else confidence_vote.grains(m) for m in row] for row in mean.tolist()]
            )
        values = None
        if name is not None:
            values = np.rint(data.scores[name].astype(np.float64) * score_stop.GRAIN) / score_stop.GRAIN
        rank = (
            np.zeros(answers.shape, np.int64) if values is None else _sample_ranks(data.names, answers, texts)
        )
        return cls(
            data.names,
            answers,
            texts,
            right,
            data.tokens.astype(np.int64),
            values,
            sure,
            data.logprobs,
            rank,
            step,
            _kinds(data, answers, texts) if behaviours else None,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(P, S)."""
        return self.answers.shape

    def orders(self, runs: int, samples: int, seed: int) -> Ints:
        """For each run and problem the samples in the order they are drawn, [runs, P, samples]."""
        count, size = self.shape
        if not 1 <= samples <= size:
            raise MullError(f"{samples} samples a problem were asked for; the pool has {size}")
        keys = np.random.default_rng(seed).random((runs, count, size), np.float32)
        return np.argsort(keys, axis=2)[:, :, :samples]

    def draw(self, runs: int, samples: int, seed: int) -> Drawn:
        """``runs`` runs that draw up to ``samples`` samples of every problem, each in its own order."""
        return self.drawn(self.orders(runs, samples, seed))

    def drawn(self, orders: Ints) -> Drawn:
        """Runs in given orders [runs, P, n]."""
        runs, count, size = orders.shape

        def taken(values: NDArray[np.generic]) -> NDArray[np.generic]:
            found = np.take_along_axis(np.broadcast_to(values, (runs, *values.shape)), orders, axis=2)
            return np.ascontiguousarray(found.reshape(runs * count, size).T)

        return Drawn(
            self,
            runs,
            taken(self.answers).astype(np.int16),
            taken(self.tokens).astype(np.int64),
            None if self.scores is None else taken(self.scores).astype(np.float64),
            None if self.confidence is None else taken(self.confidence).astype(np.int64),
            taken(self.rank).astype(np.int32),
            orders,
        )


@dataclass(frozen=True, eq=False)
class Drawn:
    """What R runs on P problems would see, in order of drawing: arrays [n, R * P], run after run."""

    recorded: Recorded
    runs: int
    answers: NDArray[np.int16]
    tokens: NDArray[np.int64]
    scores: Floats | None
    confidence: Ints | None
    rank: Ints
    orders: Ints  # [R, P, n], the samples as they are drawn
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)  # what several arms share

    @property
    def samples(self) -> int:
        """n, the most that a run can draw."""
        return int(self.answers.shape[0])

    @cached_property
    def problem(self) -> Ints:
        """The problem of each column, [R * P]."""
        return np.tile(np.arange(len(self.recorded.names)), self.runs)

    @cached_property
    def tally(self) -> Tally:
        """The vote after each sample, whole solutions in the order drawn."""
        return Tally.of(self.answers, self.recorded.right.shape[1])

    @cached_property
    def spent(self) -> Ints:
        """Tokens of the first 1, 2, ... samples, [n, R * P]."""
        return self.tokens.cumsum(axis=0)

    def right(self, answer: Ints) -> Bools:
        """Whether each column's answer [R * P] is right; -1 is not."""
        return np.asarray(self.recorded.right[self.problem, np.maximum(answer, 0)] & (answer >= 0))


@dataclass(frozen=True, eq=False)
class Tally:
    """A vote after each ballot, [n, M]: ``leader`` (-1: none yet), the votes of it and of the runner-up."""

    leader: NDArray[np.int16]
    top: NDArray[np.int16]
    second: NDArray[np.int16]

    def at(self, after: Ints) -> Tally:
        """The votes after ``after`` [L] ballots, in order: arrays [L, M]."""
        return Tally(self.leader[after - 1], self.top[after - 1], self.second[after - 1])

    @classmethod
    def of(cls, ballots: NDArray[np.int16], classes: int) -> Tally:
        """Count ``ballots`` [n, M] (-1 does not vote) one by one; the smaller of two tied answers leads."""
        size, columns = ballots.shape
        counts = np.zeros(columns * classes, np.int16)
        base = np.arange(columns, dtype=np.int64) * classes
        leader = np.full(columns, -1, np.int16)
        top, second = np.zeros(columns, np.int16), np.zeros(columns, np.int16)
        found = cls(*(np.empty((size, columns), np.int16) for _ in range(3)))
        for i, ballot in enumerate(ballots):
            votes = ballot >= 0
            at = base + np.maximum(ballot, 0)
            count = counts[at] + votes
            counts[at] = count
            count *= votes
            own = votes & (ballot == leader)
            over = ~own & ((count > top) | (votes & (count == top) & (ballot < leader)))
            second = np.where(over, top, np.where(own, second, np.maximum(second, count)))
            top = np.where(own | over, count, top)
            leader = np.where(over, ballot, leader)
            found.leader[i], found.top[i], found.second[i] = leader, top, second
        return found


def _kinds(data: PoolData, answers: Ints, texts: Sequence[tuple[str, ...]]) -> Ints:
    """The behaviour of each answer class, [P, K]; an answer has one."""
    if data.behaviours is None:
        raise MullError("the pool records no behaviours to vote by")
    found = np.full((len(answers), max(map(len, texts))), -1, np.int64)
    for row, (labels, kinds) in enumerate(zip(answers, data.behaviours, strict=True)):
        held = labels >= 0
        found[row, labels[held]] = kinds[held]
        if (found[row, labels[held]] != kinds[held]).any():
            raise MullError(f"problem {data.names[row]!r}: one answer is recorded with two behaviours")
    return found


def text_of(texts: tuple[str, ...], answer: int) -> str | None:
    """A class's answer; None for no class."""
    return None if answer < 0 else texts[answer]


def sample_text(sample: int, answer: str | None) -> str:
    """The text that a replayed sample ends with: no two samples' are the same."""
    return f"sample {sample}\n" + ("no answer" if answer is None else f"answer {answer}")


def read_answer(text: str) -> str | None:
    """The answer in a replayed solution's text, letter for letter as recorded."""
    _, _, last = text.partition("\n")
    return last.removeprefix("answer ") if last.startswith("answer ") else None


def _sample_ranks(names: Sequence[str], answers: Ints, texts: Sequence[tuple[str, ...]]) -> Ints:
    """Each sample's place among its problem's, as the selectors order what is scored alike."""
    found = np.empty(answers.shape, np.int64)
    for row, problem in enumerate(names):
        labels = answers[row].tolist()
        said = [sample_text(s, text_of(texts[row], label)) for s, label in enumerate(labels)]
        order = sorted(range(len(said)), key=lambda s: tie_rank(problem, said[s], "0"), reverse=True)
        found[row, order] = np.arange(len(order))
    return found


def _by_rank(data: PoolData) -> tuple[Ints, tuple[tuple[str, ...], ...]]:
    """Answers renumbered by how :mod:`mull.select` ranks tied ones, and their texts."""
    recorded = data.frame["answer"].to_list()
    size = data.samples
    answers = np.full(data.answers.shape, -1, np.int64)
    texts = []
    for row, problem in enumerate(data.names):
        spelled = {
            int(label): recorded[row * size + column]
            for column, label in enumerate(data.answers[row].tolist())
            if label >= 0
        }
        order = sorted(spelled, key=lambda label: tie_rank(problem, spelled[label]), reverse=True)
        place = {label: new for new, label in enumerate(order)}
        answers[row] = [place.get(label, -1) for label in data.answers[row].tolist()]
        texts.append(tuple(spelled[label] for label in order))
    return answers, tuple(texts)
