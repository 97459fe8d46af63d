"""The small engine: samples from a Llama checkpoint on one CPU core, many traces at once.

Continuous batching over a fixed number of lanes; a trace goes on from its cached
prefix. A job's tokens and log-probabilities depend on the checkpoint and the
job alone, bit for bit: its batch mates, their order and what is cached change nothing.
The engine never uses a global random state and never raises for a bad job.

Every sampled token costs one forward pass (of the token before it), so what is computed
is the sampled tokens plus, once a prompt, its tokens but the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job
from mull.engines.llama import Floats, Ints, Lanes, Llama, Span, forward, load_llama
from mull.engines.prefixes import Key, Node, Prefixes, restore, saved
from mull.engines.words import Words
from mull.errors import MullError
from mull.trace import Finish, Step

#: Rows of one prefill pass.
PREFILL_ROWS = 512
NO_CAP = 1 << 62


@dataclass(frozen=True)
class Task:
    """A job that can run: its prefix as tokens, and how many it may sample."""

    index: int
    job: Job
    key: Key
    prompt: tuple[int, ...]
    steps: list[tuple[int, ...]]
    limit: int

    @property
    def prefix(self) -> tuple[int, ...]:
        """Prompt and solution so far."""
        return self.prompt + self.key[1]


@dataclass(frozen=True)
class Start:
    """A task in a lane: the node it goes on from, and the prefix tokens that had to be computed."""

    task: Task
    node: Node
    computed: int


class SmallEngine:
    """Implements :class:`mull.engines.base.Engine`.

    ``computed_tokens`` counts the rows that went through the model since the start.
    """

    batching: Literal["together", "apart"] = "together"

    def __init__(self, model: Llama, words: Words, name: str, lanes: int = 256, cache_bytes: int = 1 << 28):
        self.model, self.words, self._name = model, words, name
        self.prefixes = Prefixes(cache_bytes)
        self.computed_tokens = 0
        self._width = lanes

    @classmethod
    def load(cls, folder: Path | str, lanes: int = 256, cache_bytes: int = 1 << 28) -> SmallEngine:
        """Read a checkpoint folder of a Llama language model with its tokenizer."""
        folder = Path(folder)
        model = load_llama(folder)
        if model.architecture != "LlamaForCausalLM":
            raise MullError(f"{folder} holds a {model.architecture}, not a LlamaForCausalLM: it cannot sample")
        name = f"tiny/{folder.resolve().name}@{model.digest[:8]}"
        return cls(model, Words.load(folder, model.eos), name, lanes, cache_bytes)

    @property
    def name(self) -> str:
        """Checkpoint and the start of its digest, such as ``tiny/proposer@1f2e3d4c``."""
        return self._name

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self.model.size

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Continue every job's trace; runs to the end without giving way to other coroutines."""
        return self.sample_now(jobs)

    def sample_now(self, jobs: Sequence[Job]) -> list[Continuation]:
        """What :meth:`sample` does, for code that is not async."""
        done: dict[int, Continuation] = {}
        waiting: list[Task] = []
        for index, job in enumerate(jobs):
            ready = self._prepare(index, job)
            if isinstance(ready, Task):
                waiting.append(ready)
            else:
                done[index] = ready
        # Long prefixes first: lanes side by side are then of like length, and forks of one
        # prefix are admitted together. From the end, as the list is popped.
        waiting.sort(key=lambda t: (len(t.prompt) + len(t.key[1]), t.key))
        if waiting:
            _Run(self, waiting, done).go()
        return [done[index] for index in range(len(jobs))]

    def _prepare(self, index: int, job: Job) -> Task | Continuation:
        """The job as a task, or its result where there is nothing to sample."""
        trace = job.trace
        if not trace.open:
            return Continuation(trace, Cost())
        prompt = self.words.prompt(trace.problem.prompt)
        if not prompt:
            return _failed(job, "the prompt is empty: it has no tokens")
        steps = self.words.steps(trace)
        tokens = tuple(token for step in steps for token in step)
        room = self.model.max_positions - len(prompt) - len(tokens)
        if room <= 0:
            length = len(prompt) + len(tokens)
            return _failed(job, f"{length} tokens do not fit the model's {self.model.max_positions} positions")
        if not job.temperature >= 0:
            return _failed(job, f"temperature must be at least 0, not {job.temperature}")
        if job.max_tokens <= 0:
            return Continuation(trace.then((), "length"), Cost(requests=1))
        if job.steps is not None and job.steps <= 0:
            return Continuation(trace, Cost(requests=1))
        return Task(index, job, (trace.problem.prompt, tokens), prompt, steps, min(room, job.max_tokens))


def _failed(job: Job, why: str) -> Continuation:
    return Continuation(job.trace.then((), "error", why), Cost(requests=1))


