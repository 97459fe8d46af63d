"""A small real HTTP server with the OpenAI interface: a made-up model, and habits that servers have.

The model continues a text by rule: solutions are a known list of lines, and what comes next
depends on the text so far, so a test can say what any sampling must give. The small world's verifiers can
spell the solutions.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

from aiohttp import web

END = "</s>"


def written(prompt: str, so_far: str, seed: int | None, temperature: float) -> list[str]:
    """The tokens (words and newlines) that the model writes after a text; the end token is the last."""
    greedy = temperature == 0
    lines = so_far.count("\n")
    tokens: list[str] = []
    draw = Random(
        int.from_bytes(blake2b(f"{prompt}{so_far}{'' if greedy else seed}".encode()).digest()[:6], "big")
    )
    part = so_far.rpartition("\n")[2]
    sure = [Random(f"{prompt}{line}").randrange(10, 99) for line in range(4)]
    for line in range(lines, 4):
        value = sure[line] if greedy else draw.randrange(10, 99)
        text = f"Ann: {line + 1} times {value}\n" if line < 3 else f"Answer: {value}"
        if part:
            text, part = text[len(part) :], ""
        words = text.replace(" ", " \x00").replace("\n", "\x00\n").split("\x00")
        tokens += [word for word in words if word]
    return [*tokens, END]


OPEN, CLOSE = "<think>", "</think>"


def thinking(prompt: str, so_far: str, seed: int | None, temperature: float) -> list[str]:
    """The tokens of a thinking model: four thoughts, one more after every "Wait", then the solution."""
    if CLOSE in so_far:
        return written(prompt, so_far.partition(CLOSE)[2].lstrip(), seed, temperature)
    full = f"{OPEN}\n" + "".join(f"thought {k}\n" for k in range(1, 5)) + CLOSE
    if "Wait" in so_far:
        full, so_far = f", once more\n{CLOSE}", so_far.rpartition("Wait")[2]
    left = full.removeprefix(so_far.lstrip() if so_far.strip() else "")
    tokens = re.findall(r"</?think>| ?[^\s<]+|\n", left)
    return [*tokens, "\n\n", *written(prompt, "", seed, temperature)]


@dataclass
class Server:
    """Habits are attributes; ``faults`` are made in turn, one a request, before any answer."""

    model: str = "made-up"
    chat: bool = True
    choices: bool = True
    usage: bool = True
    counts_all: bool = True
    part_counts: str = ""  # or continuous_usage_stats, timings_per_token
    seeds: bool = True
    stop: str = "cut"  # or kept, ignored
    names_stop: bool = True
    keeps_on_request: bool = True
    prefill: str = "continue_final_message"  # or last message, echo, no
    trims: bool = False
    refuses: tuple[str, ...] = ()  # fields
    reads_config: bool = False  # and is greedy without generation_config, as transformers serve is
    system: str = "taken"  # or dropped, refused
    logprobs: bool = True
    ids: bool = True
    refuses_models: bool = True
    thinks: str = ""  # or text, reasoning_content, reasoning: where a thinking model's thinking is
    tells_thinking: bool = False
    context: int = 10_000
    delay: float = 0.0
    faults: list[Callable[[web.Request], Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": self.model}]})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, chat=False)

    async def chats(self, request: web.Request) -> web.StreamResponse:
        if not self.chat:
            return web.json_response({"error": {"message": "no chat here"}}, status=404)
        return await self.answer(request, chat=True)

    async def answer(self, request: web.Request, chat: bool) -> web.StreamResponse:
        asked = await request.json()
        self.requests.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.faults:
                fault = self.faults.pop(0)(request)
                fault = await fault if asyncio.iscoroutine(fault) else fault
                if fault is not None:
                    return fault
            await asyncio.sleep(self.delay)
            return await self.sampled(request, asked, chat)
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        finally:
            self.in_flight -= 1

    async def sampled(self, request: web.Request, asked: dict[str, Any], chat: bool) -> web.StreamResponse:
        if self.refuses_models and asked["model"] != self.model:
            return web.json_response({"error": {"message": f"no model {asked['model']}"}}, status=404)
        if unknown := [name for name in self.refuses if name in asked]:
            return web.json_response({"error": {"message": f"unknown field {unknown[0]}"}}, status=422)
        if chat and asked["messages"][0]["role"] == "system":
            if self.system == "refused":
                return web.json_response({"error": {"message": "System role not supported"}}, status=400)
            told, *rest = asked["messages"]
            content = told["content"] + "\n" if self.system == "taken" else ""
            asked = asked | {"messages": [rest[0] | {"content": content + rest[0]["content"]}, *rest[1:]]}
        if self.reads_config and not json.loads(asked.get("generation_config", "{}")).get("do_sample"):
            asked = asked | {"temperature": 0.0}
        prompt, so_far = self.shown(asked, chat)
        size = len(prompt + so_far) // 4
        if size + asked["max_tokens"] > self.context:
            said = {"message": f"This model's maximum context length is {self.context} tokens."}
            return web.json_response({"error": said}, status=400)
        count = asked.get("n", 1) if self.choices else 1
        listed = [self.choice(asked, prompt, so_far, i, chat) for i in range(count)]
        completion = [each.pop("count") for each in listed]
        thought = listed[0].pop("thought")
        usage = {
            "prompt_tokens": size,
            "completion_tokens": sum(completion) if self.counts_all else completion[0],
        }
        if self.tells_thinking:
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        whole: dict[str, Any] = {"model": asked["model"], "choices": listed}
        if self.usage:
            whole["usage"] = usage
        if not asked.get("stream"):
            return web.json_response(whole)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        made = listed[0]
        field = self.thinks if chat and self.thinks not in ("", "text") else "content"
        for k, word in enumerate(w for w in made["words"] if w != END):
            part = {"index": 0, "finish_reason": None}
            if field != "content" and word in (OPEN, CLOSE):
                field = field if word == OPEN else "content"
                continue
            part |= {"delta": {field: word}} if chat else {"text": word}
            event = {"model": asked["model"], "choices": [part]}
            if self.part_counts == "timings_per_token" and asked.get("timings_per_token"):
                event["timings"] = {"cache_n": size - 1, "prompt_n": 1, "predicted_n": k + 1}
            if self.part_counts in asked.get("stream_options", ()):
                event["usage"] = {"prompt_tokens": size, "completion_tokens": k + 1}
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            await asyncio.sleep(0.001)
        part = {"index": 0, "finish_reason": made["finish_reason"]}
        part |= {"delta": {}} if chat else {"text": ""}
        last = {"model": asked["model"], "choices": [part]} | ({"usage": usage} if self.usage else {})
        await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        return response

    def shown(self, asked: dict[str, Any], chat: bool) -> tuple[str, str]:
        """Problem and solution so far, as the model sees them."""
        if not chat:
            prompt, _, so_far = asked["prompt"].partition("?\n")
            # Earlier attempts stand before the present one, each closed by the end token.
            return prompt, so_far.rpartition(END)[2]
        last = asked["messages"][-1]
        so_far = last["content"] if last["role"] == "assistant" else ""
        goes_on = self.prefill in ("last message", "echo") or asked.get("continue_final_message")
        if self.prefill == "no" or not goes_on:
            so_far = ""
        return asked["messages"][0]["content"], so_far.rstrip() if self.trims else so_far

    def choice(self, asked: dict[str, Any], prompt: str, so_far: str, i: int, chat: bool) -> dict[str, Any]:
        seed = asked.get("seed") if self.seeds else None
        seed = Random().random() if seed is None else seed + i
        write = thinking if self.thinks else written
        words = write(prompt, so_far.rstrip("\n") if self.trims else so_far, seed, asked["temperature"])
        if self.trims and so_far:
            words = ["\n", *written(prompt, so_far + "\n", seed, asked["temperature"])]
        given = asked["max_tokens"]
        words, finish = (words, "stop") if len(words) <= given else (words[:given], "length")
        text = "".join(w for w in words if w != END)
        stop = None
        places = [(text.find(s), s) for s in asked.get("stop", ()) if s in text]
        if places and self.stop != "ignored":
            at, stop = min(places)
            keep = self.stop == "kept" or (self.keeps_on_request and asked.get("include_stop_str_in_output"))
            size = 0
            for k, word in enumerate(words):
                size += len(word)
                if size >= at + len(stop):
                    words = words[: k + 1]
                    break
            text, finish = text[: at + len(stop) if keep else at], "stop"
        found: dict[str, Any] = {"index": i, "finish_reason": finish, "count": len(words), "words": words}
        found["thought"] = words.index(CLOSE) + 1 if CLOSE in words else 0
        shown = so_far + text if self.prefill == "echo" else text
        found |= {"message": {"role": "assistant", "content": shown}} if chat else {"text": shown}
        if chat and self.thinks not in ("", "text"):
            # As vLLM's parsers do it: what is sampled counts, and without a closing mark all is thinking.
            said, closed, rest = shown.partition(CLOSE)
            found["message"] |= {"content": rest if closed else None, self.thinks: said.removeprefix(OPEN)}
        if self.names_stop:
            found["stop_reason"] = stop
        if self.logprobs and asked.get("logprobs"):
            values = [-len(word) / 8 for word in words]
            if chat:
                found["logprobs"] = {
                    "content": [{"token": w, "logprob": v} for w, v in zip(words, values, strict=True)]
                }
            else:
                found["logprobs"] = {"tokens": words, "token_logprobs": values}
            if self.ids and asked.get("return_token_ids"):
                found["token_ids"] = [sum(map(ord, word)) for word in words]
        return found

    @asynccontextmanager
    async def up(self, port: int = 0) -> AsyncIterator[Server]:
        """Serve on a local port, a free one if none is named."""
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.completions)
        app.router.add_post("/v1/chat/completions", self.chats)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.url = "http://127.0.0.1:%d" % runner.addresses[0][1]  # noqa: UP031
        try:
            yield self
        finally:
            await runner.cleanup()


def status(code: int, text: str = "{}", **headers: str) -> Callable[[web.Request], web.Response]:
    """A fault: a status."""
    return lambda _: web.Response(status=code, text=text, headers=headers)


def rubbish(text: str) -> Callable[[web.Request], web.Response]:
    """A fault: an answer that is not what it should be."""
    return lambda _: web.Response(text=text)


def reset(request: web.Request) -> web.Response:
    """A fault: the connection is gone."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(_: web.Request) -> None:
    """A fault: no answer."""
    await asyncio.sleep(60)


@contextmanager
def in_thread(server: Server, port: int = 0) -> Iterator[Server]:
    """Serve from a thread with an event loop of its own, for callers that have none."""
    started, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with server.up(port):
            started.set()
            while not over.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        over.set()
        thread.join(10)
