"""What the schematics and the samples show: a study's own solutions, their marks and scores. Data only.

Every mark comes from what was recorded: ``correct`` is the study's own grading, a score the
verifier's own value; nothing is rounded or filled in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """A problem as it is shown; ``bin`` is its oracle difficulty, 1 the easiest, None if not known."""

    problem: str
    prompt: str
    gold: str
    bin: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One whole solution.

    ``lines`` are its steps. ``scores`` are the verifier's values of the steps, one each, or empty
    where there is but the whole one's, ``score`` (None: unscored). ``new`` says which lines the
    attempt before it did not have; empty if there is none before it. ``stands``: its chain's
    choice; ``chosen``: the method's.
    """

    label: str
    lines: tuple[str, ...]
    answer: str | None
    correct: bool
    score: float | None
    scores: tuple[float, ...] = ()
    new: tuple[bool, ...] = ()
    stands: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class Part:
    """A question and what was answered to it; ``chained``: each attempt was shown those before it."""

    question: Question
    attempts: tuple[Attempt, ...]
    chained: bool = False


@dataclass(frozen=True)
class Way:
    """One way to spend attempts on a question: its ``chains``, and what is chosen in the end.

    ``weights``: each answer's weight in the last vote, heaviest first.
    """

    title: str
    says: str
    chains: tuple[tuple[Attempt, ...], ...]
    weights: Mapping[str, float]
    answer: str | None
    correct: bool


@dataclass(frozen=True)
class Node:
    """One step of a search: its place (``depth`` from 0, ``row`` from 0), and what became of it.

    ``parent`` is the node that it continues, None for a first step. ``score`` is the value that
    pruning went by, which in lookahead is that at the end of its ``rollout``. ``answer`` and
    ``correct`` are those of a last step. ``chosen``: on the path to the selected solution.
    """

    depth: int
    row: int
    parent: int | None
    text: str
    score: float | None
    kept: bool
    rollout: tuple[str, ...] = ()
    answer: str | None = None
    correct: bool | None = None
    chosen: bool = False


@dataclass(frozen=True)
class Grown:
    """One method of search on a question: all its steps, parents first, and what is chosen."""

    title: str
    says: str
    nodes: tuple[Node, ...]
    weights: Mapping[str, float]
    answer: str | None
    correct: bool

    @property
    def depths(self) -> int:
        """How many steps its longest solution has."""
        return 1 + max((node.depth for node in self.nodes), default=-1)

    @property
    def rows(self) -> int:
        """How many steps stand beside each other at most."""
        return 1 + max((node.row for node in self.nodes), default=-1)


@dataclass(frozen=True)
class Content:
    """What a drawn page of solutions holds: searches, ways or samples; the others are empty."""

    question: Question | None = None
    searches: tuple[Grown, ...] = ()
    ways: tuple[Way, ...] = ()
    parts: tuple[Part, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Whatever is not empty, as plain data."""
        return {name: value for name, value in asdict(self).items() if value}


def lines_of(text: str) -> tuple[str, ...]:
    """A solution's steps."""
    return tuple(text.strip("\n").split("\n"))


def attempt(row: Mapping[str, Any], label: str, before: Mapping[str, Any] | None = None) -> Attempt:
    """A recorded row of a pool or of chains as it is shown; ``before`` is the chain's row before it.

    The score of a pool's row is the PRM's last value, failing that the ORM's; of a chain's row that
    of the revisions' verifier, failing that the PRM's.
    """
    lines = lines_of(row["text"])
    steps = row.get("prm") if isinstance(row.get("prm"), list) else None
    whole = steps[-1] if steps else row.get("score", row.get("orm"))
    if whole is None and "position" in row:
        whole = row["prm"]
    new: tuple[bool, ...] = ()
    if before is not None:
        old = lines_of(before["text"])
        new = tuple(i >= len(old) or old[i] != line for i, line in enumerate(lines))
    fits = steps is not None and len(steps) == len(lines)
    scores = tuple(steps) if steps is not None and fits else ()
    return Attempt(label, lines, row["answer"], bool(row["correct"]), whole, scores, new)
