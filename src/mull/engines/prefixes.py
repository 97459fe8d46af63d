"""Prefixes: a bounded cache of the keys and values of traces, shared like a tree.

A node holds only the positions that it adds to its parent, so forking costs nothing
and a beam's round costs its new tokens. Eviction is least recently used; what is
evicted is computed again by who needs it. The module never runs a model.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from mull.engines.llama import Floats, Lanes

#: A prompt and the token ids that follow it.
Key = tuple[str, tuple[int, ...]]
#: What a node takes beside its arrays and its token ids, in bytes (a rough figure).
OVERHEAD = 800


@dataclass(frozen=True, eq=False)
class Node:
    """Positions ``start`` to ``end`` of a prefix; ``values`` are a verifier's for the steps in it."""

    key: Key
    parent: Node | None
    start: int
    end: int
    keys: Floats
    values: Floats
    scores: tuple[float, ...] = ()

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return self.keys.nbytes + self.values.nbytes + 8 * len(self.key[1]) + OVERHEAD

    def chain(self) -> list[Node]:
        """This node and its ancestors, nearest first."""
        found: list[Node] = []
        node: Node | None = self
        while node is not None:
            found.append(node)
            node = node.parent
        return found


class Prefixes:
    """Nodes by key, at most ``limit`` bytes of them."""

    def __init__(self, limit: int):
        self.limit, self.bytes = limit, 0
        self._nodes: OrderedDict[Key, Node] = OrderedDict()

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, key: Key) -> Node | None:
        """The node of exactly this key."""
        node = self._nodes.get(key)
        if node is not None:
            self._touch(node)
        return node

    def nearest(self, prompt: str, steps: list[tuple[int, ...]]) -> Node | None:
        """The node of the longest known prefix that ends with the prompt or a step."""
        tokens = tuple(token for step in steps for token in step)
        node = self.find((prompt, tokens))
        for step in reversed(steps):
            if node is not None:
                break
            tokens = tokens[: len(tokens) - len(step)]
            node = self.find((prompt, tokens))
        return node

    def put(self, node: Node) -> None:
        """Remember a node, and forget the least recently used beyond the limit."""
        self._touch(node)
        while self.bytes > self.limit:
            self.bytes -= self._nodes.popitem(last=False)[1].bytes

    def _touch(self, node: Node) -> None:
        # Ancestors are moved behind their descendants, hence forgotten after them: a
        # node that is forgotten is never kept alive by one that is not.
        for each in node.chain():
            known = self._nodes.pop(each.key, None)
            if known is not each:
                self.bytes += each.bytes - (0 if known is None else known.bytes)
            self._nodes[each.key] = each


def restore(lanes: Lanes, lane: int, node: Node) -> None:
    """Copy a node's whole prefix into a lane."""
    lanes.reserve(node.end)
    for each in node.chain():
        lanes.keys[:, lane, ..., each.start : each.end] = each.keys
        lanes.values[:, lane, :, each.start : each.end] = each.values


def saved(
    lanes: Lanes, lane: int, key: Key, parent: Node | None, end: int, scores: tuple[float, ...] = ()
) -> Node:
    """A node for what a lane holds beyond ``parent``."""
    start = 0 if parent is None else parent.end
    keys = np.array(lanes.keys[:, lane, ..., start:end])
    values = np.array(lanes.values[:, lane, :, start:end])
    return Node(key, parent, start, end, keys, values, scores)
