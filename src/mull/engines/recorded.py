"""The recorded engine: any engine's answers kept by the exact request, and given again.

With an engine a request that was never answered is asked and its answer kept; without one it is an
error that names the request. A request is the model (an identity that the caller gives), the prefix
with its token ids, the number of steps, temperature, seed and token limit; the problem's id does not
count. Of failed answers only those are kept that would fail in the same way again (a context that is
too long), and those are given again only where there is no engine: a server may have been started anew
with a longer context. An answer given again costs what it cost when it was made, and is marked
``replayed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.base import Continuation, Engine, Job, Telling, at_once
from mull.engines.record import Record, failed, key_of
from mull.errors import MullError, settled
from mull.trace import Step, Thinking


def request_of(model: str, job: Job) -> dict[str, Any]:
    """A job as it is looked up: everything that an answer may depend on."""
    trace = job.trace
    # Only where there is any, so that other requests keep their keys.
    thought = {"thought": asdict(trace.thinking)} if trace.thinking is not None else {}
    budget = {"thinking": asdict(job.thinking)} if job.thinking is not None else {}
    return {
        **thought,
        **budget,
        "model": model,
        "prompt": trace.problem.prompt,
        "earlier": list(trace.earlier),
        "so_far": [step.text for step in trace.steps],
        "ids": [list(step.tokens) for step in trace.steps],
        "steps": job.steps,
        "temperature": float(job.temperature),
        "seed": job.seed,
        "max_tokens": job.max_tokens,
    }


class RecordedEngine:
    """Implements :class:`mull.engines.base.Engine` over a record.

    - ``model``: what tells this model, and how it is asked, from all others in the record;
    - ``inner``: the engine that is asked on a miss; None: a miss is a :class:`MullError`.

    ``replayed`` and ``asked`` count jobs since the engine was made.
    """

    def __init__(self, record: Record, model: str, inner: Engine | None = None) -> None:
        self.record, self.model, self.inner = record, model, inner
        self.replayed, self.asked = 0, 0
        self._known = key_of({"engine": model})
        self._about = record.get(self._known) or {}
        if inner is None and not self._about:
            raise MullError(
                f"the record in {record.folder} holds nothing of this model, asked in this way; "
                "record it first (record in place of replay)"
            )

    def around(self, inner: Engine | None) -> RecordedEngine:
        """The same record with the engine asked in another way, and counts of its own."""
        return RecordedEngine(self.record, self.model, inner)

    @property
    def name(self) -> str:
        """The engine's, or what it was when it was recorded."""
        return str(self._about["name"]) if self.inner is None else self.inner.name

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on; without an engine as it was recorded."""
        return ModelSize(*self._about["size"]) if self.inner is None else self.inner.size

    @property
    def batching(self) -> Literal["together", "apart"]:
        """The engine's."""
        return "apart" if self.inner is None else self.inner.batching

    async def sample(self, jobs: Sequence[Job]) -> list[Continuation]:
        """Every job's continuation: from the record, else from the engine, one question a request.

        What an engine tells of as it comes is kept as it comes. Raises :class:`MullError` for a request
        that is not in the record where there is no engine.
        """
        done: dict[int, Continuation] = {}
        missing: dict[str, list[int]] = {}
        for i, job in enumerate(jobs):
            if (found := at_once(job)) is not None:
                done[i] = found
                continue
            key = key_of(request_of(self.model, job))
            kept = self.record.get(key)
            if kept is None and self.inner is None:
                kept = self.record.get(failed(key))
            if kept is None:
                missing.setdefault(key, []).append(i)
            else:
                done[i] = self._again(job, kept)
        if missing:
            keys = list(missing)
            made = await self._ask(keys, [jobs[missing[key][0]] for key in keys])
            for key, each in zip(keys, made, strict=True):
                first, *others = missing[key]
                done[first] = each
                for i in others:
                    kept = self.record.get(key)
                    done[i] = each if kept is None else self._again(jobs[i], kept)
        return [done[i] for i in range(len(jobs))]

    async def aclose(self) -> None:
        """Close the engine's connections, if it has any."""
        if self.inner is not None and hasattr(self.inner, "aclose"):
            await self.inner.aclose()

    async def _ask(self, keys: Sequence[str], jobs: Sequence[Job]) -> list[Continuation]:
        if self.inner is None:
            raise MullError(f"the record in {self.record.folder} has no answer to {_told(jobs[0], keys[0])}")
        self.asked += len(jobs)
        found: dict[int, Continuation] = {}

        def told(i: int, made: Continuation) -> None:
            found[i] = self._kept(keys[i], jobs[i], made)

        if isinstance(self.inner, Telling):
            await self.inner.sample_telling(jobs, told)
        else:
            for i, made in enumerate(await self.inner.sample(jobs)):
                told(i, made)
        return [found[i] for i in range(len(jobs))]

    def _kept(self, key: str, job: Job, made: Continuation) -> Continuation:
        """The answer, put into the record, and once what the model is; no failure that may not last.

        If another call was given an answer to the same request meanwhile, that one.
        """
        broken = made.trace.finish == "error"
        if broken and not settled(made.trace.error):
            return made
        if not self._about:
            size = self.size
            self._about = {
                "engine": self.model,
                "name": self.name,
                "size": [size.parameters, size.attention],
            }
            self.record.put(self._known, self._about)
        new = made.trace.steps[len(job.trace.steps) :]
        steps = [{"text": s.text, "tokens": list(s.tokens), "logprobs": list(s.logprobs)} for s in new]
        cost = {name: value for name, value in asdict(made.cost).items() if value}
        request = request_of(self.model, job)
        del request["ids"]  # in the key they count; to a reader they say nothing
        answer: dict[str, Any] = {"steps": steps, "finish": made.trace.finish, "cost": cost}
        if made.trace.error:
            answer["error"] = made.trace.error
        if made.trace.thinking is not None:
            answer["thinking"] = asdict(made.trace.thinking)
        entry = {"request": request, "answer": answer}
        if broken:
            self.record.put(failed(key), entry)
            return made
        if not self.record.put(key, entry) and (kept := self.record.get(key)) is not None:
            return self._again(job, kept)
        return made

    def _again(self, job: Job, kept: dict[str, Any]) -> Continuation:
        try:
            answer = kept["answer"]
            steps = tuple(
                Step(each["text"], tuple(each["tokens"]), tuple(each["logprobs"])) for each in answer["steps"]
            )
            trace = job.trace.then(steps, answer["finish"], answer.get("error", ""))
            if "thinking" in answer:
                trace = replace(trace, thinking=Thinking(**answer["thinking"]))
            found = Continuation(trace, Cost(**answer["cost"]), replayed=True)
        except (KeyError, TypeError):
            raise MullError(
                f"the record in {self.record.folder} is of another version of mull: {_told(job, kept['key'])}"
            ) from None
        self.replayed += 1
        return found


def _told(job: Job, key: str) -> str:
    """A request in words."""
    prompt = " ".join(job.trace.problem.prompt.split())
    shown = prompt if len(prompt) <= 60 else prompt[:57] + "..."
    steps = "to the end" if job.steps is None else f"{job.steps} step{'s' if job.steps != 1 else ''}"
    after = f" after {len(job.trace.steps)} steps" if job.trace.steps else ""
    after += f", with {len(job.trace.earlier)} earlier attempts" if job.trace.earlier else ""
    return (
        f"{shown!r}{after} ({steps}, temperature {job.temperature:g}, seed {job.seed}, "
        f"at most {job.max_tokens} tokens; key {key})"
    )