class _Run:
    """One call: the lanes and their state, in arrays indexed by lane. Active lanes come first."""

    def __init__(self, engine: SmallEngine, waiting: list[Task], done: dict[int, Continuation]):
        self.engine, self.model, self.words = engine, engine.model, engine.words
        self.waiting, self.done = waiting, done
        width = min(engine._width, len(waiting))
        self.lanes = Lanes(self.model, width)
        self.starts: list[Start] = []
        room = max(task.limit for task in waiting)
        self.sampled = np.zeros((width, min(room, 128)), np.int64)
        self.logprobs = np.zeros((width, min(room, 128)), np.float32)
        # token, position, count, limit, steps left, seed
        self.state = np.zeros((6, width), np.int64)
        self.temperature = np.zeros(width)

    def go(self) -> None:
        """Sample until no job waits and no lane is active."""
        while True:
            free = self.lanes.count - len(self.starts)
            if free and self.waiting:
                self._admit([self.waiting.pop() for _ in range(min(free, len(self.waiting)))])
            active = len(self.starts)
            if not active:
                return
            token, position, count, limit, left, seed = self.state[:, :active]
            logits = forward(self.model, self.lanes, token, position)
            self.engine.computed_tokens += active
            uniform = uniforms(seed.view(np.uint64), count.view(np.uint64))
            chosen, logprob, good = choose(logits, self.temperature[:active], uniform)
            rows = np.arange(active)
            if count.max() >= self.sampled.shape[1]:
                self.sampled = np.concatenate([self.sampled, np.zeros_like(self.sampled)], axis=1)
                self.logprobs = np.concatenate([self.logprobs, np.zeros_like(self.logprobs)], axis=1)
            self.sampled[rows, count] = chosen
            self.logprobs[rows, count] = logprob
            ends = self.words.ends[chosen]
            token[:] = chosen
            position += 1
            count += 1
            left -= ends
            over = (count >= limit) | (left <= 0) | ~good
            if ends.any():
                over |= np.isin(chosen, self.words.eos)
            if over.any():
                self._finish(np.flatnonzero(over), good)

    def _admit(self, tasks: list[Task]) -> None:
        """Put tasks into free lanes: each distinct prefix is found or computed once, then copied."""
        engine, first = self.engine, len(self.starts)
        groups: dict[Key, list[Task]] = {}
        for task in tasks:
            groups.setdefault(task.key, []).append(task)
        # Prompts first, so that different traces of one prompt share it even if none is cached.
        prompts = {task.job.trace.problem.prompt: task for task in tasks}
        known: dict[Key, Node] = {}
        computed: dict[Key, int] = {}
        self._ensure([(t, (p, ())) for p, t in prompts.items()], first, known, computed)
        self._ensure([(g[0], key) for key, g in groups.items() if key[1]], first, known, computed)
        lane = first
        for key, group in groups.items():
            node = known[key]
            if lane not in self._loaded or self._loaded[lane] is not node:
                restore(self.lanes, lane, node)
            if len(group) > 1:
                self.lanes.copy(lane, np.arange(lane + 1, lane + len(group)), node.end)
            for task in group:
                # The first task of a prefix pays for what of it had to be computed.
                paid = computed.pop(key, 0) + computed.pop((key[0], ()), 0)
                self.starts.append(Start(task, node, paid))
                cap = NO_CAP if task.job.steps is None else task.job.steps
                seed = int(np.uint64(task.job.seed % (1 << 64)).view(np.int64))
                self.state[:, lane] = task.prefix[-1], node.end, 0, task.limit, cap, seed
                self.temperature[lane] = task.job.temperature
                lane += 1

    def _ensure(
        self, wanted: list[tuple[Task, Key]], lane: int, known: dict[Key, Node], computed: dict[Key, int]
    ) -> None:
        """Find or compute the nodes of keys; ``computed`` gets the tokens that it took."""
        engine = self.engine
        self._loaded: dict[int, Node] = {}
        missing: list[tuple[Key, Node | None, tuple[int, ...]]] = []
        for task, key in wanted:
            steps = task.steps if key[1] else []
            node = engine.prefixes.nearest(key[0], steps) or known.get((key[0], ()))
            if node is not None and node.key == key:
                known[key] = node
                continue
            start = 0 if node is None else node.end
            prefix = task.prompt + key[1]
            missing.append((key, node, prefix[start:-1]))
        while missing:
            batch, rows = [], 0
            while missing and (not batch or rows + len(missing[-1][2]) <= PREFILL_ROWS):
                if lane + len(batch) >= self.lanes.count:
                    break
                batch.append(missing.pop())
                rows += len(batch[-1][2])
            self._prefill(batch, lane, known, computed)

    def _prefill(
        self,
        batch: list[tuple[Key, Node | None, tuple[int, ...]]],
        lane: int,
        known: dict[Key, Node],
        computed: dict[Key, int],
    ) -> None:
        """Compute the missing tokens of several prefixes in one pass, in free lanes."""
        for i, (_, node, _) in enumerate(batch):
            if node is not None:
                restore(self.lanes, lane + i, node)
        spans = [Span(lane + i, len(tokens)) for i, (_, _, tokens) in enumerate(batch) if tokens]
        if spans:
            tokens = np.array([t for _, _, missing in batch for t in missing])
            starts = [0 if node is None else node.end for _, node, _ in batch]
            positions = np.concatenate(
                [np.arange(s, s + len(missing)) for s, (_, _, missing) in zip(starts, batch, strict=True)]
            )
            forward(self.model, self.lanes, tokens, positions.astype(np.int64), spans)
            self.engine.computed_tokens += len(tokens)
        for i, (key, node, missing) in enumerate(batch):
            end = (0 if node is None else node.end) + len(missing)
            known[key] = saved(self.lanes, lane + i, key, node, end)
            computed[key] = len(missing)
            self.engine.prefixes.put(known[key])

    def _finish(self, over: Ints, good: NDArray[np.bool_]) -> None:
        """Record the jobs of lanes that are over, and close the gaps."""
        for lane in over.tolist():
            self._record(lane, bool(good[lane]))
        keep = np.delete(np.arange(len(self.starts)), over)
        left = len(keep)
        holes, movers = over[over < left], keep[keep >= left]
        if len(holes):
            self.lanes.copy(movers, holes, int(self.state[1, movers].max()))
            for array in (self.sampled, self.logprobs, self.temperature):
                array[holes] = array[movers]
            self.state[:, holes] = self.state[:, movers]
            for hole, mover in zip(holes.tolist(), movers.tolist(), strict=True):
                self.starts[hole] = self.starts[mover]
        del self.starts[left:]

    def _record(self, lane: int, good: bool) -> None:
        """The continuation of a lane's job; an open trace's keys and values are kept."""
        start, model, words = self.starts[lane], self.model, self.words
        task, job = start.task, start.task.job
        _, position, count, _, left, _ = self.state[:, lane].tolist()
        tokens = tuple(self.sampled[lane, :count].tolist())
        logprobs = tuple(self.logprobs[lane, :count].tolist())
        context = start.node.end - start.computed
        cost = Cost(
            requests=1,
            prompt_tokens=len(task.prompt) + len(task.key[1]),
            cached_tokens=context,
            completion_tokens=count,
            flops=model.size.flops(start.computed + count, context),
        )
        trace = job.trace
        if not good:
            self.lanes.keys[:, lane] = self.lanes.values[:, lane] = 0  # NaN would outlast the mask
            why = f"the model's output is not a number at position {position - 1}"
            self.done[task.index] = Continuation(trace.then((), "error", why), cost)
            return
        finish: Finish | None = "length"
        if tokens[-1] in words.eos:
            finish = "stop"
        elif left <= 0:
            finish = None
        longer = trace.then(_steps(words, tokens, logprobs), finish)
        if finish is None:
            key = (task.key[0], task.key[1] + tokens)
            if self.engine.prefixes.find(key) is None:
                self.engine.prefixes.put(saved(self.lanes, lane, key, start.node, position))
        self.done[task.index] = Continuation(longer, cost)


