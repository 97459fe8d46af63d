"""The small HTTP protocol: what a verifier says goes through unchanged, and what breaks it is said."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mull.cost import Cost
from mull.errors import MullError
from mull.problems import Problem
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.prm import build
from mull.verifiers.remote import RemoteVerifier
from mull.verifiers.serve import application
from scripted import ScriptedVerifier

pytest.importorskip("aiohttp", reason="verifiers over HTTP need aiohttp (extra 'http')")
from prm_server import serving


def trace(*steps: str) -> Trace:
    return Trace(Problem("p", "How many?"), tuple(Step(text, (7,)) for text in steps), "stop")


TRACES = [trace("a\n", "b\n", "c"), trace("Größe 😀\n")]


def remote(verifier: Any, *traces: Trace, app: Any = None, **more: Any) -> list[Verdict]:
    async def run() -> list[Verdict]:
        async with serving(app or application(verifier)) as url:
            return await RemoteVerifier(url, retries=0, **more).score(traces)

    return asyncio.run(run())


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_what_the_verifier_says_goes_through(batch: int) -> None:
    seen: list[list[str]] = []

    def value(prefix: Trace, made_up: float) -> float | None:
        seen.append([step.text for step in prefix.steps])
        return None if prefix.text.endswith("bad") else 1 / (1 + len(prefix.text))

    traces = [*TRACES, trace("a\n", "bad")] * 2
    found = remote(ScriptedVerifier(value), *traces, batch=batch)
    expected = [Scores(tuple(1 / (1 + n) for n in lengths)) for lengths in ((2, 4, 5), (8,))]
    assert [v.scores for v in found] == [*expected, None] * 2
    assert found[2].error == "no step tag"
    assert ["Größe 😀\n"] in seen and ["a\n", "b\n", "c"] in seen


def test_a_table_names_the_protocol() -> None:
    async def run() -> list[Verdict]:
        async with serving(application(ScriptedVerifier(), "mine")) as url:
            verifier = build({"adapter": "protocol", "url": url, "model": "mine", "retries": 0})
            assert verifier.name == "mine (protocol)"
            return await verifier.score(TRACES[:2])

    assert [v.scores is not None for v in asyncio.run(run())] == [True, True]


def fake(answer: Any, status: int = 200) -> Any:
    from aiohttp import web

    async def score(_: web.Request) -> web.Response:
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_post("/v1/score", score)
    return app


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "no results for 1 items"),
        ({"results": []}, "0 results for 1 items"),
        ({"results": [3]}, "which is no object"),
        ({"results": [{"scores": []}]}, "gave no scores"),
        ({"results": [{"scores": ["good"]}]}, "gave no scores"),
        ({"results": [{"scores": [0.1, 0.2]}]}, "wrong number of scores: 2 for 3 steps"),
        ({"results": [{"error": "no step tag"}]}, "no step tag"),
    ],
)
def test_answers_that_break_the_protocol_are_said(answer: Any, said: str) -> None:
    (found,) = remote(None, TRACES[0], app=fake(answer))
    assert found.scores is None and said in found.error


def test_the_protocols_costs_and_single_values() -> None:
    answer = {"results": [{"scores": [0.25], "tokens": 7}]}
    (found,) = remote(None, TRACES[0], app=fake(answer))
    assert found == Verdict(Scores((0.25,)), Cost(verifier_tokens=7))


def test_the_protocols_mistakes_are_raised() -> None:
    with pytest.raises(MullError, match="answered with verifier 'other'"):
        remote(None, TRACES[0], app=fake({"model": "other", "results": [{}]}), model="mine")
    with pytest.raises(MullError, match="no such verifier or path"):
        remote(ScriptedVerifier(), TRACES[0], model="mine")
    with pytest.raises(MullError, match="wants another key"):
        remote(None, TRACES[0], app=fake({"error": "no"}, 401))
    (found,) = remote(None, TRACES[0], app=fake({"error": "broken"}, 400))
    assert found.scores is None and "broken" in found.error


def test_requests_that_are_none_are_refused() -> None:
    import aiohttp

    async def run() -> list[int]:
        found = []
        async with serving(application(ScriptedVerifier())) as url, aiohttp.ClientSession() as session:
            for body in (
                "x",
                "[]",
                "{}",
                '{"items": [{"problem": 1, "steps": []}]}',
                '{"items": [{"problem": "?"}]}',
            ):
                async with session.post(f"{url}/v1/score", data=body) as response:
                    found.append(response.status)
                    assert "error" in await response.json()
            async with session.get(f"{url}/v1/info") as response:
                assert await response.json() == {"model": "scripted"}
        return found

    assert asyncio.run(run()) == [400] * 5


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "verifier.toml"
    path.write_text('adapter = "equations"\n')
    return path


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_a_table_until_it_is_told_to_end(table: Path, end: int) -> None:
    command = [sys.executable, "-m", "mull.verifiers.serve", str(table), "--port", "0", "--model", "sums"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = next(word for line in process.stdout for word in line.split() if word.startswith("http"))
            body = {"items": [{"problem": "?", "steps": ["1 + 1 = 2", "1 + 1 = 3"]}]}
            request = urllib.request.Request(f"{url.rstrip('/')}/v1/score", json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=30) as answer:
                told = json.load(answer)
        finally:
            process.send_signal(end)
    assert process.returncode == 0
    assert told == {"model": "sums", "results": [{"scores": [1.0, 0.0], "tokens": 0}]}


@pytest.mark.parametrize(
    ("text", "said"), [(None, "cannot read"), ('adapter = "x"', "there is no adapter 'x'")]
)
def test_the_command_says_what_is_wrong_in_one_line(table: Path, text: str | None, said: str) -> None:
    if text is None:
        table.unlink()
    else:
        table.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mull.verifiers.serve", str(table)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
