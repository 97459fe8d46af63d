"""Keys and values of a batch as plain tensors: cut, joined, and remembered by their prefix.

A batch's cache is a pair of tensors [rows, heads, positions, size] a layer. Rows are padded on the left, so
all of them end at the same place. The module moves tensors; it runs no model and knows no tokens' meaning.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mull.errors import MullError

#: Keys and values, a layer each.
Layers = list[tuple[Any, Any]]


def taken(cache: Any, length: int) -> Layers:
    """What a forward pass has left in its cache; :class:`MullError` for a model that keeps something else."""
    found = [(layer.keys, layer.values) for layer in getattr(cache, "layers", ())]
    if not found or any(
        getattr(each, "ndim", 0) != 4 or each.shape[2] != length for pair in found for each in pair
    ):
        raise MullError(
            "the model keeps no keys and values of every position (it is recurrent, or cuts them off); run "
            "it behind a server, or with backend = vllm"
        )
    return found


def given(layers: Layers) -> Any:
    """A cache for a forward pass that holds these."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for at, (keys, values) in enumerate(layers):
        cache.update(keys, values, at)
    return cache


def named(cache: Any, model: type) -> dict[str, Any]:
    """A cache, which the pass fills in place, under the name that a model's forward pass has for it."""
    return {_name(model): cache, "use_cache": True}


@lru_cache
def _name(model: type) -> str:
    """transformers 5 came to say "cache", and drops "past_key_values" in 5.40."""
    forward: Any = model.forward  # type: ignore[attr-defined]
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def length(layers: Layers) -> int:
    """Positions, padding and all."""
    return int(layers[0][0].shape[2])


def chosen(layers: Layers, rows: Sequence[int], drop: int = 0) -> Layers:
    """Some rows in this order, without the first ``drop`` positions."""
    return [(keys[rows, :, drop:], values[rows, :, drop:]) for keys, values in layers]


def row(layers: Layers, at: int, start: int, stop: int) -> Layers:
    """Some positions of one row, as a copy that keeps nothing else alive."""
    return [(k[at : at + 1, :, start:stop].clone(), v[at : at + 1, :, start:stop].clone()) for k, v in layers]


def joined(parts: Sequence[Layers]) -> Layers:
    """The rows of all parts, padded on the left to the longest."""
    import torch

    longest = max(map(length, parts))

    def padded(each: Any) -> Any:
        return torch.nn.functional.pad(each, (0, 0, longest - each.shape[2], 0))

    return [
        tuple(torch.cat([padded(layers[at][side]) for layers in parts]) for side in (0, 1))  # type: ignore[misc]
        for at in range(len(parts[0]))
    ]


class Prefixes:
    """Keys and values of single traces by the ids that they are of, at most ``limit`` bytes of them.

    Of a trace of n ids they are those of the first n - 1: the last is the next pass's input.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._kept: OrderedDict[tuple[int, ...], Layers] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, ids: tuple[int, ...]) -> Layers | None:
        """Those of exactly these ids."""
        found = self._kept.get(ids)
        if found is not None:
            self._kept.move_to_end(ids)
        return found

    def put(self, ids: tuple[int, ...], layers: Layers) -> None:
        """Remember, and forget the least recently used beyond the limit."""
        if ids in self._kept:
            return
        self._kept[ids] = layers
        self.bytes += _bytes(layers)
        while self.bytes > self.limit and self._kept:
            self.bytes -= _bytes(self._kept.popitem(last=False)[1])


def _bytes(layers: Layers) -> int:
    return sum(int(each.numel()) * int(each.element_size()) for pair in layers for each in pair)
