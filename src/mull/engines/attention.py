"""Softmax attention of one pass, over the shared bases and over each trace's own lane.

The two parts are always computed apart and then added, whoever shares a base, and every
product has a width that is a multiple of 16 and no lone row: so a row's result depends, bit
for bit, on its own trace only. No weights and no positions here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mull.engines.lanes import Base, Floats, Ints, Lanes, Run, Span, ceil_to

MASKED = np.float32(-1e30)
#: A sum of exponentials outside these may have lost digits.
TINY, HUGE = 1e-25, 1e30
#: Lanes that share a base with fewer neighbours than SHARED read copies of it, one call for
#: up to COPIED_LANES of them, once there are COPIED such lanes.
SHARED, COPIED, COPIED_LANES = 4, 16, 16


@dataclass(slots=True)
class Stretch:
    """Neighbouring rows whose bases are read in one call: one base, or (None) a copy a lane."""

    base: Base | None
    start: int
    stop: int
    width: int
    bases: list[Base]


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring stretches of one width: their weights are masked and summed in one call.

    ``length`` is that of all the bases, or None where they differ.
    """

    start: int
    stop: int
    length: int | None
    mask: Floats
    stretches: list[Stretch]


class Plan:
    """Which rows read which base, and how; holds as long as lanes keep their bases.

    ``offsets`` gives the length of every row's base.
    """

    def __init__(self, runs: Sequence[Run], lanes: Lanes | None = None):
        """With ``lanes`` (decode: row i is lane i) many small runs read copies held there."""
        small = sum(run.rows for run in runs if run.rows < SHARED)
        copies = lanes is not None and small >= COPIED
        stretches: list[Stretch] = []
        last, start = None, 0
        for run in runs:
            stop = start + run.rows
            if not copies or run.rows >= SHARED:
                last = None
                stretches.append(Stretch(run.base, start, stop, run.base.width, [run.base]))
            else:
                if last is None or last.stop - last.start >= COPIED_LANES:
                    last = Stretch(None, start, stop, 0, [])
                    stretches.append(last)
                last.stop, last.width = stop, max(last.width, run.base.width)
                last.bases += [run.base] * run.rows
            start = stop
        if lanes is not None:
            for each in stretches:
                if each.base is None:
                    lanes.stack(each.start, each.bases, each.width)
        self.offsets = np.repeat([run.base.length for run in runs], [run.rows for run in runs])
        self.blocks: list[Block] = []
        for width, group in groupby(stretches, key=lambda each: each.width):
            found = list(group)
            start, stop = found[0].start, found[-1].stop
            lengths = self.offsets[start:stop]
            one = int(lengths[0]) if (lengths == lengths[0]).all() else None
            self.blocks.append(Block(start, stop, one, _mask(lengths, width), found))


class Attention:
    """The plan of a pass; :meth:`run` is called once a layer, lanes already holding the new rows."""

    def __init__(self, heads: int, lanes: Lanes, depths: Ints, plan: Plan, spans: Sequence[Span] | None):
        rows, context = len(depths), ceil_to(int(depths.max()) + 1)
        self.lanes, self.rows, self.context = lanes, rows, context
        self.groups, self.hd = lanes.keys.shape[1], lanes.keys.shape[3]
        self.share = heads // self.groups
        # One query row alone would be multiplied by another routine, which rounds otherwise.
        self.wide = max(self.share, 2)
        self.mask = _mask(depths + 1, context)
        self.blocks = plan.blocks
        # All weights over bases lie in one flat array: one call takes the exponential.
        sizes = [self.groups * self.wide * each.mask.size for each in plan.blocks]
        self.flat = np.empty(sum(sizes), np.float32)
        self.weights: list[Floats] = []
        self.parts: list[tuple[Stretch, Floats]] = []
        for block, end, size in zip(plan.blocks, np.cumsum(sizes).tolist(), sizes, strict=True):
            shape = (self.groups, block.stop - block.start, self.wide, block.mask.shape[-1])
            weights = self.flat[end - size : end].reshape(shape)
            self.weights.append(weights)
            for s in block.stretches:
                part = weights[:, s.start - block.start : s.stop - block.start]
                if s.base is not None:
                    part = part.reshape(self.groups, (s.stop - s.start) * self.wide, s.width)
                self.parts.append((s, part))
        self.own = np.zeros((self.groups, rows, self.wide, context), np.float32)
        self.shared = np.empty((self.groups, rows, self.wide, self.hd), np.float32)
        self.spans = None if spans is None else self._reaches(spans, depths)

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
        for s, part in self.parts:
            if s.base is not None:
                asked = flat[:, s.start * self.wide : s.stop * self.wide]
                np.matmul(asked, s.base.keys[layer], out=part)
            else:
                copies = self.lanes.copied_keys[layer][:, s.start : s.stop, :, : s.width]
                np.matmul(query[:, s.start : s.stop], copies, out=part)
        for block, weights in zip(self.blocks, self.weights, strict=True):
            if block.length is None:
                weights += block.mask
            else:
                weights[..., block.length :] = MASKED
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
        for block, weights in zip(self.blocks, self.weights, strict=True):
            part = top[:, block.start : block.stop]
            np.maximum(part, weights.max(-1, initial=MASKED), out=part)
        top = np.where(wild, top, np.float32(0))[..., None]
        self.own -= top
        for block, weights in zip(self.blocks, self.weights, strict=True):
            weights -= top[:, block.start : block.stop]

    def _values(self, layer: int, answer: Floats) -> Floats:
        """Exponentials of the scores times values into ``answer``; the exponentials' sums."""
        np.exp(self.flat, out=self.flat)
        np.exp(self.own, out=self.own)
        total = _sum(self.own)
        flat = self.shared.reshape(self.groups, -1, self.hd)
        for block, weights in zip(self.blocks, self.weights, strict=True):
            total[:, block.start : block.stop] += _sum(weights)
        for s, part in self.parts:
            if s.base is not None:
                rows = slice(s.start * self.wide, s.stop * self.wide)
                np.matmul(part, s.base.values[layer], out=flat[:, rows])
            else:
                copies = self.lanes.copied_values[layer][:, s.start : s.stop, : s.width]
                np.matmul(part, copies, out=self.shared[:, s.start : s.stop])
        values = self.lanes.values[layer]
        if self.spans is None:
            np.matmul(self.own, values[:, : self.rows, : self.context], out=answer)
        else:
            own = self.own.reshape(self.groups, -1, self.context)
            flat = answer.reshape(self.groups, -1, self.hd)
            for lane, rows, context in self.spans:
                np.matmul(own[:, rows, :context], values[:, lane, :context], out=flat[:, rows])
        answer += self.shared
        return total


def _mask(lengths: Ints, width: int) -> Floats:
    """What to add to scores, [rows, 1, width], so that only the first ``lengths`` count."""
    return np.where(np.arange(width) < lengths[:, None], np.float32(0), MASKED)[:, None]


def _sum(weights: Floats) -> Floats:
    """Sums over the last axis.

    einsum adds in blocks of 16, one after the other, so that blocks of zeros at the end change
    nothing (``sum`` would add them up as a tree).
    """
    total: Floats = np.einsum("...c->...", weights)
    return total
