"""The transformers engine: any causal language model's checkpoint, on any device, in this process.

Implements :class:`mull.engines.base.Engine`. Prompts, step rules and chat templates are those of
the engine over HTTP; tokens are drawn here, from a stream a job, so a job's result depends on the
checkpoint and the job alone (up to the last bits of the arithmetic, which may decide a tie). Extra
``local``. No code of a checkpoint is run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job, Told, at_once, refuse_thinking
from mull.engines.local.batch import Batch, Task
from mull.engines.local.kv import Prefixes
from mull.engines.local.loading import backbone, ends, folder_of, tokenizer
from mull.engines.local.size import checkpoint_size
from mull.engines.local.spelling import Speller
from mull.engines.prompts import Format
from mull.errors import MullError

#: Bytes of keys and values of open traces and prompts that are remembered.
CACHE_BYTES = 1 << 30


class TransformersEngine:
    """See the module. ``computed_tokens`` counts what went through the model, prefixes with it.

    - ``model``, ``speller``: the loaded model, and its tokenizer with the prompt format;
    - ``batch``: sequences side by side at most;
    - ``max_length``: tokens a sequence at most, prompt and all; None: as many as the model has positions.
    """

    batching: Literal["together", "apart"] = "together"

    def __init__(
        self,
        model: Any,
        speller: Speller,
        name: str,
        *,
        size: ModelSize | None = None,
        batch: int = 64,
        max_length: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.model, self.speller, self._name = model, speller, name
        self._size, self._batch = size or ModelSize(0), batch
        limits = [max_length, getattr(model.config, "max_position_embeddings", None)]
        self._room: int | None = min((each for each in limits if each), default=None)
        self.prefixes = Prefixes(cache_bytes)
        self.computed_tokens = 0
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        where: Path | str,
        form: Format,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch: int = 64,
        max_length: int | None = None,
        size: ModelSize | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> TransformersEngine:
        """Read a checkpoint's folder, or one of Hugging Face's by name, which is fetched if it is not there.

        Raises :class:`MullError` for what cannot be read, a device that is not there or an unknown dtype.
        """
        folder = folder_of(str(where))
        spelt = tokenizer(folder)
        model = backbone(folder, device=device, dtype=dtype, language=True)
        speller = Speller(spelt, form, ends(model), int(model.config.get_text_config().vocab_size))
        name = f"{Path(where).name} by transformers ({form.name}, {form.rule.name})"
        size = size or checkpoint_size(folder)
        return cls(
            model, speller, name, size=size, batch=batch, max_length=max_length, cache_bytes=cache_bytes
        )

    @property
    def name(self) -> str:
        """Checkpoint and format, such as ``Qwen2.5-1.5B-Instruct by transformers (chat, blank)``."""
        return self._name

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Continue every job's trace, in a thread; calls wait for each other."""
        return await self.sample_telling(jobs, lambda place, made: None)

    async def sample_telling(self, jobs: Sequence[Job], told: Told) -> list[Continuation]:
        """What :meth:`sample` gives; each result is told of when it comes, from the thread that computes."""
        over = threading.Event()
        try:
            return await asyncio.to_thread(self.sample_now, jobs, told, over)
        finally:
            over.set()  # a call that is cancelled stops computing

    def sample_now(
        self, jobs: Sequence[Job], told: Told | None = None, over: threading.Event | None = None
    ) -> list[Continuation]:
        """What :meth:`sample` does, for code that is not async."""
        refuse_thinking(jobs, self.name)
        done: dict[int, Continuation] = {}

        def tell(place: int, made: Continuation) -> None:
            done[place] = made
            if told is not None:
                told(place, made)

        tasks: list[Task] = []
        for index, job in enumerate(jobs):
            found = self._prepared(index, job)
            if isinstance(found, Task):
                tasks.append(found)
            else:
                tell(index, found)
        # The longest first (from the end), those of one prefix side by side: rows are then of like length.
        tasks.sort(key=lambda task: (len(task.ids), task.ids))
        if tasks:
            with self._lock:
                self._run(tasks, tell, over or threading.Event())
        return [done[i] for i in range(len(jobs))] if len(done) == len(jobs) else []

    def _run(self, tasks: list[Task], tell: Told, over: threading.Event) -> None:
        import torch

        batch = Batch(self.model, self.speller, self.size, self.prefixes, self._batch, tasks, tell)
        try:
            with torch.inference_mode():
                batch.go(over.is_set)
        except torch.OutOfMemoryError:
            raise MullError(
                f"{self.model.device} is out of memory with {self._batch} sequences side by side: "
                "set 'batch' lower"
            ) from None
        self.computed_tokens += batch.computed_tokens

    def _prepared(self, index: int, job: Job) -> Task | Continuation:
        """The job as a task, or its result where there is nothing to sample."""
        if (found := at_once(job)) is not None:
            return found
        ids, cuts = self.speller.ids(job.trace)
        if not ids:
            return _failed(job, "the prompt is empty: it has no tokens")
        room = job.max_tokens if self._room is None else min(self._room - len(ids), job.max_tokens)
        if room <= 0:
            return _failed(
                job, f"context too long: {len(ids)} tokens leave no room in {self._room} positions"
            )
        return Task(index, job, ids, cuts, room)


def _failed(job: Job, why: str) -> Continuation:
    return Continuation(job.trace.then((), "error", why), Cost(requests=1))
