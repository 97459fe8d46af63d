"""Where a batch's tasks start: the nodes of their prefixes, found in the cache or computed.

A prompt is computed once and the rest of a prefix after it, several prefixes in one pass.
It samples nothing, and knows nothing of lanes in which tasks run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mull.engines.base import Job
from mull.engines.lanes import Lanes
from mull.engines.llama import Llama
from mull.engines.prefill import Extension, extend
from mull.engines.prefixes import Key, Node, Prefixes

#: Prefixes, and about how many rows, computed in one pass; among how many of the tasks that come next
#: prefixes are sought.
PREFILL_LANES, PREFILL_ROWS = 16, 768
LOOK_AHEAD = 8
#: Prefix, temperature, most tokens, most steps.
Alike = tuple[Key, float, int, int | None]


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

    @property
    def alike(self) -> Alike:
        """Tasks that have this in common differ in nothing but their random numbers."""
        return self.key, self.job.temperature, self.limit, self.job.steps


class Starts:
    """Nodes by prefix; ``computed_tokens`` went through the model for them."""

    def __init__(self, model: Llama, prefixes: Prefixes):
        self.model, self.prefixes = model, prefixes
        self.computed_tokens = 0
        self._scratch = Lanes(model, PREFILL_LANES)
        #: Nodes computed for tasks that still wait, and the tokens that took.
        self._ready: dict[Key, tuple[Node, int]] = {}

    def nodes(self, tasks: Sequence[Task], coming: Sequence[Task]) -> dict[Key, tuple[Node, int]]:
        """The node of every task's prefix, and how many tokens were computed for it; ``coming`` are next."""
        found: dict[Key, tuple[Node, int]] = {}
        missing: dict[Key, Task] = {}
        for task in tasks:
            if task.key in found or task.key in missing:
                continue
            node = self.prefixes.find(task.key)
            if task.key in self._ready:
                found[task.key] = self._ready.pop(task.key)
            elif node is not None:
                found[task.key] = node, 0
            else:
                missing[task.key] = task
        if missing:
            # Prefixes that will be needed soon are computed in the same pass.
            for task in coming:
                if task.key not in self._ready and self.prefixes.find(task.key) is None:
                    missing.setdefault(task.key, task)
            self._ready.update(self._computed(list(missing.values())))
            for task in tasks:
                if task.key not in found:
                    found[task.key] = self._ready.pop(task.key)
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
            extend(self.model, self._scratch, batch, outputs=False)
            for lane, done in enumerate(batch):
                node = done.made(self._scratch, lane)
                self.prefixes.put(node)
                self.computed_tokens += len(done.tokens)
                result[done.key] = node, len(done.tokens)
            batch, rows = [], 0
        return result
