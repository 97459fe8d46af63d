"""Keys and values of prefixes already run, so that a growing trace is scored for its new tokens alone.

A prefix is known by its token ids, never by a trace or a text, so what is found is right whatever the
template does. The least recently used go first. The module holds tensors and never runs a model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mull.verifiers.prm.backend import Row

#: Prefixes are looked for among those that begin with the same so many ids.
BEGINNING = 16


@dataclass(frozen=True)
class Prefix:
    """Ids that were run: per layer keys and values (heads, length, size), and outputs by place."""

    ids: tuple[int, ...]
    layers: tuple[tuple[Any, Any], ...]
    rows: dict[int, Row]

    @property
    def bytes(self) -> int:
        """How much memory the tensors take."""
        return sum(each.numel() * each.element_size() for pair in self.layers for each in pair)


@dataclass(frozen=True)
class Found:
    """The first ``length`` positions of a prefix; its layers are views."""

    prefix: Prefix
    length: int

    def layer(self, number: int) -> tuple[Any, Any]:
        """Keys and values (heads, length, size) of a layer."""
        keys, values = self.prefix.layers[number]
        return keys[:, : self.length], values[:, : self.length]


class Cache:
    """Prefixes up to ``limit`` bytes in all."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._kept: dict[tuple[int, ...], OrderedDict[tuple[int, ...], Prefix]] = {}
        self._order: OrderedDict[tuple[int, ...], None] = OrderedDict()

    def nearest(self, ids: tuple[int, ...], places: Sequence[int]) -> Found | None:
        """The longest known prefix that leaves something to run and knows the outputs before its end."""
        best: Found | None = None
        most = 0
        for prefix in self._kept.get(ids[:BEGINNING], {}).values():
            if prefix.ids[: most + 1] != ids[: most + 1]:
                continue
            length = min(common(prefix.ids, ids), len(ids) - 1)
            unknown = [place for place in places if place < length and place not in prefix.rows]
            length = min([length, *unknown])
            if length > most:
                best, most = Found(prefix, length), length
        if best is not None:
            self._order.move_to_end(best.prefix.ids)
        return best

    def put(self, prefix: Prefix) -> None:
        """Keep a prefix, if it is not larger than the limit."""
        if prefix.ids in self._order or prefix.bytes > self.limit:
            return
        self._kept.setdefault(prefix.ids[:BEGINNING], OrderedDict())[prefix.ids] = prefix
        self._order[prefix.ids] = None
        self.bytes += prefix.bytes
        while self.bytes > self.limit:
            oldest = next(iter(self._order))
            del self._order[oldest]
            group = self._kept[oldest[:BEGINNING]]
            self.bytes -= group.pop(oldest).bytes
            if not group:
                del self._kept[oldest[:BEGINNING]]


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many ids the two begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
