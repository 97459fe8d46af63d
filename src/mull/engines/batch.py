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

from mull.cost import Cost
from mull.engines.attention import Plan
from mull.engines.base import Continuation, Job
from mull.engines.draw import choose, uniforms
from mull.engines.lanes import Ints, Lanes, Run
from mull.engines.llama import Llama, forward
from mull.engines.prefill import Extension, extend
from mull.engines.prefixes import Key, Node, Prefixes
from mull.engines.words import Words
from mull.trace import Finish, Step

#: Prefixes computed in one pass, and how far ahead among the waiting tasks they are sought.
PREFILL_LANES = 8
LOOK_AHEAD = 8
#: A run of so many lanes of one base is kept together.
WORTH_A_MOVE = 8
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
        width = min(width, len(waiting))
        self.lanes = Lanes(model, width)
        self.scratch = Lanes(model, PREFILL_LANES)
        self.starts: list[Start] = []
        self.plan = Plan([])
        #: Nodes computed for tasks that still wait, and the tokens that took.
        self.ready: dict[Key, tuple[Node, int]] = {}
        room = min(128, max(task.limit for task in waiting))
        self.sampled = np.zeros((width, room), np.int64)
        self.logprobs = np.zeros((width, room), np.float32)
        # Rows: token, depth, count, limit, steps left, seed, base.
        self.state = np.zeros((7, width), np.int64)
        self.temperature = np.zeros(width)

    def go(self) -> None:
        """Sample until no task waits and no lane is active."""
        self._admit(list(range(self.lanes.count)))
        while self.starts:
            active = len(self.starts)
            token, depth, count, limit, left, seed, _ = self.state[:, :active]
            logits = forward(self.model, self.lanes, token, depth, self.plan)
            self.computed_tokens += active
            uniform = uniforms(seed.view(np.uint64), count.view(np.uint64))
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
                free = np.flatnonzero(over).tolist()
                for lane in free:
                    self._record(lane, bool(good[lane]))
                self._admit(free)

    def _admit(self, free: list[int]) -> None:
        """Put waiting tasks into free lanes; close up the lanes that are left over."""
        tasks = [self.waiting.pop() for _ in range(min(len(free), len(self.waiting)))]
        nodes = self._nodes(tasks)
        for task in tasks:
            node, computed = nodes[task.key]
            nodes[task.key] = node, 0  # the first task of a prefix pays for it
            lane = self._place(node, free)
            node.restore(self.lanes, lane)
            self.starts[lane : lane + 1] = [Start(task, node, computed)]
            last = task.key[1][-1] if task.key[1] else task.prompt[-1]
            cap = NO_CAP if task.job.steps is None else task.job.steps
            self.state[:, lane] = last, node.end, 0, task.limit, cap, task.seed, id(node.base)
            self.temperature[lane] = task.job.temperature
        self._close(free)
        self._plan()

    def _place(self, node: Node, free: list[int]) -> int:
        """Take a free lane for a task, beside a run of its base if that is worth a move."""
        active, base = len(self.starts), id(node.base)
        if free[0] >= active or self.state[6, free[0]] == base:
            return free.pop(0)
        run = np.flatnonzero(self.state[6, :active] == base)
        if len(run) < WORTH_A_MOVE:
            return free.pop(0)
        after, before = int(run[-1]) + 1, int(run[0]) - 1
        lane = after if after < active else before
        if lane in free:
            free.remove(lane)
        elif lane >= 0:
            self._move(np.array([lane]), np.array([free.pop(0)]))
        else:
            lane = free.pop(0)
        return lane

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
        for at in range(0, len(extensions), PREFILL_LANES):
            batch = extensions[at : at + PREFILL_LANES]
            extend(self.model, self.scratch, batch)
            for lane, each in enumerate(batch):
                node = each.made(self.scratch, lane)
                self.prefixes.put(node)
                self.computed_tokens += len(each.tokens)
                result[each.key] = node, len(each.tokens)
        return result

    def _close(self, gaps: Sequence[int]) -> None:
        """Move the last lanes into gaps, so that active lanes come first."""
        gone = {lane for lane in gaps if lane < len(self.starts)}
        left = len(self.starts) - len(gone)
        holes = [lane for lane in gone if lane < left]
        if holes:
            movers = [lane for lane in range(left, len(self.starts)) if lane not in gone]
            self._move(np.array(movers), np.array(holes))
        del self.starts[left:]

    def _move(self, source: Ints, target: Ints) -> None:
        """Move lanes with their state."""
        self.lanes.copy(source, target, int(self.state[1, source].max()))
        for array in (self.sampled, self.logprobs, self.temperature):
            array[target] = array[source]
        self.state[:, target] = self.state[:, source]
        moved = [self.starts[lane] for lane in source.tolist()]
        for lane, start in zip(target.tolist(), moved, strict=True):
            self.starts[lane] = start

    def _plan(self) -> None:
        """Group neighbouring lanes of one base, once they are sorted if that pays."""
        active = len(self.starts)
        if not active:
            return
        bases = self.state[6, :active]
        cuts = np.flatnonzero(bases[1:] != bases[:-1]) + 1
        if len(cuts) > 2 * len(set(bases.tolist())) + WORTH_A_MOVE:
            self._move(np.argsort(bases, kind="stable"), np.arange(active))
            cuts = np.flatnonzero(bases[1:] != bases[:-1]) + 1
        ends = [0, *cuts.tolist(), active]
        runs = [Run(self.starts[a].node.base, b - a) for a, b in pairwise(ends)]
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
