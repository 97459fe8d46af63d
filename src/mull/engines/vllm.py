"""The vLLM engine: a checkpoint run in this process by vLLM's offline class (extra ``vllm``).

Implements :class:`mull.engines.base.Engine`. Prompts, chat templates and step rules are those of the
engines over HTTP and by transformers; prompts go in as ids, so what is continued is what was sampled.
A step is sampled with the rule's stop texts, kept. All jobs of a call go in together, each with its
own seed; vLLM batches them and keeps the prefixes that they share. With a seed a job's result is vLLM's to
promise: it may differ in the last bits with what is beside it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Job, at_once, refuse_thinking
from mull.engines.local.size import checkpoint_size
from mull.engines.local.spelling import Speller, Writing
from mull.engines.prompts import Format
from mull.errors import MullError
from mull.trace import Finish

#: Seeds have so many bits, as the engine over HTTP sends them.
SEED_BITS = 31


class _Run:
    """One job on its way: what was written, and what it cost."""

    def __init__(self, engine: VLLMEngine, job: Job, ids: tuple[int, ...], limit: int) -> None:
        self.engine, self.job, self.ids, self.limit = engine, job, ids, limit
        self.writing = Writing(engine.speller, ids, job.steps, limit)
        self.cost, self.asked = Cost(), 0

    @property
    def prompt(self) -> dict[str, list[int]]:
        """What vLLM continues."""
        return {"prompt_token_ids": [*self.ids, *self.writing.ids]}

    def params(self, kind: Any) -> Any:
        """vLLM's settings for the next request."""
        form, job = self.engine.speller.form, self.job
        stops = (form.rule.stops if job.steps is not None else ()) + form.stops
        return kind(
            temperature=job.temperature,
            # Later requests of a job draw with other seeds: the same one would repeat itself.
            seed=(job.seed + 0x9E3779B1 * self.asked) % (1 << SEED_BITS),
            max_tokens=self.limit - len(self.writing.ids),
            stop=list(stops) or None,
            include_stop_str_in_output=True,
            logprobs=0,
        )

    def take(self, found: Any) -> None:
        """Add what vLLM sampled."""
        (output,) = found.outputs
        self.asked += 1
        for token, known in zip(output.token_ids, output.logprobs, strict=True):
            self.writing.add(int(token), float(known[token].logprob))
        if self.writing.over is None and not isinstance(output.stop_reason, str):
            self.writing.end("stop" if output.finish_reason == "stop" else "length")
        count, cached = len(output.token_ids), int(found.num_cached_tokens or 0)
        prompt, size = len(found.prompt_token_ids), self.engine.size
        flops = size.flops(max(prompt - cached - 1, 0) + count, cached) if size.parameters else 0.0
        self.cost += Cost(
            requests=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=count, flops=flops
        )

    def continuation(self) -> Continuation:
        """The result, once it is over."""
        over = self.writing.over
        finish: Finish | None = "stop" if over == "stop" else "length" if over == "length" else None
        return Continuation(self.job.trace.then(self.writing.steps(), finish), self.cost)


class VLLMEngine:
    """See the module. ``llm``: vLLM's ``LLM``; ``room``: tokens a sequence at most, prompt and all."""

    batching: Literal["together", "apart"] = "together"

    def __init__(
        self, llm: Any, speller: Speller, name: str, *, room: int, size: ModelSize | None = None
    ) -> None:
        self.llm, self.speller, self._name, self._room = llm, speller, name, room
        self._size = size or ModelSize(0)
        self.kind = import_module("vllm").SamplingParams
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        where: Path | str,
        form: Format,
        *,
        dtype: str = "auto",
        max_length: int | None = None,
        size: ModelSize | None = None,
        **settings: Any,
    ) -> VLLMEngine:
        """Start vLLM on a checkpoint's folder, or one of Hugging Face's by name.

        ``settings`` are vLLM's own (``enforce_eager``, ``gpu_memory_utilization``, ``block_size`` and so on).
        Raises :class:`MullError` if vLLM is not installed or does not start.
        """
        try:
            library = import_module("vllm")
        except ImportError as error:
            raise MullError(
                f"vLLM in this process needs the extra 'vllm': pip install 'mull[vllm]' ({error})"
            ) from None
        try:
            llm = library.LLM(
                model=str(where),
                dtype=dtype,
                max_model_len=max_length,
                enable_prefix_caching=True,
                trust_remote_code=False,
                **settings,
            )
        except Exception as error:  # many kinds; vLLM's own log, above, says more
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise MullError(f"vLLM does not start on {where}: {line}") from None
        config = llm.llm_engine.model_config
        ends = config.try_get_generation_config().get(
            "eos_token_id", getattr(config.hf_text_config, "eos_token_id", None)
        )
        listed = ends if isinstance(ends, list | tuple) else () if ends is None else (ends,)
        speller = Speller(llm.get_tokenizer(), form, listed, int(config.get_vocab_size()))
        name = f"{Path(where).name} by vllm ({form.name}, {form.rule.name})"
        size = size or checkpoint_size(Path(where))
        return cls(llm, speller, name, room=int(config.max_model_len), size=size)

    @property
    def name(self) -> str:
        """Checkpoint and format, such as ``Qwen2.5-1.5B-Instruct by vllm (chat, blank)``."""
        return self._name

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Continue every job's trace, in a thread; calls wait for each other."""
        return await asyncio.to_thread(self.sample_now, jobs)

    def sample_now(self, jobs: Sequence[Job]) -> list[Continuation]:
        """What :meth:`sample` does, for code that is not async."""
        refuse_thinking(jobs, self.name)
        done: dict[int, Continuation] = {}
        runs: dict[int, _Run] = {}
        for i, job in enumerate(jobs):
            found = self._prepared(job)
            if isinstance(found, _Run):
                runs[i] = found
            else:
                done[i] = found
        # Most jobs are over after one request; one that has stopped at white space before a step, or has
        # more steps to go, is not.
        going = list(runs.values())
        with self._lock:
            while going:
                # Those of one prefix side by side.
                going.sort(key=lambda run: run.prompt["prompt_token_ids"])
                params = [run.params(self.kind) for run in going]
                made = self.llm.generate([run.prompt for run in going], params, use_tqdm=False)
                for run, each in zip(going, made, strict=True):
                    run.take(each)
                going = [run for run in going if run.writing.over is None]
        return [done[i] if i in done else runs[i].continuation() for i in range(len(jobs))]

    def _prepared(self, job: Job) -> _Run | Continuation:
        """The job as a run, or its result where there is nothing to sample."""
        if (found := at_once(job)) is not None:
            return found
        ids = self.speller.ids(job.trace)[0]
        room = min(self._room - len(ids), job.max_tokens)
        if not ids or room <= 0:
            why = f"context too long: {len(ids)} tokens leave no room in {self._room} positions"
            if not ids:
                why = "the prompt is empty: it has no tokens"
            return Continuation(job.trace.then((), "error", why), Cost(requests=1))
        return _Run(self, job, ids, room)
