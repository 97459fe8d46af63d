"""The small verifier: step values (PRM) or a solution value (ORM) from a Llama classifier.

A growing trace is scored step by step for the price of its new tokens; scored alone,
in a batch, at once or bit by bit, its values are the same. It never gives a value to
a trace that it could not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mull.cost import Cost, ModelSize
from mull.engines.llama import Floats, Lanes, Llama, Span, forward, load_llama
from mull.engines.prefixes import Key, Node, Prefixes, restore, saved
from mull.engines.words import Words
from mull.errors import MullError
from mull.trace import Scores, Trace
from mull.verifiers.base import Verdict

KINDS = {"LlamaForTokenClassification": "process", "LlamaForSequenceClassification": "outcome"}
#: Traces, and at most so many rows, in one pass.
WIDTH, ROWS = 32, 768


@dataclass(frozen=True)
class Work:
    """What of a prefix is to be run: ``steps`` new steps' tokens after ``node``."""

    key: Key
    node: Node | None
    steps: tuple[tuple[int, ...], ...]
    keep: bool

    @property
    def tokens(self) -> list[int]:
        """The new tokens."""
        return [token for step in self.steps for token in step]


class SmallVerifier:
    """Implements :class:`mull.verifiers.base.Verifier`; ``kind`` is "process" or "outcome"."""

    def __init__(self, model: Llama, words: Words, name: str, cache_bytes: int = 1 << 28):
        self.model, self.words, self._name = model, words, name
        self.kind = KINDS[model.architecture]
        self.prefixes = Prefixes(cache_bytes)
        self.computed_tokens = 0
        self._lanes = Lanes(model, WIDTH)
        #: What each lane holds; a trace of the same prompt then goes on from it uncopied.
        self._held: list[Node | None] = [None] * WIDTH

    @classmethod
    def load(cls, folder: Path | str, cache_bytes: int = 1 << 28) -> SmallVerifier:
        """Read a checkpoint folder of a Llama token or sequence classifier with one label."""
        folder = Path(folder)
        model = load_llama(folder)
        if model.architecture not in KINDS or model.outputs != 1:
            known = " or ".join(KINDS)
            raise MullError(f"{folder} holds a {model.architecture} of {model.outputs} outputs, not a {known} of 1")
        name = f"tiny/{folder.resolve().name}@{model.digest[:8]}"
        return cls(model, Words.load(folder, model.eos), name, cache_bytes)

    @property
    def name(self) -> str:
        """Checkpoint and the start of its digest, such as ``tiny/prm@1f2e3d4c``."""
        return self._name

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self.model.size

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace; runs to the end without giving way to other coroutines."""
        return self.score_now(traces)

    def score_now(self, traces: Sequence[Trace]) -> list[Verdict]:
        """What :meth:`score` does, for code that is not async."""
        verdicts: dict[int, Verdict] = {}
        same: dict[Key, list[int]] = {}
        steps: dict[Key, list[tuple[int, ...]]] = {}
        for index, trace in enumerate(traces):
            found = self.words.steps(trace)
            if why := self._unfit(trace, found):
                verdicts[index] = Verdict(None, Cost(), why)
                continue
            key = (trace.problem.prompt, tuple(token for step in found for token in step))
            same.setdefault(key, []).append(index)
            steps[key] = found
        keep = {key for key, indices in same.items() if any(traces[i].open for i in indices)}
        nodes, costs = self._run(steps, keep)
        for key, indices in same.items():
            scores, error = self._read(nodes[key], len(steps[key]))
            # Traces of the same tokens are run once; the first pays.
            for nth, index in enumerate(indices):
                verdicts[index] = Verdict(scores, Cost() if nth else costs.get(key, Cost()), error)
        return [verdicts[index] for index in range(len(traces))]

    def _unfit(self, trace: Trace, steps: list[tuple[int, ...]]) -> str:
        """Why a trace cannot be run, or nothing."""
        if not steps:
            return "the trace has no steps"
        if empty := [i for i, step in enumerate(steps, 1) if not step]:
            return f"step {empty[0]} has no tokens"
        prompt = self.words.prompt(trace.problem.prompt)
        if not prompt:
            return "the prompt is empty: it has no tokens"
        length = len(prompt) + sum(map(len, steps))
        if length > self.model.max_positions:
            return f"{length} tokens do not fit the model's {self.model.max_positions} positions"
        return ""

    def _read(self, node: Node, steps: int) -> tuple[Scores | None, str]:
        """A node's values, or why there are none."""
        values = tuple(value for each in reversed(node.chain()) for value in each.scores)
        if self.kind == "outcome":
            values = values[-1:]
        elif len(values) != steps:
            return None, f"{len(values)} values for {steps} steps"
        if not np.isfinite(values).all():
            return None, "the verifier's output is not a number"
        return Scores(values), ""

    def _run(
        self, steps: dict[Key, list[tuple[int, ...]]], keep: set[Key]
    ) -> tuple[dict[Key, Node], dict[Key, Cost]]:
        """Nodes of all keys, and what it took to get them."""
        nodes: dict[Key, Node] = {}
        costs: dict[Key, Cost] = {}
        missing: list[Key] = []
        nearest: dict[Key, Node | None] = {}
        for key, found in steps.items():
            node = self.prefixes.nearest(key[0], found)
            if node is not None and node.key == key:
                nodes[key] = node
            else:
                missing.append(key)
                nearest[key] = node
        prompts = {key[0]: key for key in missing if nearest[key] is None}
        heads = [Work((p, ()), None, (self.words.prompt(p),), True) for p in prompts]
        self._compute(heads, nodes, costs)
        for prompt, key in prompts.items():
            costs[key] = costs.pop((prompt, ()))
        bodies: list[Work] = []
        for key in missing:
            node = nearest[key] or nodes[(key[0], ())]
            done, left = len(node.key[1]), list(steps[key])
            while done > 0:
                done -= len(left.pop(0))
            bodies.append(Work(key, node, tuple(left), key in keep))
        # Traces that go on from the same node one after the other, so that lanes can keep it.
        bodies.sort(key=lambda w: (id(w.node), len(w.key[1])))
        paid: dict[Key, Cost] = {}
        self._compute(bodies, nodes, paid)
        for key, cost in paid.items():
            costs[key] = costs.get(key, Cost()) + cost
        return nodes, costs

    def _compute(self, works: list[Work], nodes: dict[Key, Node], costs: dict[Key, Cost]) -> None:
        """Run work in passes of bounded size."""
        batch: list[Work] = []
        rows = 0
        for work in works:
            count = len(work.tokens)
            if batch and (len(batch) == WIDTH or rows + count > ROWS):
                self._pass(batch, nodes, costs)
                batch, rows = [], 0
            batch.append(work)
            rows += count
        if batch:
            self._pass(batch, nodes, costs)

    def _pass(self, batch: list[Work], nodes: dict[Key, Node], costs: dict[Key, Cost]) -> None:
        """Run a batch, one lane a work, and make its nodes."""
        spans, tokens, positions = [], [], []
        for lane, work in enumerate(batch):
            start = 0 if work.node is None else work.node.end
            if work.node is not None and self._held[lane] is not work.node:
                restore(self._lanes, lane, work.node)
            self._held[lane] = work.node
            new = work.tokens
            spans.append(Span(lane, len(new)))
            tokens.extend(new)
            positions.append(np.arange(start, start + len(new)))
            cost = Cost(verifier_tokens=len(new), verifier_flops=self.size.flops(len(new), start))
            costs[work.key] = cost
        outputs = forward(self.model, self._lanes, np.array(tokens), np.concatenate(positions), spans)
        self.computed_tokens += len(tokens)
        values = _sigmoid(outputs[:, 0])
        row = 0
        for lane, work in enumerate(batch):
            start = 0 if work.node is None else work.node.end
            ends = row + np.cumsum([len(step) for step in work.steps]) - 1
            row += spans[lane].rows
            scores = tuple(values[ends].tolist()) if work.key[1] else ()
            if not np.isfinite(values[ends]).all():
                self._lanes.keys[:, lane] = self._lanes.values[:, lane] = 0  # NaN would outlast the mask
                self._held[lane] = None
                nodes[work.key] = _bare(work, start, scores)
                continue
            if work.keep:
                end = start + spans[lane].rows
                nodes[work.key] = saved(self._lanes, lane, work.key, work.node, end, scores)
            else:  # a finished trace never grows: its values are worth keeping, its keys are not
                nodes[work.key] = _bare(work, start, scores)
            self.prefixes.put(nodes[work.key])


def _bare(work: Work, start: int, scores: tuple[float, ...]) -> Node:
    """A node of values alone."""
    nothing = np.zeros(0, np.float32)
    return Node(work.key, work.node, start, start, nothing, nothing, scores)


def _sigmoid(x: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))