def _steps(words: Words, tokens: tuple[int, ...], logprobs: tuple[float, ...]) -> tuple[Step, ...]:
    """Cut sampled tokens into steps; an unended rest is a step too."""
    cuts = [i + 1 for i, token in enumerate(tokens) if words.ends[token]]
    if not cuts or cuts[-1] < len(tokens):
        cuts.append(len(tokens))
    return tuple(
        Step(words.text(tokens[a:b]), tokens[a:b], logprobs[a:b])
        for a, b in zip([0, *cuts[:-1]], cuts, strict=True)
    )


def uniforms(seeds: NDArray[np.uint64], counts: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for the i-th token of a seed: splitmix64 of (seed, i), no state."""
    golden, first, second = (
        np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
    )

    def mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
        z = (z ^ (z >> np.uint64(30))) * first
        z = (z ^ (z >> np.uint64(27))) * second
        return z ^ (z >> np.uint64(31))

    # The seed is mixed before the count is added: neighbouring seeds share no stretch.
    z = mixed(mixed(seeds + golden) + (counts + np.uint64(1)) * golden)
    return np.asarray((z >> np.uint64(11)) * 2.0**-53)


def choose(
    logits: Floats, temperature: NDArray[np.float64], uniform: NDArray[np.float64]
) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """A token a row by inverse CDF, its log-probability at temperature 1, and whether it is a number.

    Temperature 0 takes the likeliest token. The log-probability is the model's own,
    whatever the temperature.
    """
    with np.errstate(all="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        weights = np.exp(shifted)
        normal = np.log(weights.sum(axis=1))
        good = np.isfinite(normal)
        if not (temperature == 1).all():
            divisor = np.where(temperature > 0, temperature, 1.0)[:, None]
            weights = np.exp(np.where(divisor == 1, shifted, shifted / divisor))
        cumulated = np.cumsum(weights, axis=1, dtype=np.float64)
        below = cumulated <= uniform[:, None] * cumulated[:, -1:]
        chosen = np.minimum(below.sum(axis=1), logits.shape[1] - 1)
        chosen = np.where(temperature > 0, chosen, logits.argmax(axis=1))
        logprob = shifted[np.arange(len(chosen)), chosen] - normal
    return chosen, np.asarray(logprob, np.float32), good
