"""Answers as equivalence classes, so that votes for one answer under different spellings add up.

Two answers are in one class if a chain of answers connects them, each equal to the next: the
transitive closure of the grader's relation, which tolerances and timeouts keep from being
transitive by itself. The closure does not depend on the order of the answers. What is equal
beyond doubt is grouped by hashing, numbers are compared with their neighbours, and math-verify is
asked only about undecided pairs that nothing has connected yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mull.grading.equal import decided, either_way
from mull.grading.form import Word, key, read, spelled
from mull.grading.quantity import Number
from mull.grading.settings import MATH, Settings
from mull.grading.strings import hendrycks
from mull.grading.workers import MathVerify


@dataclass(frozen=True)
class Classes:
    """The classes of a list of answers, largest first (ties by representative).

    ``labels`` gives each answer's class, None where there is no answer; ``representatives`` one
    spelling a class: the most frequent, then the shortest, then the first in
    alphabetical order; ``sizes`` the number of answers. A permutation of the answers
    permutes ``labels`` and changes nothing else.
    """

    labels: tuple[int | None, ...]
    representatives: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def merged(self) -> tuple[str | None, ...]:
        """The answers, each replaced by its class's representative: what a vote may count."""
        return tuple(None if label is None else self.representatives[label] for label in self.labels)


def classes(
    answers: Sequence[str | None], grader: Settings = MATH, workers: MathVerify | None = None
) -> Classes:
    """Which of one problem's answers are the same answer.

    Expensive judgements are made for undecided pairs of different expressions alone: at most
    m (m - 1) / 2 for m of them, fewer where classes are large. Raises what
    :func:`mull.grading.equal` raises.
    """
    texts = [None if answer is None or not answer.strip() else answer.strip() for answer in answers]
    counts = Counter(text for text in texts if text is not None)
    nodes: dict[Hashable, list[str]] = {}
    for text in sorted(counts):
        nodes.setdefault(_identity(text, grader), []).append(text)
    members = list(nodes.values())
    joined = _Joined(len(members))
    speakers = [same[0] for same in members]
    pending = []
    for i, j in _candidates(speakers, grader):
        if joined.root(i) == joined.root(j):
            continue
        found = decided(speakers[i], speakers[j], grader)
        if found is None:
            pending.append((i, j))
        elif found:
            joined.join(i, j)
    for i, j in pending:
        if joined.root(i) != joined.root(j) and either_way(speakers[i], speakers[j], grader, workers):
            joined.join(i, j)
    groups: dict[int, list[str]] = {}
    for i, same in enumerate(members):
        groups.setdefault(joined.root(i), []).extend(same)
    named = [(min(group, key=lambda t: (-counts[t], len(t), t)), group) for group in groups.values()]
    named.sort(key=lambda pair: (-sum(counts[text] for text in pair[1]), pair[0]))
    label = {text: n for n, (_, group) in enumerate(named) for text in group}
    return Classes(
        tuple(None if text is None else label[text] for text in texts),
        tuple(name for name, _ in named),
        tuple(sum(counts[text] for text in group) for _, group in named),
    )


def _identity(text: str, grader: Settings) -> Hashable:
    """Equal for answers that no policy of the grader could tell apart."""
    if len(text) > grader.longest or grader.reads == "text" or grader.reach == "text":
        return spelled(text, grader)
    if grader.spelling == "prm800k":
        return spelled(text, grader), hendrycks(text)
    return key(read(text, grader), grader)


def _candidates(texts: list[str], grader: Settings) -> Iterator[tuple[int, int]]:
    """The pairs that may be equal; of two numbers only those that are close."""
    if grader.reach == "text" and grader.spelling != "prm800k":
        return  # equal spellings have one identity already
    numbers: list[tuple[Fraction, int]] = []
    others: list[int] = []
    for i, text in enumerate(texts):
        form = None if grader.reads == "text" or len(text) > grader.longest else read(text, grader)
        if isinstance(form, Number) and grader.spelling == "mull":
            numbers.append((form.value, i))
            if form.percent:
                numbers.append((form.value / 100, i))
        else:
            others.append(i)
    numbers.sort()
    for at, (value, i) in enumerate(numbers):
        for other, j in numbers[at + 1 :]:
            if other - value > _reach(value, other, grader):
                break
            if i != j:
                yield i, j
    for at, i in enumerate(others):
        form = None if grader.reads == "text" or len(texts[i]) > grader.longest else read(texts[i], grader)
        if not isinstance(form, Word) or form.text in ("e", "E", "pi"):
            for j in dict.fromkeys(number for _, number in numbers):
                yield i, j
        for j in others[at + 1 :]:
            yield i, j


def _reach(low: Fraction, high: Fraction, grader: Settings) -> Fraction:
    """How far two numbers may be apart and still be equal."""
    places = Fraction(0) if grader.decimals is None else Fraction(1, 10**grader.decimals)
    return max(places, Fraction(grader.relative) * max(abs(low), abs(high)))


class _Joined:
    """Disjoint sets; the smallest index stands for its set."""

    def __init__(self, size: int) -> None:
        self.parents = list(range(size))

    def root(self, i: int) -> int:
        """Who stands for i's set."""
        while self.parents[i] != i:
            self.parents[i] = self.parents[self.parents[i]]
            i = self.parents[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make two sets one."""
        low, high = sorted((self.root(i), self.root(j)))
        self.parents[high] = low
