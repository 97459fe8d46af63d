"""Softmax attention of one pass, over the shared bases and over each trace's own lane.

The two sides are always computed apart and then added, whoever shares a base, and every
product has a width that is a multiple of 16, a bounded inner length and no lone row: so
a row's result depends, bit for bit, on its own trace only. No weights and no positions here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mull.engines.lanes import TILE, Base, Floats, Ints, Lanes, Run, Span, ceil_to

MASKED = np.float32(-1e30)
#: A sum of exponentials outside these may have lost digits.
TINY, HUGE = 1e-25, 1e30
#: Lanes that share a base with fewer neighbours than SHARED read copies of it, one call for
#: up to COPIED_LANES of them, once there are COPIED such lanes.
SHARED, COPIED, COPIED_LANES = 4, 16, 16
#: Matrix libraries cut a product's inner length in pieces, where and whether at all depends on the other
#: lengths. None cuts so short a one.
INNER = 352
#: Weights worked on together, so that they stay in the nearer caches.
CHUNK = 1 << 16
#: Rows of a span that attend to one padded context.
STRIDE = 64
#: Lanes of different depths are read apart where that saves so many scores a head.
BAND = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring rows that read as many keys: the same ones, or (``apart``) each a lane's.

    ``keys`` is [layer, kv head, (lane,) head size, width], ``values`` [layer, kv head,
    (lane,) width, head size]. Of the keys the first ``lengths`` count, for all rows or for each.
    """

    start: int
    stop: int
    width: int
    apart: bool
    keys: Floats
    values: Floats
    lengths: int | Ints


class Plan:
    """Which rows read which base, and how; holds as long as lanes keep their bases.

    ``offsets`` gives the length of every row's base.
    """

    def __init__(self, runs: Sequence[Run], lanes: Lanes | None = None):
        """With ``lanes`` (decode: row i is lane i) many small runs read copies held there."""
        few = [run.rows < SHARED for run in runs]
        copies = lanes is not None and sum(run.rows for run in runs if run.rows < SHARED) >= COPIED
        self._latest: Attention | None = None
        self.offsets = np.repeat([run.base.length for run in runs], [run.rows for run in runs])
        self.parts: list[Part] = []
        waiting: list[Base] = []
        start = 0
        for run, small in zip(runs, few, strict=True):
            if copies and small:
                waiting += [run.base] * run.rows
            elif waiting:
                self._copied(lanes, start, waiting)
                waiting = []
            if not (copies and small) and run.base.width:
                step = STRIDE if lanes is None else run.rows
                for at in range(start, start + run.rows, step):
                    stop = min(at + step, start + run.rows)
                    base = run.base
                    self.parts.append(Part(at, stop, base.width, False, base.keys, base.values, base.length))
            start += run.rows
        if waiting:
            self._copied(lanes, start, waiting)

    def _copied(self, lanes: Lanes | None, stop: int, bases: Sequence[Base]) -> None:
        """Parts for the lanes before ``stop`` that read copies of their bases."""
        assert lanes is not None
        first = stop - len(bases)
        for start in range(first, stop, COPIED_LANES):
            found = bases[start - first : start - first + COPIED_LANES]
            end, width = start + len(found), max(base.width for base in found)
            if width:
                lanes.stack(start, found, width)
                keys = lanes.copied_keys[:, :, start:end, :, :width]
                values = lanes.copied_values[:, :, start:end, :width]
                self.parts.append(Part(start, end, width, True, keys, values, self.offsets[start:end]))

    @property
    def cuts(self) -> list[int]:
        """Where lanes that are read together begin, as the latest pass had them."""
        return [] if self._latest is None else self._latest.cuts

    def attention(
        self, heads: int, lanes: Lanes, depths: Ints, spans: Sequence[Span] | None = None
    ) -> Attention:
        """How the rows attend in one pass; a decode step takes the one before, where it can."""
        if spans is not None or self._latest is None or not self._latest.again(depths):
            self._latest = Attention(heads, lanes, depths, self, spans)
        return self._latest


@dataclass(frozen=True, slots=True)
class Product:
    """A part's buffers: queries, keys, weights, values, answers."""

    query: Floats
    keys: Floats
    weights: Floats
    values: Floats
    answer: Floats


@dataclass(frozen=True, slots=True)
class Chunk:
    """Weights in one flat array: one call takes their exponentials.

    ``sums`` are the weights and where their sums go, ``masks`` what must be masked over bases,
    ``moving`` in the lanes, made anew every step from ``own``; ``rows`` all weights with their rows.
    """

    flat: Floats
    products: list[Product]
    masks: list[tuple[Floats, Floats | None]]
    moving: list[tuple[Floats, Floats | None]]
    own: list[tuple[Floats, int, int]]
    sums: list[tuple[Floats, Floats]]
    rows: list[tuple[Floats, slice]]


