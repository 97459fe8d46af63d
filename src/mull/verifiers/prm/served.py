"""A reward model behind vLLM's pooling server: token ids out, rows of logits back.

vLLM is started with ``--runner pooling`` (docs/verifiers.md has a command for each family). Token ids are
sent, so its tokenizer and template have no say, and logits are asked for (``use_activation`` off), so the
values are those of the in-process model. It may answer with a row a token, or with a row a step tag
where it was started with ``step_tag_id``; sequence classifiers are asked at ``/classify``. Needs the extras
``http`` and, for the tokenizer, ``local``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mull.cost import Cost, ModelSize
from mull.engines.openai.engine import address, together
from mull.engines.openai.wire import Failed, Refused, Wire
from mull.errors import MullError
from mull.verifiers.prm.backend import Ask, Row, Told
from mull.verifiers.prm.local import too_long


class ServedModel:
    """Implements :class:`mull.verifiers.prm.backend.Backend`.

    ``model`` None is the only one that the server lists; ``size`` is what FLOPs depend on, if known;
    ``outcome`` says that one value a text is wanted.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        outcome: bool = False,
        key: str | None = None,
        size: ModelSize | None = None,
        timeout: float = 600.0,
        retries: int = 5,
        concurrency: int = 64,
        limit: int | None = None,
    ) -> None:
        root = address(url).removesuffix("/v1")
        self.wire = Wire(root, key, timeout, retries, concurrency)
        self._model, self._size, self._limit = model, size or ModelSize(0), limit
        self._route: Literal["/classify", "/pooling"] = "/classify" if outcome else "/pooling"
        self._ready = self._settled = False

    @property
    def name(self) -> str:
        """The model as the server calls it."""
        return (self._model or "the model").rstrip("/").rsplit("/", 1)[-1]

    @property
    def size(self) -> ModelSize:
        """What FLOPs depend on."""
        return self._size

    async def run(self, asks: Sequence[Ask]) -> list[Told]:
        """One answer an ask, in order."""
        if not self._ready:
            await self._meet()
        return await together(self._one(ask) for ask in asks)

    async def aclose(self) -> None:
        """Close this event loop's connections; a loop that ends does it too."""
        await self.wire.aclose()

    async def _meet(self) -> None:
        """Learn the server's models and its longest context."""
        try:
            listed = (await self.wire.get("/v1/models")).get("data")
        except Refused as error:
            raise self._mistake(error) from None
        except Failed as error:
            raise MullError(f"verifier at {self.wire.url}: {error}") from None
        models = {str(each.get("id")): each for each in listed or [] if isinstance(each, dict)}
        if self._model is None:
            if len(models) != 1:
                raise MullError(f"{self.wire.url} serves {len(models)} models; name one: {', '.join(models)}")
            self._model = next(iter(models))
        elif models and self._model not in models:
            raise MullError(f"{self.wire.url} serves {', '.join(models)}, not the verifier {self._model!r}")
        longest = models.get(self._model, {}).get("max_model_len")
        if self._limit is None and isinstance(longest, int):
            self._limit = longest
        self._ready = True

    async def _one(self, ask: Ask) -> Told:
        if self._limit is not None and len(ask.ids) > self._limit:
            return Told(None, error=too_long(len(ask.ids), self._limit))
        body: dict[str, Any] = {"model": self._model, "input": list(ask.ids), "use_activation": False}
        route = self._route
        try:
            try:
                answer = await self.wire.post(route, body if route == "/classify" else body | _TASK)
            except Refused as error:
                # A reward model with outputs at every token is no classifier there.
                other = error.status in (400, 404, 501) and not _long(error)
                if route == "/pooling" or self._settled or not other:
                    raise
                route = "/pooling"
                answer = await self.wire.post(route, body | _TASK)
            self._route, self._settled = route, True
        except Refused as error:
            if _long(error):
                return Told(None, error=f"context too long: {error.said}")
            if error.status in (401, 403, 404) or "task" in error.said.lower():
                raise self._mistake(error) from None
            return Told(None, error=str(error))
        except Failed as error:
            return Told(None, error=str(error))
        return self._read(ask, answer)

    def _mistake(self, error: Refused) -> MullError:
        if error.status in (401, 403):
            return MullError(f"{self.wire.url} wants another key ({error.status}): {error.said}")
        return MullError(
            f"{self.wire.url} does not serve {self._model!r} as a reward model "
            f"({error.status}: {error.said}); "
            "start vLLM with --runner pooling, and for causal models as docs/verifiers.md says"
        )

    def _read(self, ask: Ask, answer: dict[str, Any]) -> Told:
        served = answer.get("model")
        if isinstance(served, str) and served and served != self._model:
            raise MullError(f"{self.wire.url} answered with model {served!r}, not with {self._model!r}")
        usage = answer.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if isinstance(counted, int) and counted != len(ask.ids):
            return Told(
                None, error=f"tokenizer mismatch: the server read {counted} tokens of {len(ask.ids)} sent"
            )
        tokens = counted if isinstance(counted, int) else len(ask.ids)
        cost = Cost(verifier_tokens=tokens, verifier_flops=self._size.flops(tokens, 0))
        rows = _rows(answer)
        if rows is None:
            return Told(None, cost, f"the server's answer has no scores; its fields are {sorted(answer)}")
        if len(rows) == len(ask.ids):
            return Told(tuple(rows[place] for place in ask.places), cost)
        if len(rows) == len(ask.places) and (len(rows) == 1 or _at_tags(ask)):
            return Told(tuple(rows), cost)
        why = f"wrong number of scores: {len(rows)} for {len(ask.places)} step tags in {len(ask.ids)} tokens"
        return Told(None, cost, f"{why}; was the server started with another step_tag_id?")


_TASK = {"task": "token_classify"}


def _long(error: Refused) -> bool:
    return error.status in (400, 413, 422) and "maximum context length" in error.said


def _at_tags(ask: Ask) -> bool:
    """Whether the places are those of one token that stands nowhere else."""
    tags = {ask.ids[place] for place in ask.places}
    return len(tags) == 1 and ask.ids.count(tags.pop()) == len(ask.places)


def _rows(answer: dict[str, Any]) -> list[Row] | None:
    """The rows of an answer of either route, None if there are none to be read."""
    listed = answer.get("data")
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        return None
    found = listed[0].get("probs", listed[0].get("data"))
    if not isinstance(found, list):
        return None
    rows = found if found and isinstance(found[0], list) else [found] if found else []
    try:
        return [tuple(float(each) for each in row) for row in rows]
    except (TypeError, ValueError):
        return None
