"""Prefill: run known tokens that follow cached prefixes, several prefixes in one pass.

Used to compute prompts, evicted prefixes and traces to be scored. What becomes of the
results, and what is remembered, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mull.engines.attention import Plan
from mull.engines.lanes import Base, Floats, Lanes, Run, Span
from mull.engines.llama import Llama, forward
from mull.engines.prefixes import Key, Node


@dataclass(frozen=True)
class Extension:
    """``tokens`` to be run after a node (None: from the start); together they are ``key``."""

    key: Key
    node: Node | None
    tokens: tuple[int, ...]

    @property
    def start(self) -> int:
        """How many positions beyond the base are known already."""
        return 0 if self.node is None else self.node.end

    @property
    def end(self) -> int:
        """How many there are afterwards."""
        return self.start + len(self.tokens)

    def made(self, lanes: Lanes, lane: int, scores: tuple[float, ...] = ()) -> Node:
        """The node of the whole, after its run in a lane: what starts at the start is a base."""
        if self.node is None:
            return Node(self.key, lanes.base(lane, self.end), scores=scores)
        return self.node.extended(lanes, lane, self.key, self.end, scores)


def extend(model: Llama, lanes: Lanes, batch: Sequence[Extension], outputs: bool = True) -> list[Floats]:
    """Run extensions, the i-th in lane i; the head's outputs for the tokens of each.

    Extensions that stand side by side and share a base are the faster for it, and so are
    all without ``outputs``.
    """
    for lane, each in enumerate(batch):
        if each.node is not None:
            each.node.restore(lanes, lane)
    sized = [(lane, each) for lane, each in enumerate(batch) if each.tokens]
    if not sized:
        return [np.zeros((0, model.outputs), np.float32) for _ in batch]
    tokens = np.array([token for _, each in sized for token in each.tokens])
    depths = np.concatenate([np.arange(each.start, each.end) for _, each in sized])
    nothing = Base.empty(model)
    runs: list[Run] = []
    for _, each in sized:
        base, rows = nothing if each.node is None else each.node.base, len(each.tokens)
        if runs and runs[-1].base is base:
            rows += runs.pop().rows
        runs.append(Run(base, rows))
    spans = [Span(lane, len(each.tokens)) for lane, each in sized]
    found = forward(model, lanes, tokens, depths, Plan(runs), spans, outputs)
    return np.split(found, np.cumsum([len(each.tokens) for each in batch])[:-1])
