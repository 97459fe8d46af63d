"""One call of the small engine: tasks in, continuations out, through a fixed number of lanes.

Continuous batching: a lane whose task is over takes the next one at once. All state
is in arrays indexed by lane, active lanes first; Python touches a task only when it starts
and ends. A task's result does not depend on which others there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mull.cost import Cost
from mull.engines.attention import SHARED, Plan
from mull.engines.base import Continuation, Job
from mull.engines.draw import choose, drawn, streams
from mull.engines.lanes import Ints, Lanes, Run
from mull.engines.llama import Llama, forward
from mull.engines.prefill import Extension, extend
from mull.engines.prefixes import Key, Node, Prefixes
from mull.engines.words import Words
from mull.trace import Finish, Step

#: Prefixes, and about how many rows, computed in one pass; how far ahead among the waiting tasks
#: prefixes are sought.
PREFILL_LANES, PREFILL_ROWS = 16, 768
LOOK_AHEAD = 8
#: Tasks are admitted when this part of the lanes is free: one over it.
REFILL = 4
NO_CAP = 1 << 62


@dataclass(frozen=True)
class Task:
    """A job that can run: its prefix as tokens, and how many it may sample."""

    index: int
    job: Job
    prompt: tuple[int, ...]
    steps: list[tuple[int, ...]]
    key: Key
    limit: int

    @property
    def seed(self) -> int:
        """The seed's 64 bits, as a signed number."""
        return ((self.job.seed + (1 << 63)) % (1 << 64)) - (1 << 63)


@dataclass(frozen=True)
class Start:
    """A task in a lane: the node it goes on from, and how many tokens were computed for that."""

    task: Task
    node: Node
    computed: int