class Attention:
    """One pass: fill ``query`` and call :meth:`run`, once a layer, the new rows' keys being in the lanes.

    ``query`` is [kv head, row, wide, head size], ``wide`` the heads that share a kv head, padded.
    """

    def __init__(self, heads: int, lanes: Lanes, depths: Ints, plan: Plan, spans: Sequence[Span] | None):
        rows, buffers = len(depths), lanes.buffers
        self.groups, self.hd = lanes.keys.shape[1], lanes.keys.shape[3]
        self.rows, self.share = rows, heads // self.groups
        # One query row alone would be multiplied by another routine, which rounds otherwise.
        self.wide = max(self.share, 2)
        shape = self.groups, ceil_to(rows), self.wide
        self.query = buffers.floats("query", *shape, self.hd)
        self.answers = [buffers.floats(f"answer {side}", *shape, self.hd) for side in (0, 1)]
        self.totals = [buffers.floats(f"total {side}", *shape)[:, :rows] for side in (0, 1)]
        if self.wide > self.share:
            self.query[:, :, self.share :] = 0
        self.answers[0][:, rows:] = 0
        self.based = bool(plan.parts)
        if self.based and sum(part.stop - part.start for part in plan.parts) < rows:
            self.answers[1][...] = 0
            self.totals[1][...] = 0
        own = _bands(lanes, depths) if spans is None else _spans(lanes, depths, spans)
        self.chunks: list[Chunk] = []
        self._lay(buffers.floats, [(1, part) for part in plan.parts] + [(0, part) for part in own])
        self.cuts = [part.start for part in own]
        self.tiles = depths // TILE
        self.layer = 0
        self._move(depths)

    def again(self, depths: Ints) -> bool:
        """Serve another step of the same lanes, if no lane has begun another tile."""
        same = len(depths) == self.rows and bool((depths // TILE == self.tiles).all())
        if same:
            self._move(depths)
        return same

    def _move(self, depths: Ints) -> None:
        """Mask what is beyond the lanes' ends."""
        for chunk in self.chunks:
            chunk.moving.clear()
            for weights, start, stop in chunk.own:
                chunk.moving.extend(_mask(weights, depths[start:stop] + 1))

    def _lay(self, floats: Callable[..., Floats], parts: Sequence[tuple[int, Part]]) -> None:
        """Place the parts' weights, and make the views that the products use."""
        layout: list[list[list[tuple[int, Part]]]] = []
        used, most = CHUNK, 0
        for side, part in parts:
            size = self.groups * (part.stop - part.start) * self.wide * part.width
            if used + size > CHUNK:
                layout.append([])
                used = 0
            used += size
            most = max(most, used)
            last = layout[-1][-1][-1] if layout[-1] else None
            if last and (last[0], last[1].width, last[1].stop) == (side, part.width, part.start):
                layout[-1][-1].append((side, part))
            else:
                layout[-1].append([(side, part)])
        everything = floats("weights", most)
        for blocks in layout:
            chunk = Chunk(everything, [], [], [], [], [], [])
            end = 0
            for block in blocks:
                side, first = block[0]
                start, stop = first.start, block[-1][1].stop
                shape = self.groups, stop - start, self.wide, first.width
                begin, end = end, end + self.groups * (stop - start) * self.wide * first.width
                weights = everything[begin:end].reshape(shape)
                chunk.sums.append((weights, self.totals[side][:, start:stop]))
                chunk.rows.append((weights, slice(start, stop)))
                for _, part in block:
                    self._place(chunk, part, weights[:, part.start - start : part.stop - start], side)
            self.chunks.append(replace(chunk, flat=everything[:end]))

    def _place(self, chunk: Chunk, part: Part, weights: Floats, side: int) -> None:
        """Add a part with its weights to a chunk."""
        query = self.query[:, part.start : part.stop]
        answer = self.answers[side][:, part.start : part.stop]
        if side:
            chunk.masks.extend(_mask(weights, part.lengths))
        else:
            chunk.own.append((weights, part.start, part.stop))
        if not part.apart:
            rows = (part.stop - part.start) * self.wide
            query, answer = (a.reshape(self.groups, rows, self.hd) for a in (query, answer))
            weights = weights.reshape(self.groups, rows, part.width)
        chunk.products.append(Product(query, part.keys, weights, part.values, answer))

    def run(self, layer: int) -> Floats:
        """The output for the queries, as [padded rows, heads x head size]."""
        self.layer = layer
        for chunk in self.chunks:
            self._scores(chunk)
            self._values(chunk)
        total = self._sum()
        # Taken as they are, exponentials are as exact as after subtracting the largest
        # score, unless they leave the range of numbers: such rows are done again.
        if not (total.min() > TINY and total.max() < HUGE):
            self._shift(~((total > TINY) & (total < HUGE)))
        answer = self.answers[0]
        answer[:, : self.rows] /= total[..., None]
        if self.groups == 1 and self.wide == self.share:
            return answer.reshape(answer.shape[1], -1)
        return answer[:, :, : self.share].transpose(1, 0, 2, 3).reshape(answer.shape[1], -1)

    def _scores(self, chunk: Chunk) -> None:
        """Products of queries and keys."""
        for each in chunk.products:
            np.matmul(each.query, each.keys[self.layer], out=each.weights)
        for scores, mask in (*chunk.masks, *chunk.moving):
            if mask is None:
                scores[...] = MASKED
            else:
                scores += mask

    def _values(self, chunk: Chunk) -> None:
        """Exponentials of the scores, their sums, and their products with the values."""
        np.exp(chunk.flat, out=chunk.flat)
        for weights, total in chunk.sums:
            # einsum adds in blocks of 16, one after the other, so that blocks of zeros at the
            # end change nothing (``sum`` would add them up as a tree).
            np.einsum("...c->...", weights, out=total)
        for each in chunk.products:
            weights, values = each.weights, each.values[self.layer]
            width = weights.shape[-1]
            if width <= INNER:
                np.matmul(weights, values, out=each.answer)
                continue
            np.matmul(weights[..., :INNER], values[..., :INNER, :], out=each.answer)
            for at in range(INNER, width, INNER):
                answer = each.answer
                answer += weights[..., at : at + INNER] @ values[..., at : at + INNER, :]

    def _sum(self) -> Floats:
        """Add the two sides up; the exponentials' sums."""
        if self.based:
            self.totals[0] += self.totals[1]
            self.answers[0][:, : self.rows] += self.answers[1][:, : self.rows]
        return self.totals[0]

    def _shift(self, wild: NDArray[np.bool_]) -> None:
        """Do it again, the largest score subtracted in the rows that are wild, nothing in the others."""
        top = np.full(wild.shape, MASKED)
        for chunk in self.chunks:
            self._scores(chunk)
            for scores, rows in chunk.rows:
                np.maximum(top[:, rows], scores.max(-1), out=top[:, rows])
        top = np.where(wild, top, np.float32(0))[..., None]
        for chunk in self.chunks:
            self._scores(chunk)
            for scores, rows in chunk.rows:
                scores -= top[:, rows]
            self._values(chunk)
        self._sum()


def _mask(weights: Floats, lengths: int | Ints) -> list[tuple[Floats, Floats | None]]:
    """The columns beyond ``lengths``, and what to add to them: None is to mask them all."""
    width = weights.shape[-1]
    low = lengths if isinstance(lengths, int) else int(lengths.min())
    if low == width:
        return []
    if isinstance(lengths, int) or low == lengths.max():
        return [(weights[..., low:], None)]
    seen = np.arange(low, width) < lengths[:, None]
    return [(weights[..., low:], np.where(seen, np.float32(0), MASKED)[:, None])]


def _bands(lanes: Lanes, depths: Ints) -> list[Part]:
    """Decode: row i reads lane i, neighbours of like depth together."""
    widths = (depths // TILE + 1) * TILE
    cuts = (np.flatnonzero(widths[1:] != widths[:-1]) + 1).tolist()
    found: list[tuple[int, int, int]] = []
    for start, stop in pairwise([0, *cuts, len(depths)]):
        width = int(widths[start])
        while found:
            before, _, other = found[-1]
            narrow = start - before if other < width else stop - start
            if abs(width - other) * narrow > BAND:
                break
            start, width = before, max(width, other)
            found.pop()
        found.append((start, stop, width))
    return [
        Part(
            start,
            stop,
            width,
            True,
            lanes.keys[:, :, start:stop, :, :width],
            lanes.values[:, :, start:stop, :width],
            depths[start:stop] + 1,
        )
        for start, stop, width in found
    ]


def _spans(lanes: Lanes, depths: Ints, spans: Sequence[Span]) -> list[Part]:
    """Prefill: the rows of a span read its lane, up to the last of so many neighbours."""
    parts, end = [], 0
    for span in spans:
        start, end = end, end + span.rows
        for at in range(start, end, STRIDE):
            stop = min(at + STRIDE, end)
            width = ceil_to(int(depths[stop - 1]) + 1)
            keys, values = lanes.keys[:, :, span.lane, :, :width], lanes.values[:, :, span.lane, :width]
            parts.append(Part(at, stop, width, False, keys, values, depths[at:stop] + 1))
    return parts
