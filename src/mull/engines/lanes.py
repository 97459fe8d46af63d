"""Where keys and values live: a base a prompt, shared, and a lane a trace beyond it.

A lane holds only what follows the prompt, so that hundreds of samples of one problem
read its keys and values from the nearest cache instead of from memory. No arithmetic here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
#: Rows, columns and context lengths are padded to multiples of this.
TILE = 16


class Shape(Protocol):
    """What of a model decides how much room a token takes."""

    @property
    def depth(self) -> int:
        """Layers."""
        ...

    @property
    def kv_heads(self) -> int:
        """Key-value heads."""
        ...

    @property
    def head_dim(self) -> int:
        """Size of a head."""
        ...


def ceil_to(count: int, multiple: int = TILE) -> int:
    """``count`` rounded up to a multiple."""
    return -(-count // multiple) * multiple


@dataclass(frozen=True, eq=False)
class Base:
    """A prompt's keys and values, shared by all traces of it.

    ``keys`` is [layer, kv head, head size, width], ``values`` [layer, kv head, width,
    head size]; the width is the length in whole tiles, what lies beyond the length zero.
    """

    length: int
    width: int
    keys: Floats
    values: Floats

    @classmethod
    def empty(cls, model: Shape, length: int = 0) -> Base:
        """A base of zeros, to be filled in."""
        shape, width = (model.depth, model.kv_heads), ceil_to(length)
        keys = np.zeros((*shape, model.head_dim, width), np.float32)
        return cls(length, width, keys, np.zeros((*shape, width, model.head_dim), np.float32))


@dataclass(frozen=True)
class Run:
    """``rows`` consecutive rows whose traces go on from one base."""

    base: Base
    rows: int


@dataclass(frozen=True)
class Span:
    """``rows`` consecutive new positions of one lane."""

    lane: int
    rows: int


class Buffers:
    """Named arrays used again from pass to pass: their memory is mapped, and often still in a cache."""

    def __init__(self) -> None:
        self._held: dict[str, Floats] = {}

    def floats(self, name: str, *shape: int) -> Floats:
        """An array of this shape, whatever it holds; valid until the name is asked for again."""
        size = prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.zeros(size, np.float32)
        return held[:size].reshape(shape)


class Lanes:
    """Room for the keys and values of ``count`` traces beyond their bases; grows on demand.

    ``keys`` is [layer, kv head, lane, head size, depth] (transposed: that product is
    both faster and independent of the number of rows), ``values`` [layer, kv head, lane,
    depth, head size]. What lies beyond a lane's end is finite and masked.
    ``copied_keys`` and ``copied_values`` hold copies of bases (see :meth:`stack`).
    """

    def __init__(self, model: Shape, count: int, depth: int = 5 * TILE):
        self._model, self.count = model, count
        self.buffers = Buffers()
        self.keys, self.values = self._room(depth)
        self.copied_keys: Floats = np.zeros(0, np.float32)
        self.copied_values: Floats = np.zeros(0, np.float32)
        self._copied: list[Base | None] = [None] * count

    @property
    def depth(self) -> int:
        """How many positions there is room for."""
        return int(self.keys.shape[-1])

    def _room(self, depth: int) -> tuple[Floats, Floats]:
        m = self._model
        # An odd number of tiles: rows a power of two apart would share cache sets.
        tiles = (ceil_to(depth) // TILE | 1) * TILE
        shape = m.depth, m.kv_heads, self.count
        return (
            np.zeros((*shape, m.head_dim, tiles), np.float32),
            np.zeros((*shape, tiles, m.head_dim), np.float32),
        )

    def reserve(self, depth: int) -> None:
        """Make room for ``depth`` positions, keeping what is there."""
        held = self.depth
        if depth > held:
            keys, values = self._room(max(depth, held * 3 // 2))
            keys[..., :held] = self.keys
            values[..., :held, :] = self.values
            self.keys, self.values = keys, values

    def write(self, lane: int, keys: Floats, values: Floats, start: int) -> None:
        """Put the keys and values of some positions into a lane."""
        end = start + keys.shape[-1]
        self.reserve(end)
        self.keys[:, :, lane, :, start:end] = keys
        self.values[:, :, lane, start:end] = values

    def read(self, lane: int, start: int, end: int) -> tuple[Floats, Floats]:
        """A copy of the keys and values of some positions of a lane."""
        return self.keys[:, :, lane, :, start:end].copy(), self.values[:, :, lane, start:end].copy()

    def copy(self, source: int, target: int, depth: int) -> None:
        """Copy the first ``depth`` positions of a lane to another."""
        self.keys[:, :, target, :, :depth] = self.keys[:, :, source, :, :depth]
        self.values[:, :, target, :depth] = self.values[:, :, source, :depth]

    def stack(self, start: int, bases: Sequence[Base], width: int) -> None:
        """Have copies of bases, at most ``width`` wide, at ``start`` and the lanes after it."""
        held = self.copied_keys.shape[-1]
        if width > held:
            m = self._model
            shape, width = (m.depth, m.kv_heads, self.count), (width // TILE | 1) * TILE
            keys: Floats = np.zeros((*shape, m.head_dim, width), np.float32)
            values: Floats = np.zeros((*shape, width, m.head_dim), np.float32)
            if held:
                keys[..., :held], values[..., :held, :] = self.copied_keys, self.copied_values
            self.copied_keys, self.copied_values = keys, values
        for lane, base in enumerate(bases, start):
            if self._copied[lane] is not base:
                self.copied_keys[:, :, lane, :, : base.width] = base.keys
                self.copied_keys[:, :, lane, :, base.width :] = 0
                self.copied_values[:, :, lane, : base.width] = base.values
                self.copied_values[:, :, lane, base.width :] = 0
                self._copied[lane] = base

    def clear(self, lane: int) -> None:
        """Forget a lane that got NaN, which would outlast the mask."""
        self.keys[:, :, lane] = 0
        self.values[:, :, lane] = 0

    def base(self, lane: int, length: int) -> Base:
        """The first positions of a lane as a base."""
        m = self._model
        base = Base.empty(m, length)
        base.keys[..., :length] = self.keys[:, :, lane, :, :length]
        base.values[..., :length, :] = self.values[:, :, lane, :length]
        return base
