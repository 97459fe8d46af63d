"""The small world's problems: seeded arithmetic word problems in plain English.

A problem tells how many things each of several people has, mostly relative to
one another, and asks for one person's number. Its difficulty comes from several
independent sources: the number of steps, the size of the numbers, the kinds of
relation (a relation told backwards invites the opposite operation), facts told
out of order, and facts that are not needed.

The module draws and prints problems and solves them exactly. It never samples a
model and knows nothing of tokens. Splits are disjoint by a hash of the problem's
text, so no seed can leak a test problem into training.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import numpy as np

Kind = Literal["base", "more", "fewer", "times", "rmore", "rfewer", "rtimes", "sum"]
Split = Literal["train", "validation", "test"]
Op = Literal["+", "-", "*", "/"]
T = TypeVar("T")

NAMES = ("Ann", "Ben", "Cam", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon", "Kim", "Leo")
ITEMS = ("apples", "books", "coins", "eggs", "pens", "shells")
#: Relations whose wording names the opposite of the operation that solves them.
REVERSED: dict[str, Op] = {"rmore": "-", "rfewer": "+", "rtimes": "/"}
_OP: dict[str, Op] = {"more": "+", "fewer": "-", "times": "*", "sum": "+", **REVERSED}
_SIZES = (30, 99, 999)
_KIND_WEIGHTS = {"more": 0.37, "fewer": 0.37, "times": 0.18, "sum": 0.08}
_KINDS = tuple(_KIND_WEIGHTS)
#: No true value of a problem is larger.
LARGEST = 999


@dataclass(frozen=True)
class Mix:
    """How often the costly kinds of difficulty occur in a stream of problems.

    ``shuffled`` is the share of problems whose facts are told in any order; ``sizes``
    the shares with numbers to about 30, 99 and 999; ``steps`` the shares with 1, 2, ...
    steps.
    """

    shuffled: float
    sizes: tuple[float, float, float]
    steps: tuple[float, ...]


#: The small world's own mix: what is tested, and what verifiers are trained on.
WORLD = Mix(0.10, (0.47, 0.45, 0.08), (0.16, 0.20, 0.21, 0.18, 0.14, 0.11))
#: Harder ones, on which the proposer is trained: first this,
BROAD = Mix(0.40, (0.40, 0.40, 0.20), (0.14, 0.18, 0.20, 0.18, 0.16, 0.14))
#: then this.
PRACTICE = Mix(0.12, (0.45, 0.45, 0.10), BROAD.steps)


@dataclass(frozen=True)
class Fact:
    """One sentence of a problem: how many things ``subject`` has.

    ``number`` is the amount told (0 for ``sum``); ``other`` is the person that
    the relation refers to, ``third`` the second summand of a ``sum``.
    """

    kind: Kind
    subject: str
    number: int = 0
    other: str = ""
    third: str = ""

    @property
    def op(self) -> Op:
        """The operation that computes ``subject`` (a base fact has none)."""
        return _OP[self.kind]

    def sentence(self, item: str) -> str:
        """The fact in plain English; reversed kinds are told from ``other``."""
        s, o, n = self.subject, self.other, self.number
        match self.kind:
            case "base":
                return f"{s} has {n} {item}."
            case "more" | "fewer":
                return f"{s} has {n} {self.kind} than {o}."
            case "rmore" | "rfewer":
                return f"{o} has {n} {self.kind[1:]} than {s}."
            case "times":
                return f"{s} has {n} times as many as {o}."
            case "rtimes":
                return f"{o} has {n} times as many as {s}."
            case "sum":
                return f"{s} has as many as {o} and {self.third} together."


@dataclass(frozen=True)
class Story:
    """A problem: facts in the order told, the chain that solves it, the question.

    ``chain`` holds the facts to be worked in order, base facts left out; its last
    subject is the one asked for.
    """

    item: str
    facts: tuple[Fact, ...]
    chain: tuple[Fact, ...]

    @property
    def target(self) -> str:
        """The person whose number is asked for."""
        return self.chain[-1].subject

    @property
    def prompt(self) -> str:
        """The problem's text, ending in a newline."""
        told = " ".join(fact.sentence(self.item) for fact in self.facts)
        return f"{told} How many {self.item} does {self.target} have?\n"

    @property
    def bases(self) -> dict[str, int]:
        """Numbers told outright, by person."""
        return {f.subject: f.number for f in self.facts if f.kind == "base"}

    @property
    def values(self) -> dict[str, int]:
        """The true number of everybody told outright or on the chain, by exact arithmetic."""
        known = self.bases
        for fact in self.chain:
            a, b = operands(fact, known)
            known[fact.subject] = calculate(fact.op, a, b)
        return known

    @property
    def answer(self) -> int:
        """The right answer."""
        return self.values[self.target]


