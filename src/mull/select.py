"""Selectors: how finished candidates become one answer.

Pure functions; the order of the candidates never matters. A candidate without an answer
drops out of every vote, one without a score out of the selectors that need scores; when
none is left the answer is None.

**Ties** are broken by the number of votes, then by a hash of the problem's id and the
answer. Breaking them by position would depend on the order of sampling, and by the
answer's text would favour, say, small numbers on every problem alike; a hash is fair
over problems, the same in every run, and the same for all selectors, so that a constant
verifier makes the weighted vote equal the majority's exactly.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import fsum, prod, sqrt
from typing import Literal, Protocol

from mull.errors import MullError
from mull.trace import Candidate, Scores

Aggregation = Literal["last", "min", "product", "mean"]

#: How the values of a trace's steps become one (the paper uses "last"; section 5.1, figure 13).
AGGREGATIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1],
    "min": min,
    "product": prod,
    "mean": lambda values: fsum(values) / len(values),
}


@dataclass(frozen=True)
class Selection:
    """What was chosen: the answer (None if there is none), and why.

    ``weights`` maps each answer in the running to its weight, heaviest first;
    ``chosen`` is the index of the candidate that stands for the answer: the best-scored
    one that gives it.
    """

    answer: str | None
    weights: Mapping[str, float]
    chosen: int | None


class Selector(Protocol):
    """Chooses among one problem's candidates."""

    def __call__(
        self, problem_id: str, candidates: Sequence[Candidate], aggregation: Aggregation = "last"
    ) -> Selection:
        """The selection; ``aggregation`` says how a trace's step values become its score."""
        ...


def aggregate(scores: Scores, how: Aggregation = "last") -> float:
    """One value in [0, 1] from the values of the steps; :class:`MullError` for an unknown ``how``."""
    if how not in AGGREGATIONS:
        raise MullError(f"there is no aggregation {how!r}; known: {', '.join(AGGREGATIONS)}")
    return AGGREGATIONS[how](scores.steps)


def tie_rank(problem_id: str, *parts: str) -> int:
    """A 64-bit hash that orders what is tied on one problem; the larger wins."""
    text = "\x1f".join((problem_id, *parts))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def majority(
    problem_id: str, candidates: Sequence[Candidate], aggregation: Aggregation = "last"
) -> Selection:
    """The answer that most candidates give; scores are not looked at, save to pick who stands for it."""
    votes = Counter(c.answer for c in candidates if c.answer is not None)
    weights = {answer: float(n) for answer, n in votes.items()}
    return _chosen(problem_id, candidates, weights, votes, aggregation)


def best_of_n_weighted(
    problem_id: str, candidates: Sequence[Candidate], aggregation: Aggregation = "last"
) -> Selection:
    """The answer whose candidates' scores have the largest sum (Li et al. 2023)."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for c in candidates:
        if c.answer is not None and c.scores is not None:
            values[c.answer].append(aggregate(c.scores, aggregation))
    weights = {answer: fsum(found) for answer, found in values.items()}
    votes = {answer: len(found) for answer, found in values.items()}
    return _chosen(problem_id, candidates, weights, votes, aggregation)


def best_of_n(
    problem_id: str, candidates: Sequence[Candidate], aggregation: Aggregation = "last"
) -> Selection:
    """The answer of the candidate scored highest; an answer's weight is its best score.

    Tied candidates are drawn from by hash, each with the same chance, so that a
    constant verifier makes this one sampled solution and not one drawn answer.
    """
    running = [i for i, c in enumerate(candidates) if c.answer is not None and c.scores is not None]
    if not running:
        return Selection(None, {}, None)
    order = _order(problem_id, candidates, running, aggregation)
    best: dict[str, float] = {}
    for i in order:
        candidate = candidates[i]
        assert candidate.answer is not None and candidate.scores is not None
        best.setdefault(candidate.answer, aggregate(candidate.scores, aggregation))
    return Selection(candidates[order[0]].answer, best, order[0])


def hierarchical(
    problem_id: str, candidates: Sequence[Candidate], aggregation: Aggregation = "last"
) -> Selection:
    """Best-of-N weighted within each chain of revisions, then over the chains' winners.

    A chain is represented by the best-scored candidate that gives its winning answer (Snell
    et al. 2024, section 6.1). Candidates of no chain stand for themselves; if all do, it is
    best-of-N weighted.
    """
    chains: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for i, candidate in enumerate(candidates):
        chain = candidate.trace.chain
        chains[("alone", i) if chain is None else ("chain", chain)].append(i)
    standing: list[int] = []
    for members in chains.values():
        won = best_of_n_weighted(problem_id, [candidates[i] for i in members], aggregation)
        if won.chosen is not None:
            standing.append(members[won.chosen])
    found = best_of_n_weighted(problem_id, [candidates[i] for i in standing], aggregation)
    chosen = None if found.chosen is None else standing[found.chosen]
    return Selection(found.answer, found.weights, chosen)


def agreement(
    problem_id: str, candidates: Sequence[Candidate], aggregation: Aggregation = "last"
) -> Selection:
    """The answer with the largest root of its scored votes times their mean score (Chen et al. 2022).

    Halfway between :func:`best_of_n_weighted`, which takes the votes themselves, and the best mean
    score, which takes no account of them.
    """
    values: defaultdict[str, list[float]] = defaultdict(list)
    for c in candidates:
        if c.answer is not None and c.scores is not None:
            values[c.answer].append(aggregate(c.scores, aggregation))
    weights = {answer: fsum(found) / sqrt(len(found)) for answer, found in values.items()}
    votes = {answer: len(found) for answer, found in values.items()}
    return _chosen(problem_id, candidates, weights, votes, aggregation)


#: The selectors, by the name that strategies ask for them with.
SELECTORS: Mapping[str, Selector] = {
    "majority": majority,
    "best_of_n": best_of_n,
    "best_of_n_weighted": best_of_n_weighted,
    "hierarchical": hierarchical,
    "agreement": agreement,
}


def _chosen(
    problem_id: str,
    candidates: Sequence[Candidate],
    weights: Mapping[str, float],
    votes: Mapping[str, int] | Counter[str],
    aggregation: Aggregation,
) -> Selection:
    """The heaviest answer, ties by votes and then by hash."""
    if not weights:
        return Selection(None, {}, None)
    ranked = sorted(weights, key=lambda a: (weights[a], votes[a], tie_rank(problem_id, a)), reverse=True)
    givers = [i for i, c in enumerate(candidates) if c.answer == ranked[0]]
    chosen = _order(problem_id, candidates, givers, aggregation)[0]
    return Selection(ranked[0], {answer: weights[answer] for answer in ranked}, chosen)


def _order(
    problem_id: str, candidates: Sequence[Candidate], running: Sequence[int], aggregation: Aggregation
) -> list[int]:
    """Candidates (by index) best-scored first, unscored last, ties by a hash of text and occurrence.

    The n-th copy of a text hashes differently from the others, so that each copy has
    the same chance; copies of one text are interchangeable, so their order is of no account.
    """
    copies: Counter[tuple[str, float]] = Counter()
    keys: dict[int, tuple[float, int]] = {}
    for i in running:
        scores = candidates[i].scores
        value = -1.0 if scores is None else aggregate(scores, aggregation)
        text = candidates[i].trace.text
        keys[i] = (value, tie_rank(problem_id, text, str(copies[text, value])))
        copies[text, value] += 1
    return sorted(running, key=lambda i: keys[i], reverse=True)
