"""A real HTTP server with the routes of vLLM's pooling server; a test gives the logits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

#: Gives a row of logits for every token id.
Logits = Callable[[Sequence[int]], Awaitable[list[list[float]]]]


@dataclass
class PoolingServer:
    """``tag``: it answers with the rows of that token alone; ``classifier``: with the last, at /classify."""

    logits: Logits
    model: str = "prm"
    tag: int | None = None
    classifier: bool = False
    limit: int = 512
    key: str | None = None
    change: Callable[[dict[str, Any]], Any] = lambda answer: answer
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    async def models(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        return web.json_response({"data": [{"id": self.model, "max_model_len": self.limit}]})

    async def pooling(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.requests.append((request.path, asked))
        if asked["model"] != self.model:
            return self.refuse(404, f"The model `{asked['model']}` does not exist.")
        if self.classifier:
            return self.refuse(400, "Unsupported task: 'token_classify' Supported tasks: ('classify',)")
        if len(asked["input"]) > self.limit:
            return self.refuse(400, f"This model's maximum context length is {self.limit} tokens.")
        assert asked["use_activation"] is False and asked["task"] == "token_classify"
        rows = await self.logits(asked["input"])
        if self.tag is not None:
            rows = [row for row, token in zip(rows, asked["input"], strict=True) if token == self.tag]
        return self.answer(asked, {"index": 0, "object": "pooling", "data": rows})

    async def classify(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.requests.append((request.path, asked))
        if not self.classifier:
            return self.refuse(501, "The model does not support Classification API")
        if len(asked["input"]) > self.limit:
            return self.refuse(400, f"This model's maximum context length is {self.limit} tokens.")
        rows = await self.logits(asked["input"])
        found = {"index": 0, "label": "LABEL_0", "probs": rows[-1], "num_classes": len(rows[-1])}
        return self.answer(asked, found)

    def answer(self, asked: dict[str, Any], data: dict[str, Any]) -> web.Response:
        usage = {"prompt_tokens": len(asked["input"]), "total_tokens": len(asked["input"])}
        whole = {"id": "x", "object": "list", "model": self.model, "data": [data], "usage": usage}
        return web.json_response(self.change(whole))

    def refuse(self, status: int, said: str) -> web.Response:
        return web.json_response({"error": {"message": said, "code": status}}, status=status)

    @asynccontextmanager
    async def up(self) -> AsyncIterator[PoolingServer]:
        """Serve on a free local port."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/pooling", self.pooling)
        app.router.add_post("/classify", self.classify)
        async with serving(app) as self.url:
            yield self


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Any application on a free local port; its address."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://127.0.0.1:%d" % runner.addresses[0][1]  # noqa: UP031
    finally:
        await runner.cleanup()
