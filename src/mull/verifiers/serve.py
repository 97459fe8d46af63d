"""A server of the protocol in docs/verifiers.md, for any verifier that a table can name.

    python -m mull.verifiers.serve verifier.toml --port 8100

The file holds the table: ``adapter = "qwen2.5-math-prm"``, ``path = ...`` and so on. It serves one verifier,
on the local machine unless told otherwise; it keeps nothing and knows no keys. Extra ``http``, and what
the verifier needs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import signal
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mull.errors import MullError
from mull.problems import Problem
from mull.trace import Finish, Step, Trace
from mull.verifiers.base import Verdict, Verifier

if TYPE_CHECKING:
    from aiohttp import web


def application(verifier: Verifier, model: str | None = None) -> web.Application:
    """The server's two routes; ``model`` is the name that it goes by (None: the verifier's own)."""
    from aiohttp import web

    known = model or verifier.name

    async def info(_: web.Request) -> web.Response:
        return web.json_response({"model": known})

    async def score(request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            traces = [_trace(item) for item in asked["items"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return web.json_response({"error": f"not a request of this protocol: {error!r}"}, status=400)
        wanted = asked.get("model")
        if wanted is not None and wanted != known:
            return web.json_response({"error": f"this serves {known!r}, not {wanted!r}"}, status=404)
        try:
            verdicts = await verifier.score(traces)
        except MullError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"model": known, "results": [_result(v) for v in verdicts]})

    app = web.Application(client_max_size=1 << 28)
    app.router.add_get("/v1/info", info)
    app.router.add_post("/v1/score", score)
    return app


def _trace(item: dict[str, Any]) -> Trace:
    texts = item["steps"]
    if not isinstance(item["problem"], str) or not all(isinstance(text, str) for text in texts):
        raise TypeError("'problem' must be a text and 'steps' a list of texts")
    finish: Finish | None = "stop" if item.get("finished") is True else None
    return Trace(Problem("asked", item["problem"]), tuple(Step(text, ()) for text in texts), finish)


def _result(verdict: Verdict) -> dict[str, Any]:
    tokens = {"tokens": verdict.cost.verifier_tokens}
    if verdict.scores is None:
        return {"error": verdict.error or "no scores and no reason", **tokens}
    return {"scores": list(verdict.scores.steps), **tokens}


async def _serve(app: web.Application, host: str, port: int) -> None:
    """Serve until interrupted or told to end; the address is printed once it answers."""
    from aiohttp import web

    over = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # on Windows
        # An interrupt is ignored by a process that was started in the background, unless it asks for it.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        print(f"serving at http://{host}:{runner.addresses[0][1]}", flush=True)
        await over.wait()
    finally:
        await runner.cleanup()


def main() -> int:
    """The command."""
    from mull.verifiers.prm import build

    parser = argparse.ArgumentParser(prog="python -m mull.verifiers.serve", description=main.__doc__)
    parser.add_argument("table", type=Path, help="a TOML file that names the verifier")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--model", help="the name to go by")
    given = parser.parse_args()
    try:
        try:
            table = tomllib.loads(given.table.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MullError(f"cannot read {given.table}: {error}") from None
        if importlib.util.find_spec("aiohttp") is None:
            raise MullError("serving needs the extra 'http': pip install 'mull[http]'")
        app = application(build(table), given.model)
    except MullError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(app, given.host, given.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