class Batch:
    """Runs ``waiting`` (the last first) to the end; ``done`` gets the continuations by task index.

    A node of a prefix holds all its positions but the last: that token is the first input.
    """

    def __init__(self, model: Llama, words: Words, prefixes: Prefixes, width: int, waiting: list[Task]):
        self.model, self.words, self.prefixes, self.waiting = model, words, prefixes, waiting
        self.done: dict[int, Continuation] = {}
        self.computed_tokens = 0
        self.width = min(width, len(waiting))
        self.refill = max(1, self.width // REFILL)
        self.lanes = Lanes(model, self.width)
        self.scratch = Lanes(model, PREFILL_LANES)
        self.starts: list[Start] = []
        self.plan = Plan([])
        #: Nodes computed for tasks that still wait, and the tokens that took.
        self.ready: dict[Key, tuple[Node, int]] = {}
        room = min(128, max(task.limit for task in waiting))
        self.sampled = np.zeros((self.width, room), np.int64)
        self.logprobs = np.zeros((self.width, room), np.float32)
        # Rows: token, depth, count, limit, steps left, stream, base.
        self.state = np.zeros((7, self.width), np.int64)
        self.temperature = np.zeros(self.width)

    def go(self) -> None:
        """Sample until no task waits and no lane is active."""
        self._admit()
        self._plan()
        while self.starts:
            active = len(self.starts)
            token, depth, count, limit, left, stream, _ = self.state[:, :active]
            logits = forward(self.model, self.lanes, token, depth, self.plan)
            self.computed_tokens += active
            uniform = drawn(stream.view(np.uint64), count.view(np.uint64))
            chosen, logprob, good = choose(logits, self.temperature[:active], uniform)
            if count.max() >= self.sampled.shape[1]:
                self.sampled = np.concatenate([self.sampled, np.zeros_like(self.sampled)], axis=1)
                self.logprobs = np.concatenate([self.logprobs, np.zeros_like(self.logprobs)], axis=1)
            rows = np.arange(active)
            self.sampled[rows, count] = chosen
            self.logprobs[rows, count] = logprob
            token[:] = chosen
            depth += 1
            count += 1
            left -= self.words.ends[chosen]
            over = (count >= limit) | (left <= 0) | ~good | self.words.last[chosen]
            if over.any():
                for lane in np.flatnonzero(over).tolist():
                    self._record(lane, bool(good[lane]))
                self._close(over)
                self._admit()
                self._plan()

    def _admit(self) -> None:
        """Put waiting tasks into lanes behind the active ones, many at once.

        Lanes are in the order of admission: those side by side are of like depth and, tasks
        being sorted, go on from the same base.
        """
        free = min(self.width - len(self.starts), len(self.waiting))
        if free < min(self.refill, len(self.waiting)) or not free:
            return
        tasks = [self.waiting.pop() for _ in range(free)]
        nodes = self._nodes(tasks)
        first = len(self.starts)
        for lane, task in enumerate(tasks, first):
            node, computed = nodes[task.key]
            nodes[task.key] = node, 0  # the first task of a prefix pays for it
            node.restore(self.lanes, lane)
            self.starts.append(Start(task, node, computed))
            last = task.key[1][-1] if task.key[1] else task.prompt[-1]
            cap = NO_CAP if task.job.steps is None else task.job.steps
            self.state[:, lane] = last, node.end, 0, task.limit, cap, task.seed, id(node.base)
            self.temperature[lane] = task.job.temperature
        new = self.state[:, first : len(self.starts)]
        new[5] = streams(new[5].view(np.uint64)).view(np.int64)

    def _nodes(self, tasks: Sequence[Task]) -> dict[Key, tuple[Node, int]]:
        """The node of every task's prefix, and how many tokens were computed for it."""
        found: dict[Key, tuple[Node, int]] = {}
        missing: dict[Key, Task] = {}
        for task in tasks:
            if task.key in found or task.key in missing:
                continue
            node = self.prefixes.find(task.key)
            if task.key in self.ready:
                found[task.key] = self.ready.pop(task.key)
            elif node is not None:
                found[task.key] = node, 0
            else:
                missing[task.key] = task
        if missing:
            # Prefixes that will be needed soon are computed in the same pass.
            for task in self.waiting[-LOOK_AHEAD:]:
                if task.key not in self.ready and self.prefixes.find(task.key) is None:
                    missing.setdefault(task.key, task)
            self.ready.update(self._computed(list(missing.values())))
            for task in tasks:
                if task.key not in found:
                    found[task.key] = self.ready.pop(task.key)
        return found

    def _computed(self, tasks: Sequence[Task]) -> dict[Key, tuple[Node, int]]:
        """Nodes of prefixes that are not known: prompts first, each once, then what follows."""
        near = {task.key: self.prefixes.nearest(task.key[0], task.steps) for task in tasks}
        prompts = {task.key[0]: task.prompt[:-1] for task in tasks if near[task.key] is None}
        roots = self._extended([Extension((text, ()), None, ids) for text, ids in prompts.items()])
        result: dict[Key, tuple[Node, int]] = {}
        rest = []
        for task in tasks:
            node = near[task.key]
            if node is None:
                node, count = roots[task.key[0], ()]
                roots[task.key[0], ()] = node, 0
                result[task.key] = node, count
            else:
                result[task.key] = node, 0
            if node.key != task.key:
                rest.append(Extension(task.key, node, (task.prompt + task.key[1])[node.length : -1]))
        for key, (node, count) in self._extended(rest).items():
            result[key] = node, count + result[key][1]
        return result

    def _extended(self, extensions: Sequence[Extension]) -> dict[Key, tuple[Node, int]]:
        """Run extensions, remember their nodes."""
        result: dict[Key, tuple[Node, int]] = {}
        batch: list[Extension] = []
        rows = 0
        for last, each in enumerate(extensions, 1 - len(extensions)):
            batch.append(each)
            rows += len(each.tokens)
            if len(batch) < PREFILL_LANES and rows < PREFILL_ROWS and last:
                continue
            extend(self.model, self.scratch, batch, outputs=False)
            for lane, done in enumerate(batch):
                node = done.made(self.scratch, lane)
                self.prefixes.put(node)
                self.computed_tokens += len(done.tokens)
                result[done.key] = node, len(done.tokens)
            batch, rows = [], 0
        return result

    def _close(self, over: NDArray[np.bool_]) -> None:
        """Close the gaps that finished lanes leave, with few moves.

        Segments keep their order: lanes side by side that read one base, or bases that few
        share, and are of like depth.
        """
        bases, lanes = self.state[6, : len(over)], np.flatnonzero(~over)
        cuts = np.flatnonzero(np.diff(bases, prepend=-1, append=-1))
        sizes = np.diff(cuts)
        few = sizes < SHARED
        begins = np.zeros(len(over), np.int64)
        begins[self.plan.cuts] = 1
        begins[cuts[:-1][~(few & np.concatenate([[False], few[:-1]]))]] = 1
        segments = (np.cumsum(begins) - 1)[lanes]
        stops = np.cumsum(np.bincount(segments))
        starts = np.concatenate([[0], stops[:-1]])
        stay = (lanes >= starts[segments]) & (lanes < stops[segments])
        if not stay.all():
            holes = np.ones(len(lanes), np.bool_)
            holes[lanes[stay]] = False
            self._move(lanes[~stay], np.flatnonzero(holes))
        del self.starts[len(lanes) :]

    def _move(self, source: Ints, target: Ints) -> None:
        """Move lanes down, with their state; both ascend, so none is overwritten before it is moved."""
        for array in (self.sampled, self.logprobs, self.temperature):
            array[target] = array[source]
        self.state[:, target] = self.state[:, source]
        for a, b, depth in zip(source.tolist(), target.tolist(), self.state[1, target].tolist(), strict=True):
            self.lanes.copy(a, b, depth)
            self.starts[b] = self.starts[a]

    def _plan(self) -> None:
        """Group neighbouring lanes of one base."""
        active = len(self.starts)
        if not active:
            return
        bases = self.state[6, :active]
        cuts = (np.flatnonzero(bases[1:] != bases[:-1]) + 1).tolist()
        runs = [Run(self.starts[a].node.base, b - a) for a, b in pairwise([0, *cuts, active])]
        self.plan = Plan(runs, self.lanes)

    def _record(self, lane: int, good: bool) -> None:
        """The continuation of a lane's task; an open trace's keys and values are kept."""
        start = self.starts[lane]
        task, node, trace = start.task, start.node, start.task.job.trace
        _, depth, count, _, left, _, _ = self.state[:, lane].tolist()
        tokens = tuple(self.sampled[lane, :count].tolist())
        logprobs = tuple(self.logprobs[lane, :count].tolist())
        cached = node.length - start.computed
        cost = Cost(
            requests=1,
            prompt_tokens=node.length + 1,
            cached_tokens=cached,
            completion_tokens=count,
            flops=self.model.size.flops(start.computed + count, cached),
        )
        if not good:
            self.lanes.clear(lane)
            why = f"the model's output is not a number after {node.length + count} tokens"
            self.done[task.index] = Continuation(trace.then((), "error", why), cost)
            return
        finish: Finish | None = "length"
        if tokens[-1] in self.words.eos:
            finish = "stop"
        elif left <= 0:
            finish = None
            key = (task.key[0], task.key[1] + tokens)
            if self.prefixes.find(key) is None:
                self.prefixes.put(node.extended(self.lanes, lane, key, depth))
        steps = tuple(self._steps(tokens, logprobs))
        self.done[task.index] = Continuation(trace.then(steps, finish), cost)

    def _steps(self, tokens: tuple[int, ...], logprobs: tuple[float, ...]) -> list[Step]:
        """Cut sampled tokens into steps; an unended rest is a step too."""
        steps, start, enders = [], 0, self.words.enders
        for end, token in enumerate(tokens, 1):
            if token in enders or end == len(tokens):
                part = tokens[start:end]
                steps.append(Step(self.words.text(part), part, logprobs[start:end]))
                start = end
        return steps
