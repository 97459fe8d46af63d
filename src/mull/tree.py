"""The search tree of one run: recorded request by request, given out as plain data.

For display only: nothing here is read back by the driver or a strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mull.trace import Finish, Score, Scores, Trace

ROOT = 0


@dataclass(frozen=True)
class Branch:
    """One trace of a request.

    Nodes are steps, numbered from 1 in the order they were sampled (0 is the prompt).
    ``node`` is the trace's last step after the request and ``parent`` the one before
    it was continued; the new steps ``texts`` are nodes ``node - len(texts) + 1`` to
    ``node``. A request that samples nothing has ``texts`` empty and ``node == parent``.
    ``scores`` are the verifier's values, None where there are none.
    """

    node: int
    parent: int
    texts: tuple[str, ...] = ()
    finish: Finish | None = None
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Round:
    """One answered request, or, last of all, the finals (with their answers)."""

    kind: Literal["sample", "score", "finals"]
    branches: tuple[Branch, ...]
    lookahead: int = 0
    answers: tuple[str | None, ...] = ()


class Recorder:
    """Gathers the rounds of one run. Traces are told apart by identity, then by equality."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self._nodes: dict[int, int] = {}
        self._kept: list[Trace] = []  # keeps the identities in _nodes alive
        self._count = 0

    def sampled(self, asked: Sequence[Trace], found: Sequence[Trace]) -> None:
        """Record what a Sample request was asked and answered with."""
        branches = []
        for before, after in zip(asked, found, strict=True):
            parent = self._node(before)
            if after is before:
                branches.append(Branch(parent, parent, (), after.finish))
                continue
            texts = tuple(step.text for step in after.steps[len(before.steps) :]) or ("",)
            self._count += len(texts)
            self._nodes[id(after)] = self._count
            self._kept.append(after)
            branches.append(Branch(self._count, parent, texts, after.finish))
        self.rounds.append(Round("sample", tuple(branches)))

    def scored(self, request: Score, found: Sequence[Scores | None]) -> None:
        """Record the verifier's values."""
        branches = self._plain(request.traces, found)
        self.rounds.append(Round("score", branches, request.lookahead))

    def ended(
        self, finals: Sequence[Trace], found: Sequence[Scores | None], answers: Sequence[str | None]
    ) -> None:
        """Record what the strategy returned."""
        self.rounds.append(Round("finals", self._plain(finals, found), answers=tuple(answers)))

    def _plain(self, traces: Sequence[Trace], found: Sequence[Scores | None]) -> tuple[Branch, ...]:
        return tuple(
            Branch(node := self._node(trace), node, (), trace.finish, None if s is None else s.steps)
            for trace, s in zip(traces, found, strict=True)
        )

    def _node(self, trace: Trace) -> int:
        if not trace.steps and trace.open:
            return ROOT
        if id(trace) not in self._nodes:
            same = [seen for seen in self._kept if seen == trace]
            self._nodes[id(trace)] = self._nodes[id(same[0])] if same else ROOT
            self._kept.append(trace)
        return self._nodes[id(trace)]


class Recorded(Protocol):
    """What has recorded rounds: a driver's result."""

    @property
    def rounds(self) -> Sequence[Round]:
        """The run's requests with their answers, in order."""
        ...


def tree(result: Recorded) -> dict[str, Any]:
    """A run's tree as JSON-able data: ``{"nodes": [...]}``, parents before children.

    A node is one step: ``id``, ``parent`` (None for the root, which is the prompt),
    ``text``, ``score`` (the step's first value in [0, 1], which is the one that pruning
    went by; None if it has none), ``kept`` (whether a later step or a final grew from it),
    ``finish`` (None while open), ``answer`` (of a final), ``round`` (the number of the
    request that sampled it, from 1; 0 for the root). Empty unless rounds were recorded.
    """
    nodes: list[dict[str, Any]] = []
    rounds = result.rounds
    if rounds:
        nodes.append(_node(ROOT, None, "", 0))
    for number, round_ in enumerate(rounds, 1):
        for i, branch in enumerate(round_.branches):
            parent = branch.parent
            for text in branch.texts:
                nodes[parent]["kept"] = True
                nodes.append(_node(len(nodes), parent, text, number))
                parent = len(nodes) - 1
            here = nodes[branch.node]
            here["finish"] = branch.finish
            if branch.scores is not None:
                _put_scores(nodes, branch, exact=not round_.lookahead)
            if round_.kind == "finals":
                here["kept"] = True
                here["answer"] = round_.answers[i]
    return {"nodes": nodes}


def _node(number: int, parent: int | None, text: str, round_: int) -> dict[str, Any]:
    return {
        "id": number,
        "parent": parent,
        "text": text,
        "score": None,
        "kept": False,
        "finish": None,
        "answer": None,
        "round": round_,
    }


def _put_scores(nodes: list[dict[str, Any]], branch: Branch, *, exact: bool) -> None:
    """Give the branch's values to the steps they belong to, the first value to stay."""
    assert branch.scores is not None
    node: int | None = branch.node
    values = list(branch.scores)
    if nodes[branch.node]["text"] == "":  # the model ended here without another step
        values.append(values[-1])
    for value in reversed(values):
        if node is None or node == ROOT:
            return
        if nodes[node]["score"] is None:
            nodes[node]["score"] = value
        if not exact:
            return
        node = nodes[node]["parent"]
