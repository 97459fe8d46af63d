"""The small verifier: step values (PRM) or a solution value (ORM) from a Llama classifier.

A growing trace is scored step by step for the price of its new tokens; scored alone,
in a batch, at once or bit by bit, its values are the same. Steps that traces of one call begin with
alike are run once; every trace is charged for them, as if it had come alone. One that was trained on
revisions (``mull_history`` in its ``config.json``) also reads so many of the attempts
before. It never gives a value to a trace that it could not run, or to a step that it cannot spell
(what is unknown in a prompt is read as an unknown word).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mull.cost import Cost, ModelSize
from mull.engines.lanes import Floats, Lanes
from mull.engines.llama import Llama, load_llama
from mull.engines.prefill import Extension, extend
from mull.engines.prefixes import Key, Node, Prefixes
from mull.engines.words import Words
from mull.errors import MullError
from mull.trace import Scores, Trace
from mull.verifiers.base import Verdict

KINDS = {"LlamaForTokenClassification": "process", "LlamaForSequenceClassification": "outcome"}
#: Traces, and at most so many rows, in one pass.
WIDTH, ROWS = 32, 768
#: Why a step of another model's is not scored.
UNSPELT = "the verifier's vocabulary cannot spell; it was trained on other models' text"
#: Closes a step in the key of a prefix: the same ids cut elsewhere are other steps, with other values.
MARK = -1
#: Steps, as ids, each closed by the mark.
Steps = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Work:
    """An extension to score at the ends of its steps; ``keep`` if the trace may grow."""

    extension: Extension
    steps: Steps = ()
    keep: bool = True


@dataclass(frozen=True)
class Stretch:
    """Steps to be run after the prefix ``after``, for one trace or (``common``) for several."""

    after: Key
    steps: Steps
    common: bool

    @property
    def tokens(self) -> tuple[int, ...]:
        """The steps' ids, one after the other, without marks."""
        return tuple(token for step in self.steps for token in step[:-1])

    @property
    def key(self) -> Key:
        """The prefix that ends with them."""
        prompt, before = self.after
        return prompt, before + tuple(token for step in self.steps for token in step)


def stretches(after: Key, solutions: Sequence[Steps]) -> list[list[Stretch]]:
    """What to run so that what solutions have in common is run once: rounds, each to follow the one before.

    ``solutions`` are different, and each goes on from ``after`` by at least one step.
    """
    branches: dict[tuple[int, ...], list[Steps]] = {}
    for steps in solutions:
        branches.setdefault(steps[0], []).append(steps)
    rounds: list[list[Stretch]] = [[]]
    for branch in branches.values():
        first, *others = branch
        end = 1 if others else len(first)
        while others and all(len(steps) > end and steps[end] == first[end] for steps in branch):
            end += 1
        stretch = Stretch(after, first[:end], bool(others))
        rounds[0].append(stretch)
        rest = [steps[end:] for steps in branch if len(steps) > end]
        for index, later in enumerate(stretches(stretch.key, rest) if rest else [], 1):
            if index == len(rounds):
                rounds.append([])
            rounds[index].extend(later)
    return rounds


