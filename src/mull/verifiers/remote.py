"""A verifier behind a small HTTP protocol, for anything that can read a problem and its steps.

The protocol is in docs/verifiers.md: texts go out, values in [0, 1] come back, one a step or one in all.
``python -m mull.verifiers.serve`` serves any verifier of mull's by it. Nothing is known here of templates,
tokens or models. Extra ``http``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mull.cost import Cost, ModelSize
from mull.engines.openai.engine import address, together
from mull.engines.openai.wire import Failed, Refused, Wire
from mull.errors import MullError
from mull.trace import Scores, Trace
from mull.verifiers.base import Verdict


class RemoteVerifier:
    """Implements :class:`mull.verifiers.base.Verifier`; ``batch`` traces go in one request at most."""

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        key: str | None = None,
        size: ModelSize | None = None,
        batch: int = 16,
        timeout: float = 600.0,
        retries: int = 5,
        concurrency: int = 64,
    ) -> None:
        self.wire = Wire(address(url), key, timeout, retries, concurrency)
        self.batch, self._model, self._size = batch, model, size or ModelSize(0)

    @property
    def name(self) -> str:
        """The model's name, as given."""
        return f"{self._model or 'a verifier'} (protocol)"

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    async def score(self, traces: Sequence[Trace]) -> list[Verdict]:
        """One verdict a trace, in order."""
        parts = [traces[at : at + self.batch] for at in range(0, len(traces), self.batch)]
        return [each for part in await together(self._part(part) for part in parts) for each in part]

    async def aclose(self) -> None:
        """Close this event loop's connections; a loop that ends does it too."""
        await self.wire.aclose()

    async def _part(self, traces: Sequence[Trace]) -> list[Verdict]:
        items = [
            {
                "problem": trace.problem.prompt,
                "steps": [step.text for step in trace.steps],
                "finished": not trace.open,
            }
            for trace in traces
        ]
        body: dict[str, Any] = {"items": items} | ({"model": self._model} if self._model else {})
        try:
            answer = await self.wire.post("/score", body)
        except Refused as error:
            if error.status in (401, 403):
                raise MullError(f"{self.wire.url} wants another key ({error.status}): {error.said}") from None
            if error.status == 404:
                raise MullError(
                    f"{self.wire.url}/score: no such verifier or path (404): {error.said}"
                ) from None
            return [Verdict(None, error=str(error))] * len(traces)
        except Failed as error:
            return [Verdict(None, error=str(error))] * len(traces)
        served = answer.get("model")
        if self._model and isinstance(served, str) and served != self._model:
            raise MullError(f"{self.wire.url} answered with verifier {served!r}, not with {self._model!r}")
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(traces):
            count = len(results) if isinstance(results, list) else "no"
            why = f"the verifier's answer has {count} results for {len(traces)} items"
            return [Verdict(None, error=why)] * len(traces)
        return [self._read(result, trace) for result, trace in zip(results, traces, strict=True)]

    def _read(self, result: object, trace: Trace) -> Verdict:
        if not isinstance(result, dict):
            return Verdict(None, error=f"the verifier answered {result!r}, which is no object")
        tokens = result.get("tokens")
        count = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else 0
        cost = Cost(verifier_tokens=count, verifier_flops=self._size.flops(count, 0))
        if result.get("error"):
            return Verdict(None, cost, str(result["error"]))
        scores = result.get("scores")
        if not isinstance(scores, list) or not scores or not all(isinstance(x, int | float) for x in scores):
            return Verdict(None, cost, f"the verifier gave no scores but {scores!r}")
        if len(scores) not in (1, len(trace.steps)):
            return Verdict(None, cost, f"wrong number of scores: {len(scores)} for {len(trace.steps)} steps")
        return Verdict(Scores(tuple(float(x) for x in scores)), cost)
