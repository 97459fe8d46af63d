"""One call of the small engine: tasks in, continuations out, through a fixed number of lanes.

Continuous batching: a lane that is over makes room for the next task at once. Tasks that go on
from one prefix are one lane until their draws differ: what they have in common goes through the model
once, and then the lane forks. A twig that finds no free lane is parked and comes next. All
state is in arrays, indexed by lane (active lanes first) or by task; Python touches a lane only when it
forks and ends. A task's result does not depend on which others there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mull.cost import Cost
from mull.engines.attention import SHARED, Plan
from mull.engines.base import Continuation
from mull.engines.draw import choose, drawn, streams
from mull.engines.lanes import Floats, Ints, Lanes, Run
from mull.engines.llama import Llama, forward
from mull.engines.prefixes import Node, Prefixes
from mull.engines.starts import LOOK_AHEAD, Alike, Starts, Task
from mull.engines.words import Words
from mull.trace import Finish, Step

#: Lanes are filled when this part of them is free: one over it.
REFILL = 4
NO_CAP = 1 << 62


@dataclass(frozen=True)
class Twig:
    """What a lane holds beside keys and values: the node it goes on from, its state, its tasks."""

    node: Node
    state: Ints
    temperature: float
    sampled: Ints
    logprobs: Floats
    tasks: Ints


class Batch:
    """Runs ``tasks`` (the last first) to the end; ``done`` gets the continuations by task index.

    A node of a prefix holds all its positions but the last: that token is the first input.
    """

    def __init__(self, model: Llama, words: Words, prefixes: Prefixes, width: int, tasks: list[Task]):
        self.model, self.words, self.prefixes, self.tasks = model, words, prefixes, tasks
        self.done: dict[int, Continuation] = {}
        self.starts = Starts(model, prefixes)
        self.forwarded = 0
        self.width = min(width, len(tasks))
        self.refill = max(1, self.width // REFILL)
        self.lanes = Lanes(model, self.width)
        alike: dict[Alike, list[int]] = {}
        for number, task in enumerate(tasks):
            alike.setdefault(task.alike, []).append(number)
        #: Numbers of tasks that are alike; what has begun and found no lane, with its keys and values.
        self.waiting = list(alike.values())
        self.parked: list[tuple[Twig, Floats, Floats]] = []
        #: The node every active lane goes on from.
        self.nodes: list[Node] = []
        self.plan = Plan([])
        #: Tokens computed for a task's prefix: the first task of a prefix pays for it.
        self.paid: dict[int, int] = {}
        room = min(128, max(task.limit for task in tasks))
        self.sampled = np.zeros((self.width, room), np.int64)
        self.logprobs = np.zeros((self.width, room), np.float32)
        # Rows: token, depth, count, limit, steps left, base.
        self.state = np.zeros((6, self.width), np.int64)
        self.temperature = np.zeros(self.width)
        self.stream = streams(np.array([task.seed for task in tasks], np.int64).view(np.uint64))
        #: The tasks under way by number, and the lane of each.
        self.under_way = np.zeros(0, np.int64)
        self.lane = np.zeros(0, np.int64)

    @property
    def computed_tokens(self) -> int:
        """How many tokens went through the model."""
        return self.forwarded + self.starts.computed_tokens

    def go(self) -> None:
        """Sample until no task waits and no lane is active."""
        self._admit()
        self._plan()
        while self.nodes:
            active = len(self.nodes)
            token, depth, count, _, _, _ = self.state[:, :active]
            logits = forward(self.model, self.lanes, token, depth, self.plan)
            self.forwarded += active
            uniform = drawn(self.stream[self.under_way], count[self.lane].view(np.uint64))
            chosen, logprob, good = choose(logits, self.temperature[:active], uniform, self.lane)
            depth += 1
            count += 1
            if count.max() > self.sampled.shape[1]:
                self.sampled = np.concatenate([self.sampled, np.zeros_like(self.sampled)], axis=1)
                self.logprobs = np.concatenate([self.logprobs, np.zeros_like(self.logprobs)], axis=1)
            if self._grow(chosen, logprob, good):
                self._admit()
                self._plan()

    def _grow(self, chosen: Ints, logprob: Floats, good: NDArray[np.bool_]) -> bool:
        """Go on by the tokens that tasks drew: lanes end, and fork; whether any did.

        A twig is a lane with a token that one of its tasks drew.
        """
        lane, vocabulary = self.lane, self.model.outputs
        if len(lane) == len(self.nodes):  # one task a lane: none can fork
            first, twig = np.argsort(lane), lane
            source, token = np.arange(len(lane)), chosen[first]
        else:
            pairs = lane * vocabulary + chosen
            twigs, first, twig = np.unique(pairs, return_index=True, return_inverse=True)
            source, token = np.divmod(twigs, vocabulary)
        _, _, count, limit, left, _ = self.state[:, source]
        left = left - self.words.ends[token]
        over = (count >= limit) | (left <= 0) | ~good[source] | self.words.last[token]
        logprob = logprob[first]
        if not over.any() and len(token) == len(self.nodes):
            self._put(source, token, logprob, left)
            return False
        # Tasks by twig.
        order = np.argsort(twig, kind="stable")
        tasks = np.split(self.under_way[order], np.cumsum(np.bincount(twig))[:-1])
        for each in np.flatnonzero(over).tolist():
            at = int(source[each])
            last = int(token[each]), float(logprob[each])
            self._record(at, tasks[each].tolist(), last, int(left[each]), bool(good[at]))
        alive = np.flatnonzero(~over)
        stays = np.diff(source[alive], prepend=-1) != 0
        dead = np.ones(len(self.nodes), np.bool_)
        dead[source[alive]] = False
        rests = alive[stays].tolist()
        self.under_way = np.concatenate([np.zeros(0, np.int64), *(tasks[each] for each in rests)])
        self.lane = np.repeat(source[rests], [len(tasks[each]) for each in rests])
        where = self._close(dead) if dead.any() else np.arange(len(dead))
        for each in alive[~stays].tolist():
            self._fork(int(where[source[each]]), tasks[each], token[each], logprob[each], left[each])
        self._put(where[source[rests]], token[rests], logprob[rests], left[rests])
        return True

    def _put(self, lanes: Ints, token: Ints, logprob: Floats, left: Ints) -> None:
        """Lanes have got a token; how many steps they have left."""
        at = self.state[2, lanes] - 1
        self.state[0, lanes], self.state[4, lanes] = token, left
        self.sampled[lanes, at], self.logprobs[lanes, at] = token, logprob

    def _fork(self, lane: int, tasks: Ints, token: int, logprob: float, left: int) -> None:
        """Give tasks that drew another token a lane of their own, or park them."""
        state = self.state[:, lane].copy()
        depth, count = int(state[1]), int(state[2])
        state[0], state[4] = token, left
        sampled, logprobs = self.sampled[lane, :count].copy(), self.logprobs[lane, :count].copy()
        sampled[-1], logprobs[-1] = token, logprob
        twig = Twig(self.nodes[lane], state, float(self.temperature[lane]), sampled, logprobs, tasks)
        if len(self.nodes) < self.width:
            self.lanes.copy(lane, len(self.nodes), depth)
            self._open(twig)
        else:
            self.parked.append((twig, *self.lanes.read(lane, twig.node.end, depth)))

    def _open(self, twig: Twig) -> None:
        """One more active lane, whose keys and values are there."""
        lane, count = len(self.nodes), len(twig.sampled)
        self.nodes.append(twig.node)
        self.state[:, lane], self.temperature[lane] = twig.state, twig.temperature
        self.sampled[lane, :count], self.logprobs[lane, :count] = twig.sampled, twig.logprobs
        self.under_way = np.concatenate([self.under_way, twig.tasks])
        self.lane = np.concatenate([self.lane, np.full(len(twig.tasks), lane)])

    def _admit(self) -> None:
        """Put what is parked, then waiting tasks, into lanes behind the active ones, many at once.

        Lanes are in the order of admission: those side by side are of like depth and, tasks
        being sorted, go on from the same base.
        """
        free = self.width - len(self.nodes)
        if not free or free < min(self.refill, len(self.parked) + len(self.waiting)):
            return
        for _ in range(min(free, len(self.parked))):
            twig, keys, values = self.parked.pop()
            twig.node.restore(self.lanes, len(self.nodes))
            self.lanes.write(len(self.nodes), keys, values, twig.node.end)
            self._open(twig)
        groups = [self.waiting.pop() for _ in range(min(self.width - len(self.nodes), len(self.waiting)))]
        coming = [self.tasks[group[-1]] for group in self.waiting[-LOOK_AHEAD:]]
        nodes = self.starts.nodes([self.tasks[group[-1]] for group in groups], coming)
        none, nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        for group in groups:
            task = self.tasks[group[-1]]
            node, self.paid[group[-1]] = nodes[task.key]
            nodes[task.key] = node, 0
            node.restore(self.lanes, len(self.nodes))
            last = task.key[1][-1] if task.key[1] else task.prompt[-1]
            cap = NO_CAP if task.job.steps is None else task.job.steps
            state = np.array([last, node.end, 0, task.limit, cap, id(node.base)])
            self._open(Twig(node, state, task.job.temperature, none, nothing, np.array(group)))

    def _close(self, over: NDArray[np.bool_]) -> Ints:
        """Close the gaps that finished lanes leave, with few moves; where every lane is then.

        Segments keep their order: lanes side by side that read one base, or bases that few
        share, and are of like depth.
        """
        bases, lanes = self.state[5, : len(over)], np.flatnonzero(~over)
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
        where = np.arange(len(over))
        if not stay.all():
            holes = np.ones(len(lanes), np.bool_)
            holes[lanes[stay]] = False
            where[lanes[~stay]] = np.flatnonzero(holes)
            self._move(lanes[~stay], np.flatnonzero(holes))
            self.lane = where[self.lane]
        del self.nodes[len(lanes) :]
        return where

    def _move(self, source: Ints, target: Ints) -> None:
        """Move lanes down, with their state; both ascend, so none is overwritten before it is moved."""
        for array in (self.sampled, self.logprobs, self.temperature):
            array[target] = array[source]
        self.state[:, target] = self.state[:, source]
        for a, b, depth in zip(source.tolist(), target.tolist(), self.state[1, target].tolist(), strict=True):
            self.lanes.copy(a, b, depth)
            self.nodes[b] = self.nodes[a]

    def _plan(self) -> None:
        """Group neighbouring lanes of one base."""
        active = len(self.nodes)
        if not active:
            return
        bases = self.state[5, :active]
        cuts = (np.flatnonzero(bases[1:] != bases[:-1]) + 1).tolist()
        runs = [Run(self.nodes[a].base, b - a) for a, b in pairwise([0, *cuts, active])]
        self.plan = Plan(runs, self.lanes)

    def _record(
        self, lane: int, tasks: Sequence[int], last: tuple[int, float], left: int, good: bool
    ) -> None:
        """The continuations of a lane's tasks that drew one last token.

        An open trace's keys and values are kept.
        """
        node, (_, depth, count) = self.nodes[lane], self.state[:3, lane].tolist()
        tokens = (*self.sampled[lane, : count - 1].tolist(), last[0])
        logprobs = (*self.logprobs[lane, : count - 1].tolist(), last[1])
        finish: Finish | None = "length"
        why = ""
        if not good:
            self.lanes.clear(lane)
            finish, why = "error", f"the model's output is not a number after {node.length + count} tokens"
        elif tokens[-1] in self.words.eos:
            finish = "stop"
        elif left <= 0:
            finish = None
            prompt, before = self.tasks[tasks[0]].key
            key = (prompt, before + tokens)
            if self.prefixes.find(key) is None:
                self.prefixes.put(node.extended(self.lanes, lane, key, depth))
        steps = tuple(self._steps(tokens, logprobs)) if good else ()
        for number in tasks:
            task, computed = self.tasks[number], self.paid.get(number, 0)
            cached = node.length - computed
            cost = Cost(
                requests=1,
                prompt_tokens=node.length + 1,
                cached_tokens=cached,
                completion_tokens=count,
                flops=self.model.size.flops(computed + count, cached),
            )
            self.done[task.index] = Continuation(task.job.trace.then(steps, finish, why), cost)

    def _steps(self, tokens: tuple[int, ...], logprobs: tuple[float, ...]) -> list[Step]:
        """Cut sampled tokens into steps; an unended rest is a step too."""
        steps, start, enders = [], 0, self.words.enders
        for end, token in enumerate(tokens, 1):
            if token in enders or end == len(tokens):
                part = tokens[start:end]
                steps.append(Step(self.words.text(part), part, logprobs[start:end]))
                start = end
        return steps
