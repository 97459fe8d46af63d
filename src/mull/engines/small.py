"""The small engine: samples from a Llama checkpoint on one CPU core, many traces at once.

Continuous batching over a fixed number of lanes; a trace goes on from its cached
prefix. A job's tokens and log-probabilities depend on the checkpoint and the
job alone, bit for bit: its batch mates, their order and what is cached change nothing.
The engine never uses a global random state and never raises for a bad job.

A sampled token takes one forward pass (of the token before it), which jobs share as long as they
have drawn the same tokens: what is computed is, once a prompt, its tokens but the last, and one token for
every different beginning. Every job is charged for its own tokens in full, as if it had come alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job, refuse_thinking
from mull.engines.batch import Batch
from mull.engines.llama import Llama, load_llama
from mull.engines.prefixes import Prefixes
from mull.engines.starts import Task
from mull.engines.words import Words
from mull.errors import MullError

#: Traces sampled side by side. More fill the lanes' share of the caches, fewer pay NumPy's
#: price a call for less work; between 64 and 128 it makes little difference.
LANES = 96
CACHE_BYTES = 1 << 28


class SmallEngine:
    """Implements :class:`mull.engines.base.Engine`.

    ``computed_tokens`` counts the tokens that went through the model since the engine was made;
    ``pretraining_tokens`` are those it was pretrained on, ``finetuning_tokens`` those it was fine-tuned
    on after that (``mull_pretraining_tokens`` and ``mull_finetuning_tokens`` in its ``config.json``),
    None if unknown.
    """

    batching: Literal["together", "apart"] = "together"

    def __init__(
        self,
        model: Llama,
        words: Words,
        name: str,
        lanes: int = LANES,
        cache_bytes: int = CACHE_BYTES,
        pretraining_tokens: int | None = None,
        finetuning_tokens: int | None = None,
    ):
        self.model, self.words, self._name = model, words, name
        self.pretraining_tokens, self.finetuning_tokens = pretraining_tokens, finetuning_tokens
        self.prefixes = Prefixes(cache_bytes)
        self.computed_tokens = 0
        self._lanes = lanes

    @classmethod
    def load(cls, folder: Path | str, lanes: int = LANES, cache_bytes: int = CACHE_BYTES) -> SmallEngine:
        """Read a checkpoint folder of a Llama language model with its tokenizer."""
        folder = Path(folder)
        model = load_llama(folder)
        if model.architecture != "LlamaForCausalLM":
            raise MullError(
                f"{folder} cannot sample: it holds a {model.architecture}, not a LlamaForCausalLM"
            )
        name = f"tiny/{folder.resolve().name}@{model.digest[:8]}"
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        trained = (settings.get(f"mull_{stage}_tokens") for stage in ("pretraining", "finetuning"))
        return cls(model, Words.load(folder, model.eos), name, lanes, cache_bytes, *trained)

    def fresh(self) -> SmallEngine:
        """The same engine with an empty cache and count."""
        trained = self.pretraining_tokens, self.finetuning_tokens
        return SmallEngine(self.model, self.words, self.name, self._lanes, self.prefixes.limit, *trained)

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
        refuse_thinking(jobs, self.name)
        ready = [self._prepare(index, job) for index, job in enumerate(jobs)]
        tasks = [each for each in ready if isinstance(each, Task)]
        # The longest prefixes first (from the end): lanes side by side are then of like
        # length, and forks of one prompt are neighbours.
        tasks.sort(key=lambda t: (len(t.prompt), t.key[0], len(t.key[1]), t.key[1]))
        done: dict[int, Continuation] = {}
        if tasks:
            batch = Batch(self.model, self.words, self.prefixes, self._lanes, tasks)
            batch.go()
            self.computed_tokens += batch.computed_tokens
            done = batch.done
        return [done[i] if isinstance(each, Task) else each for i, each in enumerate(ready)]

    def _prepare(self, index: int, job: Job) -> Task | Continuation:
        """The job as a task, or its result where there is nothing to sample."""
        trace = job.trace
        if not trace.open:
            return Continuation(trace, Cost())
        name, prompt = self.words.head(trace)
        if not prompt:
            return _failed(job, "the prompt is empty: it has no tokens")
        steps = self.words.steps(trace)
        tokens = tuple(token for step in steps for token in step)
        room = self.model.max_positions - len(prompt) - len(tokens)
        if room <= 0:
            limit = self.model.max_positions
            return _failed(job, f"{limit - room} tokens leave no room in the model's {limit} positions")
        if not job.temperature >= 0:
            return _failed(job, f"temperature must be at least 0, not {job.temperature}")
        if job.max_tokens <= 0:
            return Continuation(trace.then((), "length"), Cost(requests=1))
        if job.steps is not None and job.steps <= 0:
            return Continuation(trace, Cost(requests=1))
        key = (name, tokens)
        return Task(index, job, prompt, steps, key, min(room, job.max_tokens))


def _failed(job: Job, why: str) -> Continuation:
    return Continuation(job.trace.then((), "error", why), Cost(requests=1))
