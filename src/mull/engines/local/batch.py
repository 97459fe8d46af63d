"""One call of the transformers engine: tasks in, continuations out, many sequences side by side.

Rows are padded on the left and masked; a row that is over makes room for tasks that wait. The prefix that
several tasks share is computed once, and open traces' keys and values are remembered. Every row
draws from its own stream (:mod:`mull.engines.draw`), so what it is beside changes nothing but the last
bits of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job
from mull.engines.draw import drawn, streams
from mull.engines.local import kv
from mull.engines.local.kv import Layers, Prefixes
from mull.engines.local.spelling import Speller, Writing
from mull.trace import Finish

#: Tokens that a pass over prefixes computes at most (but a prefix at least).
PREFILL = 8192
#: Tasks are admitted when this part of the rows is free: one over it.
REFILL = 4


@dataclass(frozen=True)
class Task:
    """A job that can run: its prefix as ids, where steps end in it, and how many tokens it may sample."""

    index: int
    job: Job
    ids: tuple[int, ...]
    cuts: tuple[int, ...]
    limit: int


@dataclass(frozen=True)
class _Row:
    """A task at work. ``cached`` and ``computed``: positions of its prefix that were there, that were not."""

    task: Task
    writing: Writing
    cached: int
    computed: int


class Batch:
    """Runs ``waiting`` (the last first) to the end, telling of each continuation by task index."""

    def __init__(
        self,
        model: Any,
        speller: Speller,
        size: ModelSize,
        prefixes: Prefixes,
        width: int,
        waiting: list[Task],
        told: Callable[[int, Continuation], None],
    ) -> None:
        self.model, self.speller, self.size, self.prefixes = model, speller, size, prefixes
        self.width, self.waiting, self.told = width, waiting, told
        self.computed_tokens = 0
        self.rows: list[_Row] = []
        self.cache: Layers = []
        self.live: Any = None  # the same as the library has it, as long as the rows stay
        self.pads: list[int] = []  # of each row, positions of the cache on the left that are not its own

    def go(self, over: Callable[[], bool]) -> None:
        """Sample until no task waits and no row is left, or nobody wants it any more."""
        while (self.rows or self.waiting) and not over():
            self._admit()
            logits = self._forward()
            tokens, logprobs, good = choose(
                logits,
                [row.task.job.temperature for row in self.rows],
                self._uniforms(),
            )
            self.computed_tokens += len(self.rows)
            ended = []
            for at, row in enumerate(self.rows):
                if not good[at]:
                    count = len(row.task.ids) + len(row.writing.ids)
                    self._failed(row, f"the model's output is not a number after {count} tokens")
                    ended.append(at)
                    continue
                row.writing.add(tokens[at], logprobs[at])
                if row.writing.over is not None:
                    self._record(at)
                    ended.append(at)
            if ended:
                self._keep([at for at in range(len(self.rows)) if at not in set(ended)])

    def _uniforms(self) -> list[float]:
        seeds = np.array([row.task.job.seed % (1 << 64) for row in self.rows], np.uint64)
        counts = np.array([len(row.writing.ids) for row in self.rows], np.uint64)
        found: list[float] = drawn(streams(seeds), counts).tolist()
        return found

    def _forward(self) -> Any:
        """The logits after the last token of every row, [rows, vocabulary]."""
        last = [row.writing.ids[-1] if row.writing.ids else row.task.ids[-1] for row in self.rows]
        places = [len(row.task.ids) + len(row.writing.ids) - 1 for row in self.rows]
        length = kv.length(self.cache)
        if self.live is None:
            self.live = kv.given(self.cache)
        found = self._pass(self.model, self.live, length, self.pads, [[token] for token in last], places)
        self.cache = kv.taken(self.live, length + 1)
        return found.logits[:, -1]

    def _pass(
        self,
        model: Any,
        cache: Any,
        past: int,
        pads: Sequence[int],
        tokens: Sequence[Sequence[int]],
        first: Sequence[int],
    ) -> Any:
        """One pass over ``tokens`` ([rows, count]) after ``past`` positions of a cache, which grows by them.

        Tokens before place 0 (``first`` is the place of a row's first) are padding.
        """
        import torch

        device, count = self.model.device, len(tokens[0])
        places = np.array(first)[:, None] + np.arange(count)
        seen = np.arange(past)[None, :] >= np.array(pads)[:, None]
        mask = np.concatenate([seen, places >= 0], axis=1)
        return model(
            input_ids=torch.tensor(np.array(tokens), device=device),
            attention_mask=torch.tensor(mask.astype(np.int64), device=device),
            position_ids=torch.tensor(np.maximum(places, 0), device=device),
            **kv.named(cache, type(model)),
        )

    def _admit(self) -> None:
        """Put waiting tasks into rows, many at once."""
        free = min(self.width - len(self.rows), len(self.waiting))
        if free < min(max(1, self.width // REFILL), len(self.waiting)) or not free:
            return
        tasks = [self.waiting.pop() for _ in range(free)]
        found = self._prefixes(tasks)
        parts, pads = ([self.cache], list(self.pads)) if self.rows else ([], [])
        lengths = [len(task.ids) - 1 for task in tasks]
        for task in tasks:
            layers, cached = found[task.ids]
            parts.append(layers)
            # The first task of a prefix pays for it.
            found[task.ids] = layers, len(task.ids) - 1
            writing = Writing(self.speller, task.ids, task.job.steps, task.limit)
            self.rows.append(_Row(task, writing, cached, len(task.ids) - 1 - cached))
        longest = max(map(kv.length, parts))
        old = kv.length(self.cache) if self.cache and pads else 0
        self.pads = [pad + longest - old for pad in pads] + [longest - length for length in lengths]
        self.cache, self.live = kv.joined(parts), None

    def _prefixes(self, tasks: Sequence[Task]) -> dict[tuple[int, ...], tuple[Layers, int]]:
        """Keys and values of every task's prefix but its last id, and how many of them were there."""
        found: dict[tuple[int, ...], tuple[Layers, int]] = {}
        missing: dict[tuple[int, ...], tuple[Layers | None, int]] = {}
        for task in tasks:
            if task.ids in found or task.ids in missing:
                continue
            kept = self.prefixes.find(task.ids)
            if kept is not None:
                found[task.ids] = kept, len(task.ids) - 1
            else:
                missing[task.ids] = self._nearest(task)
        # Those that have as much to compute side by side: the batch is as long as its longest.
        order = sorted(missing, key=lambda ids: len(ids) - missing[ids][1])
        while order:
            longest = len(order[-1]) - missing[order[-1]][1]
            count = max(1, PREFILL // max(longest, 1))
            group, order = order[-count:], order[:-count]
            for ids, layers in zip(group, self._computed(group, missing), strict=True):
                self.prefixes.put(ids, layers)
                found[ids] = layers, missing[ids][1]
        return found

    def _nearest(self, task: Task) -> tuple[Layers | None, int]:
        """The longest known beginning of a prefix that ends with the prompt or a step, and its positions."""
        for at in reversed(task.cuts):
            kept = self.prefixes.find(task.ids[:at])
            if kept is not None:
                return kept, at - 1
        return None, 0

    def _computed(
        self, group: Sequence[tuple[int, ...]], known: dict[tuple[int, ...], tuple[Layers | None, int]]
    ) -> list[Layers]:
        """Run what is missing of some prefixes in one pass.

        All rows run as many tokens as the one that lacks most: of the others a part of what is known is
        computed again, or they are padded at the beginning, so that no padding comes between.
        """
        # A prefix of one id has nothing before its last: it is run itself, and not kept.
        count = max(max(len(ids) - 1 - known[ids][1], 1) for ids in group)
        first = [len(ids) - 1 - count for ids in group]
        tokens, before = [], []
        for ids, start in zip(group, first, strict=True):
            tokens.append([ids[0]] * -min(start, 0) + list(ids[max(start, 0) : len(ids) - 1]))
            before.append(max(start, 0))
        cache: Layers = []
        pads = [0] * len(group)
        if any(before):
            parts = []
            some = next(
                layers for layers, there in map(known.__getitem__, group) if layers is not None and there
            )
            for ids, there in zip(group, before, strict=True):
                layers = known[ids][0]
                parts.append(kv.row(some if layers is None else layers, 0, 0, there))
            cache = kv.joined(parts)
            pads = [kv.length(cache) - there for there in before]
        past = kv.length(cache) if cache else 0
        filled = kv.given(cache)
        self._pass(self.model.base_model, filled, past, pads, tokens, first)
        total = past + count
        layers = kv.taken(filled, total)
        self.computed_tokens += sum(len(ids) - 1 - known[ids][1] for ids in group)
        return [kv.row(layers, at, total - (len(ids) - 1), total) for at, ids in enumerate(group)]

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows only, without the padding that all of them have."""
        self.rows = [self.rows[at] for at in rows]
        drop = min((self.pads[at] for at in rows), default=0)
        self.pads = [self.pads[at] - drop for at in rows]
        self.cache, self.live = kv.chosen(self.cache, rows, drop) if rows else [], None

    def _cost(self, row: _Row) -> Cost:
        count = len(row.writing.ids)
        return Cost(
            requests=1,
            prompt_tokens=len(row.task.ids),
            cached_tokens=row.cached,
            completion_tokens=count,
            flops=self.size.flops(row.computed + count, row.cached) if self.size.parameters else 0.0,
        )

    def _failed(self, row: _Row, why: str) -> None:
        self.told(row.task.index, Continuation(row.task.job.trace.then((), "error", why), self._cost(row)))

    def _record(self, at: int) -> None:
        """The continuation of a row that is over; an open trace's keys and values are remembered."""
        row = self.rows[at]
        steps = row.writing.steps()
        finish: Finish | None = {"stop": "stop", "length": "length"}.get(str(row.writing.over))  # type: ignore[assignment]
        if finish is None:
            kept = tuple(token for step in steps for token in step.tokens)
            whole = row.task.ids + kept
            # Only if every token of it belongs to a step: else the prefix will be spelt anew.
            if kept == tuple(row.writing.ids[: len(kept)]) and all(step.tokens for step in steps):
                start = self.pads[at]
                self.prefixes.put(whole, kv.row(self.cache, at, start, start + len(whole) - 1))
        self.told(row.task.index, Continuation(row.task.job.trace.then(steps, finish), self._cost(row)))


def choose(
    logits: Any, temperatures: Sequence[float], uniforms: Sequence[float]
) -> tuple[list[int], list[float], list[bool]]:
    """A token a row by inverse CDF, its log-probability at temperature 1, and whether that is a number.

    What :func:`mull.engines.draw.choose` does, on the logits' own device ([rows, vocabulary]).
    """
    import torch

    logits = logits.float()
    shifted = logits - logits.max(dim=1, keepdim=True).values
    normal = shifted.exp().sum(dim=1).log()
    heat = torch.tensor(temperatures, dtype=torch.float32, device=logits.device)
    divisor = torch.where(heat > 0, heat, torch.ones_like(heat))[:, None]
    cumulated = (shifted / divisor).exp().double().cumsum(dim=1)
    draw = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None]
    # The first token whose cumulated weight is beyond the number: never one of weight 0.
    picked = torch.searchsorted(cumulated, draw * cumulated[:, -1:], right=True)[:, 0]
    picked = picked.clamp(max=logits.shape[1] - 1)
    tokens = torch.where(heat == 0, logits.argmax(dim=1), picked)
    logprobs = shifted.gather(1, tokens[:, None])[:, 0] - normal
    return tokens.tolist(), logprobs.tolist(), normal.isfinite().tolist()
