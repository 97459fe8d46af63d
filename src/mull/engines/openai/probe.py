"""The probe: some fifty short requests that show what a server really does.

Nothing is believed because the server accepts a field: every feature is judged by what
comes back. The tests need no model in particular. Most compare with one greedy answer: cut
at half, a continuation must give the other half; stopped at a text from its middle, it must
end there. What a short answer cannot show stays "not shown".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mull.engines.openai import asking, reply
from mull.engines.openai.capabilities import Capabilities, Continues, Counts, Route, Stop, System, Whole
from mull.engines.openai.reply import Reply, Usage
from mull.engines.openai.shown import as_sampled, counted, holds, middle, seeded, space, spelt
from mull.engines.openai.wire import Failed, Gone, Refused, Wire
from mull.engines.prompts import Marks, Message, Prompt
from mull.errors import MullError

#: A problem of the small world, which any model can say something about.
QUESTION = (
    "Kim has 89 pens. Ann has 17 fewer than Kim. Dan has 63 more than Ann. Ben has 2 times as many as Dan. "
    "Eve has 34 fewer than Ben. How many pens does Eve have?\n"
)
NO_MODEL = "mull-asks-for-a-model-that-is-not-there"
FOREIGN = "Let us see, then:"
LENGTH = 40
#: Hot enough that some of ten answers of a model that is sure of itself differ.
HOT = 2.0


async def served(wire: Wire) -> tuple[str, ...]:
    """The models that a server lists; none where it has no list. :class:`MullError` if it is not there."""
    try:
        found = (await wire.get("/models")).get("data")
    except Gone as error:
        raise MullError(f"{error}; start the server, or correct the address") from None
    except Refused as error:
        if error.status in (401, 403):
            raise MullError(f"{wire.url} wants another key: {error.said}") from None
        return ()
    except Failed:
        return ()
    listed = found if isinstance(found, list) else []
    return tuple(str(each["id"]) for each in listed if isinstance(each, dict) and "id" in each)


def chosen(url: str, model: str | None, listed: tuple[str, ...]) -> str:
    """The model to ask for: the named one if the server has it, else the only one that it lists."""
    if model is None:
        if len(listed) == 1:
            return listed[0]
        shown = ", ".join(listed[:8]) or "no models"
        raise MullError(f"name a model: {url} lists {shown}")
    if listed and model not in listed:
        raise MullError(f"{url} does not serve {model!r}; it serves {', '.join(listed[:8])}")
    return model


async def probe(wire: Wire, model: str | None = None, question: str = QUESTION) -> Capabilities:
    """Ask a server what it can do; :class:`MullError` if it is not there or answers neither way."""
    patient = wire
    wire = replace(wire, retries=1)
    try:
        listed = await served(patient)
        name = chosen(wire.url, model, listed)
        text = await _Prober(wire, name, Prompt(text=question)).route()
        chat = await _Prober(wire, name, Prompt(messages=(Message("user", question),))).route()
        if not text.works and not chat.works:
            raise MullError(
                f"{wire.url} answers neither completions ({text.why}) nor chat ({chat.why}) for {name!r}"
            )
        one = _Prober(
            wire,
            NO_MODEL,
            Prompt(text=question) if text.works else Prompt(messages=(Message("user", question),)),
        )
        other = await one.ask(Route(True), limit=1)
    finally:
        await wire.aclose()
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Capabilities(wire.url, name, text, chat, served=listed, checked=other is None, probed=now)


@dataclass
class _Prober:
    """One route of one model."""

    wire: Wire
    model: str
    prompt: Prompt
    why: str = ""
    #: Whether the server gives thinking in a field of its own, without the marks that were sampled.
    apart: bool = False

    @property
    def chat(self) -> bool:
        return bool(self.prompt.messages)

    async def ask(
        self, route: Route, so_far: str = "", extra: dict[str, Any] | None = None, **how: Any
    ) -> Reply | None:
        """One request's answer, None if the server refuses it or answers rubbish (``why`` then says so)."""
        how = {"limit": LENGTH, "temperature": 0.0} | how
        if self.apart and so_far:
            so_far = Marks().open + ("" if so_far[0].isspace() else "\n") + so_far
        given = replace(self.prompt, so_far=so_far)
        sent = asking.body(self.model, given, route, **how) | (extra or {})
        try:
            found = reply.read(await self.wire.post(asking.path(self.chat), sent), chat=self.chat)
            # What is thinking and what is not makes no difference to what the server can do.
            self.apart = self.apart or any(c.thinking for c in found.choices)
            choices = (replace(c, text=as_sampled(c), thinking="") for c in found.choices)
            return replace(found, choices=tuple(choices))
        except Gone as error:
            raise MullError(str(error)) from None
        except Refused as error:
            if error.status in (401, 403):
                raise MullError(f"{self.wire.url} wants another key: {error.said}") from None
            self.why = error.said
        except Failed as error:
            self.why = str(error)
        return None

    async def route(self) -> Route:
        """Everything about the route."""
        route = Route(True)
        first = await self.ask(route)
        if first is None and "max_completion_tokens" in self.why:
            route = replace(route, max_tokens_field="max_completion_tokens")
            first = await self.ask(route)
        if first is None:
            return Route(False, self.why)
        reply.check_model(first, self.model)
        text = first.choices[0].text
        if self.chat:
            route = replace(route, system=await self.system(route, first))
        route = replace(route, whole=await self.whole(route, text))
        route = await self.settings(route, text)
        route = await self.tokens(route)
        route = await self.stops(route, text)
        route = await self.continuing(route, text)
        return await self.streaming(route)

    async def system(self, route: Route, plain: Reply) -> System:
        """What becomes of a system message: one that is taken makes the prompt longer."""
        told = Message("system", "Have a good look at all of it, and write no more than is asked for.")
        one = replace(self, prompt=Prompt(messages=(told, *self.prompt.messages)))
        found = await one.ask(route, limit=1)
        if found is None:
            return "refused"
        if found.usage is None or plain.usage is None:
            return "not shown"
        return "taken" if found.usage.prompt > plain.usage.prompt else "dropped"

    async def whole(self, route: Route, text: str) -> Whole:
        """Which fields against a cut distribution the server takes."""
        ways: tuple[Whole, ...] = ("all", "generation_config", "top_p")
        for way in ways:
            trying = replace(route, whole=way)
            if not await self.ask(trying, temperature=1.0, limit=1):
                continue
            if way != "generation_config" or await self.heeds(trying, text):
                return way
        return "no"

    async def heeds(self, route: Route, text: str) -> bool:
        """Whether ``generation_config`` decides if there is sampling at all, however hot."""
        greedy = {"generation_config": json.dumps({"do_sample": False})}
        sure = await self.ask(route, "", greedy, temperature=HOT)
        drawn = [await self.ask(route, temperature=HOT) for _ in range(3)]
        return bool(sure and sure.choices[0].text == text) and any(
            each and each.choices[0].text != text for each in drawn
        )

    async def settings(self, route: Route, text: str) -> Route:
        """Temperature, seeds, several choices, limits, usage."""
        again = await self.ask(route)
        hot = await asyncio.gather(*(self.ask(route, temperature=HOT) for _ in range(5)))
        seeds = await asyncio.gather(*(self.ask(route, temperature=HOT, seed=s) for s in (1, 1, 2, 3, 4)))
        drawn = [each.choices[0].text for each in seeds if each]
        warm = len({each.choices[0].text for each in hot if each} | {text, *drawn}) > 1
        several = await self.ask(route, temperature=HOT, n=3, limit=4)
        few = await self.ask(route, limit=3)
        usage = again.usage if again else None
        return replace(
            route,
            greedy=bool(again and again.choices[0].text == text),
            temperature=warm if len([each for each in hot if each]) > 1 else None,
            seed=seeded(drawn) if warm else None,
            choices=bool(several and len(several.choices) == 3),
            choices_counted=counted(several),
            max_tokens=bool(
                few and few.choices[0].finish == "length" and (not few.usage or few.usage.completion <= 3)
            ),
            usage=usage is not None,
            cached=None if usage and usage.cached == 0 else bool(usage and usage.cached),
        )

    async def tokens(self, route: Route) -> Route:
        """Log-probabilities and token ids; echoed and the prompt's."""
        asking_for = replace(route, logprobs=True)
        plain = await self.ask(asking_for, logprobs=True, limit=8)
        if plain is None or not (reply.aligned(plain.choices[0]) or (self.apart and spelt(plain.choices[0]))):
            return replace(route, logprobs=False)
        sure = all(piece.logprob is not None for piece in plain.choices[0].pieces)
        route = replace(route, logprobs=sure)
        if all(piece.id is not None for piece in plain.choices[0].pieces):
            route = replace(route, ids="logprobs")
        else:
            both = await self.ask(replace(route, ids="token_ids"), logprobs=True, limit=8)
            if both and both.choices[0].pieces and all(p.id is not None for p in both.choices[0].pieces):
                route = replace(route, ids="token_ids")
        return replace(
            route,
            echo=None if self.chat else await self.echo(plain),
            prompt_logprobs=await self.has_prompt_logprobs(route),
        )

    async def echo(self, plain: Reply) -> bool:
        """Whether an echoed answer has the log-probabilities with which it was sampled, each at its token."""
        given = plain.choices[0]
        back = await self.ask(Route(True), given.text, {"echo": True, "logprobs": 1}, limit=1)
        if back is None or not back.choices[0].text.startswith(self.prompt.text):
            return False
        sampled = [p.logprob for p in given.pieces if p.spells]
        return holds(sampled, [p.logprob for p in back.choices[0].pieces])

    async def has_prompt_logprobs(self, route: Route) -> bool:
        """Whether ``prompt_logprobs`` brings some."""
        sent = asking.body(self.model, self.prompt, route, limit=1, temperature=0.0) | {"prompt_logprobs": 0}
        try:
            found = await self.wire.post(asking.path(self.chat), sent)
            first = found["choices"][0]
        except (Refused, Failed, KeyError, IndexError, TypeError):
            return False
        return bool(first.get("prompt_logprobs") or found.get("prompt_logprobs"))

    async def stops(self, route: Route, text: str) -> Route:
        """What becomes of a stop text from the middle of the greedy answer."""
        wanted = middle(text)
        if wanted is None:
            return route
        at = text.find(wanted)
        found = await self.ask(route, stops=[wanted])
        if found is None:
            return replace(route, stop="refused")
        made = found.choices[0]
        kind: Stop = "not shown"
        if made.text == text[:at]:
            kind = "cut"
        elif made.text == text[: at + len(wanted)]:
            kind = "kept"
        elif made.text == text:
            kind = "ignored"
        elif made.text.startswith(text[: at + len(wanted)]):
            kind = "overrun"
        route = replace(route, stop=kind, stop_named=made.stop == wanted)
        keeping = await self.ask(replace(route, stop_keeps=True), stops=[wanted])
        kept = keeping is not None and keeping.choices[0].text == text[: at + len(wanted)]
        return replace(route, stop_keeps=kept and kind == "cut")

    async def continuing(self, route: Route, text: str) -> Route:
        """Whether and how the first half of the greedy answer is continued with the second."""
        ways: tuple[Continues, ...] = (
            ("continue_final_message", "last message", "prefix") if self.chat else ("text",)
        )
        halves = [at for at in (space(text, before=True), space(text, before=False)) if at is not None]
        if not halves:
            return route
        for way in ways:
            plain, after = [await self.continued(route, way, text, at) for at in (halves[0], halves[-1])]
            if plain is None:
                continue
            return replace(plain, trims=self.chat and (after is None or after.trims))
        return replace(route, continues="no")

    async def continued(self, route: Route, way: Continues, text: str, at: int) -> Route | None:
        """The route with what one cut of the answer shows of one way; None if it does not continue."""
        head, tail = text[:at], text[at : at + 12]
        trying = replace(route, continues=way)
        found = await self.ask(trying, head)
        if found is None:
            return None
        made = found.choices[0].text
        if made.startswith(tail) and not text.startswith(tail):
            return trying
        if made.startswith(head + tail):
            # The same as from a server that begins anew, so a beginning that is not the model's own tells.
            # Whether such a server trims does not show: taken to be so, as that is always safe.
            other = await self.ask(trying, FOREIGN, limit=4)
            returned = other is not None and other.choices[0].text.startswith(FOREIGN)
            return replace(trying, echoes=True, trims=True) if returned else None
        lost = head[len(head.rstrip()) :]
        if lost and made.startswith((lost + tail)[:12]):
            return replace(trying, trims=True)
        return None

    async def streaming(self, route: Route) -> Route:
        """Whether answers come in parts, and with usage."""
        found = await self.streamed(route)
        if found is None:
            return replace(route, stream=False)
        parts, _, usage = found
        route = replace(route, stream=parts > 1, stream_usage=usage is not None)
        ways: tuple[Counts, ...] = ("continuous_usage_stats", "timings_per_token")
        for way in ways if parts > 1 else ():
            again = await self.streamed(replace(route, stream_counts=way))
            if again is not None and again[1] is not None and again[1].completion > 0:
                return replace(route, stream_counts=way)
        return replace(route, stream_counts="no" if parts > 1 else "not shown")

    async def streamed(self, route: Route) -> tuple[int, Usage | None, Usage | None] | None:
        """Of a streamed answer: parts with text, the usage that came with them, and that of the whole."""
        sent = asking.body(self.model, self.prompt, route, limit=8, temperature=0.0)
        sent |= asking.streamed(route)

        async def read(events: AsyncIterator[dict[str, Any]]) -> tuple[int, Usage | None, Usage | None]:
            parts, early, usage = 0, None, None
            async for event in events:
                text, ended, _ = reply.part(event, chat=self.chat)
                parts += bool(text)
                usage = reply.usage(event) or usage
                early = usage if text and ended is None else early
            return parts, early, usage

        try:
            return await self.wire.stream(asking.path(self.chat), sent, read)
        except (Refused, Failed):
            return None