class SmallVerifier:
    """Implements :class:`mull.verifiers.base.Verifier`; ``kind`` is "process" or "outcome".

    ``history`` is the number of a revision's earlier attempts that it reads.
    """

    def __init__(
        self,
        model: Llama,
        words: Words,
        name: str,
        cache_bytes: int = 1 << 28,
        history: int = 0,
    ):
        self.model, self.words, self._name, self.history = model, words, name, history
        self.kind = KINDS[model.architecture]
        self.prefixes = Prefixes(cache_bytes)
        self.computed_tokens = 0
        self._lanes = Lanes(model, WIDTH)

    @classmethod
    def load(
        cls, folder: Path | str, cache_bytes: int = 1 << 28, history: int | None = None
    ) -> SmallVerifier:
        """Read a checkpoint folder of a Llama token or sequence classifier with one label.

        ``history`` None is the checkpoint's own, 0 if it says nothing.
        """
        folder = Path(folder)
        model = load_llama(folder)
        if model.architecture not in KINDS or model.outputs != 1:
            known, outputs = " or ".join(KINDS), model.outputs
            raise MullError(
                f"{folder} holds a {model.architecture} with {outputs} outputs, not a {known} with 1"
            )
        name = f"tiny/{folder.resolve().name}@{model.digest[:8]}"
        if history is None:
            settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            history = int(settings.get("mull_history", 0))
        elif history == 0:
            name += " without history"
        return cls(model, Words.load(folder, model.eos), name, cache_bytes, history)

    def fresh(self) -> SmallVerifier:
        """The same verifier with an empty cache and count."""
        return SmallVerifier(self.model, self.words, self.name, self.prefixes.limit, self.history)

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
        heads: dict[str, tuple[int, ...]] = {}
        for index, trace in enumerate(traces):
            found = self.words.steps(trace)
            name, head = self.words.head(trace, self.history)
            if why := self._unfit(trace, head, found):
                verdicts[index] = Verdict(None, Cost(), why)
                continue
            heads[name] = head
            marked = [(*step, MARK) for step in found]
            key = (name, tuple(token for step in marked for token in step))
            same.setdefault(key, []).append(index)
            steps[key] = marked
        keep = {key for key, indices in same.items() if any(traces[i].open for i in indices)}
        nodes, costs = self._run(heads, steps, keep)
        for key, indices in same.items():
            scores, error = self._read(nodes[key], len(steps[key]))
            # Traces of the same tokens are run once; the first pays.
            for nth, index in enumerate(indices):
                verdicts[index] = Verdict(scores, Cost() if nth else costs.get(key, Cost()), error)
        return [verdicts[index] for index in range(len(traces))]

    def _unfit(self, trace: Trace, head: tuple[int, ...], steps: list[tuple[int, ...]]) -> str:
        """Why a trace cannot be run, or nothing."""
        if not steps:
            return "the trace has no steps"
        if empty := [i for i, step in enumerate(steps, 1) if not step]:
            return f"step {empty[0]} has no tokens"
        for i, (step, ids) in enumerate(zip(trace.steps, steps, strict=True), 1):
            if ids is not step.tokens and self.words.unknown in ids:
                return f"step {i} has {self.words.unspelt(step.text)[0]!r}, which {UNSPELT}"
        if not head:
            return "the prompt is empty: it has no tokens"
        length = len(head) + sum(map(len, steps))
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
        self, heads: dict[str, tuple[int, ...]], steps: dict[Key, list[tuple[int, ...]]], keep: set[Key]
    ) -> tuple[dict[Key, Node], dict[Key, Cost]]:
        """Nodes of all keys, and what it takes to get each, from what was known before the call."""
        nodes: dict[Key, Node] = {}
        costs: dict[Key, Cost] = {}
        near = {key: self.prefixes.nearest(key[0], found) for key, found in steps.items()}
        payers = {key[0]: key for key, node in near.items() if node is None}  # a prompt is paid for once
        starts = [Extension((text, ()), None, heads[text]) for text in payers]
        self._compute([Work(each) for each in starts], nodes)
        apart: dict[Key, list[Steps]] = {}
        for key, found in steps.items():
            node = near[key] or nodes[key[0], ()]
            if near[key] is None and payers[key[0]] == key:
                costs[key] = self._cost(node.length, 0)
            nodes[node.key] = node
            if node.key == key:
                continue
            done, left = len(node.key[1]), list(found)
            while done > 0:
                done -= len(left.pop(0))
            rows = sum(len(step) - 1 for step in left)
            costs[key] = costs.get(key, Cost()) + self._cost(rows, node.length)
            apart.setdefault(node.key, []).append(tuple(left))
        for together in zip_longest(*(stretches(*each) for each in apart.items()), fillvalue=()):
            works = []
            for each in (stretch for some in together for stretch in some):
                extension = Extension(each.key, nodes[each.after], each.tokens)
                works.append(Work(extension, each.steps, each.common or extension.key in keep))
            # Traces of one prompt side by side.
            works.sort(key=lambda work: work.extension.key[0])
            self._compute(works, nodes)
        return nodes, costs

    def _cost(self, rows: int, before: int) -> Cost:
        """What it takes to run some tokens after so many."""
        return Cost(verifier_tokens=rows, verifier_flops=self.size.flops(rows, before))

    def _compute(self, works: list[Work], nodes: dict[Key, Node]) -> None:
        """Run work in passes of bounded size."""
        batch: list[Work] = []
        rows = 0
        for work in works:
            count = len(work.extension.tokens)
            if batch and (len(batch) == WIDTH or rows + count > ROWS):
                self._pass(batch, nodes)
                batch, rows = [], 0
            batch.append(work)
            rows += count
        if batch:
            self._pass(batch, nodes)

    def _pass(self, batch: list[Work], nodes: dict[Key, Node]) -> None:
        """Run a batch, one lane a work, and make its nodes."""
        outputs = extend(self.model, self._lanes, [work.extension for work in batch])
        for lane, (work, output) in enumerate(zip(batch, outputs, strict=True)):
            each = work.extension
            self.computed_tokens += len(output)
            ends = np.cumsum([len(step) - 1 for step in work.steps], dtype=np.int64) - 1
            scores = tuple(_sigmoid(output[ends, 0]).tolist())
            if not np.isfinite(output).all():
                nodes[each.key] = each.made(self._lanes, lane, scores)
                self._lanes.clear(lane)
                continue
            if work.keep or each.node is None:
                node = each.made(self._lanes, lane, scores)
            else:  # a finished trace never grows: its values are worth keeping, its keys are not
                end = each.node.end
                node = Node(each.key, each.node.base, each.node, end, end, scores=scores)
            nodes[each.key] = node
            self.prefixes.put(node)


def _sigmoid(x: Floats) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))
