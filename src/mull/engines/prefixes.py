"""Prefixes: a bounded cache of the keys and values of traces, shared like a tree.

A node holds only the positions that it adds to its parent, so forking costs nothing
and a beam's round costs its new tokens. Eviction is least recently used; what is
evicted is computed again by who needs it. The module never runs a model.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from mull.engines.lanes import Base, Floats, Lanes

#: A prompt and the token ids that follow it.
Key = tuple[str, tuple[int, ...]]
#: What a node takes beside its arrays and its token ids, in bytes (a rough figure).
OVERHEAD = 800
NOTHING: Floats = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Node:
    """Positions ``start`` to ``end``, counted from the end of the base, of one prefix.

    A node without a parent is a prompt: its base and nothing more. ``scores`` are a
    verifier's for the steps that end in the node.
    """

    key: Key
    base: Base
    parent: Node | None = None
    start: int = 0
    end: int = 0
    keys: Floats = field(default_factory=lambda: NOTHING)
    values: Floats = field(default_factory=lambda: NOTHING)
    scores: tuple[float, ...] = ()

    @property
    def bytes(self) -> int:
        """Memory taken."""
        arrays = self.keys.nbytes + self.values.nbytes
        if self.parent is None:
            arrays += self.base.keys.nbytes + self.base.values.nbytes
        return arrays + 8 * len(self.key[1]) + OVERHEAD

    @property
    def length(self) -> int:
        """Positions in all, the base's with them."""
        return self.base.length + self.end

    def chain(self) -> list[Node]:
        """This node and its ancestors, nearest first."""
        found: list[Node] = []
        node: Node | None = self
        while node is not None:
            found.append(node)
            node = node.parent
        return found

    def restore(self, lanes: Lanes, lane: int) -> None:
        """Copy what follows the base into a lane."""
        for node in self.chain():
            if node.end > node.start:
                lanes.write(lane, node.keys, node.values, node.start)

    def extended(self, lanes: Lanes, lane: int, key: Key, end: int, scores: tuple[float, ...] = ()) -> Node:
        """A child with what a lane holds beyond this node, up to ``end``."""
        return Node(key, self.base, self, self.end, end, *lanes.read(lane, self.end, end), scores)


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
            if known is None:
                self.bytes += each.bytes
            self._nodes[each.key] = known or each
