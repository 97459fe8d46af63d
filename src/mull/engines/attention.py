"""Softmax attention of one pass, over the shared bases and over each trace's own lane.

The two parts are always computed apart and then added, whoever shares a base, and every
product has a width that is a multiple of 16 and no lone row: so a row's result depends, bit
for bit, on its own trace only. No weights and no positions here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mull.engines.lanes import TILE, Base, Floats, Ints, Lanes, Run, Span, ceil_to

#: Sums over the lane are taken in blocks of this: NumPy adds up to 128 numbers in eight
#: strided accumulators, whose order zeros at the end do not change.
BLOCK = 128
MASKED = np.float32(-1e30)
#: A sum of exponentials outside these may have lost digits.
TINY, HUGE = 1e-25, 1e30
#: Lanes that share a base with fewer neighbours than this read copies of it, all in one call.
SHARED = 4


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring rows whose bases are read in one call: one base, or (None) a copy a lane.

    ``weights`` is [kv head, rows x share, width], or [kv head, rows, share, width].
    """

    base: Base | None
    start: int
    stop: int
    lengths: Ints
    weights: Floats


class Attention:
    """The plan of a pass; :meth:`run` is called once a layer, lanes already holding the new rows."""

    def __init__(
        self, heads: int, lanes: Lanes, depths: Ints, runs: Sequence[Run], spans: Sequence[Span] | None
    ):
        rows, context = len(depths), ceil_to(int(depths.max()) + 1)
        self.lanes, self.rows, self.context = lanes, rows, context
        self.groups, self.hd = lanes.keys.shape[1], lanes.keys.shape[3]
        self.share = heads // self.groups
        # One query row alone would be multiplied by another routine, which rounds otherwise.
        self.wide = max(self.share, 2)
        self.mask = np.where(np.arange(context) <= depths[:, None], np.float32(0), MASKED)[:, None]
        self._plan(runs, copies=spans is None)
        self.own = np.zeros((self.groups, rows, self.wide, context), np.float32)
        self.shared = np.empty((self.groups, rows, self.wide, self.hd + TILE), np.float32)
        self.spans = None if spans is None else self._reaches(spans, depths)

    def _plan(self, runs: Sequence[Run], copies: bool) -> None:
        """Cut the rows into stretches, whose weights lie in one flat array."""
        cuts: list[tuple[Base | None, int, list[Base]]] = []
        for run in runs:
            if copies and run.rows < SHARED:
                if not cuts or cuts[-1][0] is not None:
                    cuts.append((None, 0, []))
                cuts[-1][2].extend([run.base] * run.rows)
            else:
                cuts.append((run.base, run.rows, [run.base]))
        start = 0
        shapes: list[tuple[int, ...]] = []
        for base, count, bases in cuts:
            width, count = max(b.width for b in bases), count or len(bases)
            if base is None:
                self.lanes.stack(start, bases)
                shapes.append((self.groups, count, self.wide, width))
            else:
                shapes.append((self.groups, count * self.wide, width))
            start += count
        sizes = [int(np.prod(shape)) for shape in shapes]
        self.flat = np.empty(sum(sizes), np.float32)
        self.stretches, start, at = [], 0, 0
        for (base, count, bases), shape, size in zip(cuts, shapes, sizes, strict=True):
            stop = start + (count or len(bases))
            weights = self.flat[at : at + size].reshape(shape)
            lengths = np.array([b.length for b in bases])
            self.stretches.append(Stretch(base, start, stop, lengths, weights))
            start, at = stop, at + size

    def _reaches(self, spans: Sequence[Span], depths: Ints) -> list[tuple[int, slice, int]]:
        """Lane, query rows and padded context of every span."""
        ends = np.cumsum([span.rows for span in spans])
        reach = [ceil_to(int(depth) + 1) for depth in depths[ends - 1]]
        return [
            (span.lane, slice((end - span.rows) * self.wide, end * self.wide), context)
            for span, end, context in zip(spans, ends.tolist(), reach, strict=True)
        ]

    def run(self, layer: int, heads: Floats, padded: int) -> Floats:
        """The output for query heads [rows, heads, head size], as [padded, heads x head size]."""
        query = heads.reshape(self.rows, self.groups, self.share, self.hd).transpose(1, 0, 2, 3)
        if self.wide > self.share:
            query = np.concatenate([query, np.zeros_like(query)], axis=2)
        query = np.ascontiguousarray(query)
        mixed = np.zeros((self.groups, padded, self.wide, self.hd), np.float32)
        answer = mixed[:, : self.rows]
        self._scores(layer, query)
        total = self._values(layer, answer)
        # Taken as they are, exponentials are as exact as after subtracting the largest
        # score, unless they leave the range of numbers: such rows are done again.
        wild = ~((total > TINY) & (total < HUGE))
        if wild.any():
            self._scores(layer, query)
            self._shift(wild)
            total = self._values(layer, answer)
        answer /= total[..., None]
        return mixed[:, :, : self.share].transpose(1, 0, 2, 3).reshape(padded, -1)

    def _scores(self, layer: int, query: Floats) -> None:
        """Products of queries and keys."""
        flat = query.reshape(self.groups, -1, self.hd)
        for s in self.stretches:
            if s.base is not None:
                part = flat[:, s.start * self.wide : s.stop * self.wide]
                np.matmul(part, s.base.keys[layer], out=s.weights)
            else:
                keys = self.lanes.copied_keys[layer][:, s.start : s.stop, :, : s.weights.shape[-1]]
                np.matmul(query[:, s.start : s.stop], keys, out=s.weights)
        keys = self.lanes.keys[layer]
        if self.spans is None:
            np.matmul(query, keys[:, : self.rows, :, : self.context], out=self.own)
        else:
            own = self.own.reshape(self.groups, -1, self.context)
            for lane, rows, context in self.spans:
                np.matmul(flat[:, rows], keys[:, lane, :, :context], out=own[:, rows, :context])
        self.own += self.mask

    def _shift(self, wild: NDArray[np.bool_]) -> None:
        """Subtract the largest score from the rows that are wild, and nothing from the others."""
        top = self.own.max(-1)
        for s in self.stretches:
            weights = s.weights.reshape(self.groups, s.stop - s.start, self.wide, -1)
            beyond = np.arange(weights.shape[-1]) >= s.lengths[:, None]
            weights[...] = np.where(beyond[:, None], MASKED, weights)
            part = top[:, s.start : s.stop]
            np.maximum(part, weights.max(-1, initial=MASKED), out=part)
        top = np.where(wild, top, np.float32(0))[..., None]
        self.own -= top
        for s in self.stretches:
            weights = s.weights.reshape(self.groups, s.stop - s.start, self.wide, -1)
            weights -= top[:, s.start : s.stop]

    def _values(self, layer: int, answer: Floats) -> Floats:
        """Exponentials of the scores times values into ``answer``; the exponentials' sums."""
        np.exp(self.flat, out=self.flat)
        np.exp(self.own, out=self.own)
        total: Floats = self.own[..., :BLOCK].sum(-1)
        for start in range(BLOCK, self.context, BLOCK):
            total += self.own[..., start : start + BLOCK].sum(-1)
        flat = self.shared.reshape(self.groups, -1, self.hd + TILE)
        for s in self.stretches:
            if s.base is not None:
                part = flat[:, s.start * self.wide : s.stop * self.wide]
                np.matmul(s.weights, s.base.values[layer], out=part)
            else:
                values = self.lanes.copied_values[layer][:, s.start : s.stop, : s.weights.shape[-1]]
                np.matmul(s.weights, values, out=self.shared[:, s.start : s.stop])
        values = self.lanes.values[layer]
        if self.spans is None:
            np.matmul(self.own, values[:, : self.rows, : self.context], out=answer)
        else:
            own = self.own.reshape(self.groups, -1, self.context)
            flat = answer.reshape(self.groups, -1, self.hd)
            for lane, rows, context in self.spans:
                np.matmul(own[:, rows, :context], values[:, lane, :context], out=flat[:, rows])
        answer += self.shared[..., : self.hd]
        total += self.shared[..., self.hd]  # a base's values have a column of ones
        return total
