"""The recorded verifier: any verifier's scores of single traces kept by the exact trace, and given again.

What it is given to score is the whole key: the problem with its gold answer and data, and the trace with
its token ids and log-probabilities. It is not for a verifier whose score of one solution depends on
the others (agreement). Of what could not be scored only that is kept which would fail in the same way again
(a context that is too long), and is given again where there is no verifier to ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mull.cost import Cost
from mull.engines.record import Record, failed, key_of
from mull.errors import MullError, settled
from mull.trace import Scores, Trace
from mull.verifiers.base import Verdict, Verifier


def request_of(model: str, trace: Trace) -> dict[str, Any]:
    """A trace as it is looked up."""
    problem = trace.problem
    return {
        "verifier": model,
        "prompt": problem.prompt,
        "gold": problem.gold,
        "meta": dict(problem.meta),
        "earlier": list(trace.earlier),
        "steps": [step.text for step in trace.steps],
        "ids": [list(step.tokens) for step in trace.steps],
        "logprobs": [list(step.logprobs) for step in trace.steps],
        "finish": trace.finish,
    }


class RecordedVerifier:
    """Implements :class:`mull.verifiers.base.Verifier` over a record.

    ``model`` tells this verifier from all others in the record; ``inner`` is asked on a miss; without
    it a miss is a :class:`MullError`. ``replayed`` and ``asked`` count traces.
    """

    def __init__(self, record: Record, model: str, inner: Verifier | None = None) -> None:
        self.record, self.model, self.inner = record, model, inner
        self.replayed, self.asked = 0, 0
        self._known = key_of({"verifier": model})
        self._about = record.get(self._known) or {}
        if inner is None and not self._about:
            raise MullError(
                f"the record in {record.folder} holds nothing of this verifier, asked in this way; "
                "record it first (record in place of replay)"
            )
        told = self._about.get("kind", "process")
        #: Whether it scores steps ("process") or solutions ("outcome").
        self.kind: str = told if inner is None else getattr(inner, "kind", "process")

    def around(self, inner: Verifier | None) -> RecordedVerifier:
        """The same record with the verifier asked in another way, and counts of its own."""
        return RecordedVerifier(self.record, self.model, inner)

    @property
    def name(self) -> str:
        """The verifier's, or what it was when it was recorded."""
        return str(self._about["name"]) if self.inner is None else self.inner.name

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order: from the record, else from the verifier, one question a trace."""
        keys = [key_of(request_of(self.model, trace)) for trace in traces]
        found: dict[str, Verdict] = {}
        missing: dict[str, Trace] = {}
        for key, trace in zip(keys, traces, strict=True):
            if key in found or key in missing:
                continue
            kept = self.record.get(key)
            if kept is None and self.inner is None:
                kept = self.record.get(failed(key))
            if kept is None:
                missing[key] = trace
            else:
                found[key] = self._again(kept)
        self.replayed += sum(key in found for key in keys)
        if missing:
            made = await self._ask(list(missing.values()))
            for key, verdict in zip(missing, made, strict=True):
                found[key] = verdict
                self._keep(key, missing[key], verdict)
        return [found[key] for key in keys]

    async def _ask(self, traces: Sequence[Trace]) -> list[Verdict]:
        if self.inner is None:
            first = traces[0]
            prompt = " ".join(first.problem.prompt.split())[:60]
            raise MullError(
                f"the record in {self.record.folder} has no scores of {self.name} for a solution of "
                f"{prompt!r} with {len(first.steps)} steps, which begins {first.text[:40]!r}"
            )
        self.asked += len(traces)
        return await self.inner.score(traces)

    def _keep(self, key: str, trace: Trace, verdict: Verdict) -> None:
        if verdict.scores is None and not settled(verdict.error):
            return
        if not self._about:
            self._about = {"verifier": self.model, "name": self.name, "kind": self.kind}
            self.record.put(self._known, self._about)
        request = request_of(self.model, trace)
        del request["ids"], request["logprobs"]  # in the key they count; to a reader they say nothing
        cost = {name: value for name, value in asdict(verdict.cost).items() if value}
        answer: dict[str, Any] = {"cost": cost}
        if verdict.scores is None:
            key, answer["error"] = failed(key), verdict.error
        else:
            answer["scores"] = list(verdict.scores.steps)
        self.record.put(key, {"request": request, "answer": answer})

    def _again(self, kept: dict[str, Any]) -> Verdict:
        answer = kept["answer"]
        scores = Scores(tuple(answer["scores"])) if "scores" in answer else None
        return Verdict(scores, Cost(**answer["cost"]), answer.get("error", ""), replayed=True)
