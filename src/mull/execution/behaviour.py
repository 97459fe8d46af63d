"""Choosing among programs by what they do: votes of behaviours, tests passed, agreement x tests.

Two programs behave alike when nothing that was run tells them apart. Pure functions on arrays of
one problem's programs, and the same as a selector on candidates; nothing here runs a program. A
score is one number a program, higher is better; :func:`expected` splits ties evenly, as an average
over the ways to break them, and :func:`best` breaks them by hash, the same in every run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from math import fsum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mull.errors import MullError
from mull.execution.suite import Outcome
from mull.select import Aggregation, Selection, tie_rank
from mull.trace import Candidate, Scores, Trace

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

#: Scores closer than this, relative to the best, are tied.
_TIE = 1e-9


def classes(behaviours: Sequence[Hashable]) -> Ints:
    """Each program's behaviour class, [S], numbered in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(behaviour, len(numbers)) for behaviour in behaviours], np.int64)


def pass_counts(passed: ArrayLike, counts: ArrayLike | None = None) -> Floats:
    """How many tests each program passes, [S], of ``passed`` 0/1 [S, T].

    ``counts`` [T] weighs the tests, by how often each was written, say.
    """
    table = np.asarray(passed, np.float64)
    if table.ndim != 2:
        raise MullError(f"passed is programs x tests; its shape is {table.shape}")
    weights = np.ones(table.shape[1]) if counts is None else np.asarray(counts, np.float64)
    if weights.shape != table.shape[1:]:
        raise MullError(f"{len(weights)} counts do not fit {table.shape[1]} tests")
    return np.asarray(table @ weights)


def votes(behaviour: Ints) -> Floats:
    """The size of each program's class, [S], of ``behaviour`` [S]: the score of the behaviour majority."""
    return np.asarray(np.bincount(behaviour)[behaviour], np.float64)


def agreement(behaviour: Ints, passed: Floats, power: float = 1.0) -> Floats:
    """Agreement x tests, [S]: the class's size to the ``power``, times the tests passed [S].

    The dual agreement of CodeT (Chen et al. 2022, section 2.2: power 1); its published code takes
    power 0.5 and counts every written copy of a program and of a test.
    """
    if len(behaviour) != len(passed):
        raise MullError(f"{len(behaviour)} behaviours do not fit {len(passed)} programs")
    return np.asarray(votes(behaviour) ** power * passed)


def expected(scores: Floats, correct: ArrayLike) -> float:
    """The chance that the best-scored program is right, drawing evenly among the tied; both [S]."""
    return float(np.asarray(correct, np.float64)[_winners(scores)].mean())


def best(problem_id: str, scores: Floats, programs: Sequence[str]) -> int:
    """The index of the best-scored program; ties by a hash of problem and text, whatever the order.

    Copies of one text are counted, so that each copy has its chance.
    """
    copies: Counter[str] = Counter()
    ranks = []
    for text in programs:
        ranks.append(tie_rank(problem_id, text, str(copies[text])))
        copies[text] += 1
    return int(max(_winners(scores), key=lambda i: ranks[i]))


def _winners(scores: Floats) -> Ints:
    if not len(scores):
        raise MullError("there is no program to choose from")
    top = scores.max()
    return np.flatnonzero(scores >= top - _TIE * abs(top))


def candidate(trace: Trace, outcome: Outcome) -> Candidate:
    """A program as a candidate: its behaviour is its answer, its tests' results are its scores.

    A program that could not be loaded has no answer and does not vote; one without tests is
    unscored. With that :func:`mull.select.majority` is the majority of behaviours,
    ``best_of_n`` with aggregation "mean" picks by tests passed, and ``best_of_n_weighted`` with
    "mean" is agreement x tests.
    """
    text = "\x1f".join(outcome.behaviour)
    name = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    steps = tuple(float(verdict.status == "pass") for verdict in outcome.tests)
    return Candidate(trace, name if outcome.loaded else None, Scores(steps) if steps else None)


def by_agreement(
    problem_id: str,
    candidates: Sequence[Candidate],
    aggregation: Aggregation = "mean",
    *,
    power: float = 1.0,
) -> Selection:
    """Agreement x tests as a selector (:class:`mull.select.Selector`) on :func:`candidate`'s.

    ``aggregation`` is of no account: tests are counted. Where no candidate has tests the behaviour
    majority decides; ties go to the larger class, then by hash.
    """
    sizes = Counter(c.answer for c in candidates if c.answer is not None)
    tested = {c.answer: fsum(c.scores.steps) for c in candidates if c.scores is not None}
    weights = {a: size**power * (tested.get(a, 0.0) if tested else 1.0) for a, size in sizes.items()}
    if not weights:
        return Selection(None, {}, None)
    ranked = sorted(weights, key=lambda a: (weights[a], sizes[a], tie_rank(problem_id, a)), reverse=True)
    givers = [i for i, c in enumerate(candidates) if c.answer == ranked[0]]
    texts = [candidates[i].trace.text for i in givers]
    chosen = givers[best(problem_id, np.zeros(len(givers)), texts)]
    return Selection(ranked[0], {answer: weights[answer] for answer in ranked}, chosen)