def operands(fact: Fact, known: dict[str, int]) -> tuple[int, int]:
    """The two numbers of a step, in writing order."""
    return known[fact.other], known[fact.third] if fact.kind == "sum" else fact.number


def calculate(op: Op, a: int, b: int) -> int:
    """``a op b`` on non-negative integers; a difference is taken from the larger number."""
    match op:
        case "+":
            return a + b
        case "-":
            return abs(a - b)
        case "*":
            return a * b
        case "/":
            return a // max(b, 1)


def split_of(prompt: str) -> Split:
    """The split that a problem belongs to, by hash of its text (2 % test, 2 % validation)."""
    bucket = int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=4).digest(), "big") % 100
    return "test" if bucket < 2 else "validation" if bucket < 4 else "train"


def stories(split: Split, seed: int, mix: Mix = WORLD) -> Iterator[Story]:
    """An endless, seeded stream of different problems of one split."""
    tag = int.from_bytes(hashlib.blake2b(split.encode(), digest_size=4).digest(), "big")
    rng = np.random.default_rng([seed, tag])
    seen: set[bytes] = set()
    while True:
        story = draw(rng, mix)
        prompt = story.prompt
        key = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
        if split_of(prompt) == split and key not in seen:
            seen.add(key)
            yield story


def draw(rng: np.random.Generator, mix: Mix = WORLD) -> Story:
    """One problem of ``mix``, whatever its split."""
    steps = 1 + _index(rng, mix.steps)
    limit = _SIZES[_index(rng, mix.sizes)]
    backwards = (0.0, 0.3, 0.7)[_index(rng, (0.3, 0.35, 0.35))]
    unneeded = _index(rng, (0.55, 0.3, 0.15))
    shuffled = rng.random() < mix.shuffled
    people = [NAMES[i] for i in rng.permutation(len(NAMES))]
    values = {people.pop(): int(rng.integers(2, limit + 1))}
    facts = [Fact("base", next(iter(values)), next(iter(values.values())))]
    chain: list[Fact] = []
    previous = facts[0].subject
    for left in range(steps, 0, -1):
        spare = len(people) > left + unneeded
        told = _relation(rng, people, previous, values, limit, backwards, sums=spare)
        facts += told
        chain.append(told[-1])
        previous = told[-1].subject
    for _ in range(unneeded):
        about = _one(rng, sorted(values))
        facts += _relation(rng, people, about, values, limit, backwards, sums=False)
    order = rng.permutation(len(facts)) if shuffled else range(len(facts))
    item = _one(rng, ITEMS)
    return Story(item, tuple(facts[i] for i in order), tuple(chain))


def _relation(
    rng: np.random.Generator,
    people: list[str],
    about: str,
    values: dict[str, int],
    limit: int,
    backwards: float,
    sums: bool,
) -> list[Fact]:
    """Facts that give one more person a number from ``about``; the relation comes last."""
    have = values[about]
    subject = people.pop()
    reverse = rng.random() < backwards
    top = min(max(limit, 2 * have), LARGEST)
    step = max(limit * 2 // 3, 10)
    numbers: dict[str, Sequence[int]] = {
        "more": range(2, min(step, top - have) + 1),
        "fewer": range(2, min(step, have - 1) + 1),
        "times": [k for k in range(2, 6) if (have % k == 0 if reverse else have * k <= top)],
        "sum": range(2, min(limit, top - have) + 1) if sums and not reverse else (),
    }
    if reverse:  # told from the other person: "more" is solved by minus, and the reverse
        numbers["more"], numbers["fewer"] = numbers["fewer"], numbers["more"]
    kind = _KINDS[_index(rng, _kind_shares(tuple(k for k in _KINDS if numbers[k])))]
    number = _one(rng, numbers[kind])
    if kind == "sum":
        third = people.pop()
        values[third] = number
        values[subject] = have + number
        return [Fact("base", third, number), Fact("sum", subject, 0, about, third)]
    fact = Fact(("r" + kind if reverse else kind), subject, number, about)  # type: ignore[arg-type]
    values[subject] = calculate(fact.op, have, number)
    return [fact]


# NumPy's own ``Generator.choice`` spends its time on checks. The draws below take the same numbers from
# the stream and make the same choices of them, so that every problem stays what it was.


def _one(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of ``items``, each with the same chance."""
    return items[int(rng.integers(len(items)))]


def _index(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    """An index, by its share."""
    return bisect_right(_cumulative(shares), rng.random())


@cache
def _cumulative(shares: tuple[float, ...]) -> list[float]:
    rising = np.cumsum(shares)
    return [float(end) for end in rising / rising[-1]]


@cache
def _kind_shares(possible: tuple[str, ...]) -> tuple[float, ...]:
    """Each kind's share where only some are ``possible``."""
    weights = np.array([w if kind in possible else 0.0 for kind, w in _KIND_WEIGHTS.items()])
    return tuple(float(share) for share in weights / weights.sum())
