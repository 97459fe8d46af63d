"""The engine for OpenAI-compatible servers, against the real programs with the small world's proposer.

Minutes long, and nothing is installed here: name a Python that has the program in it.

    MULL_VLLM_PYTHON=.../bin/python MULL_TRANSFORMERS_PYTHON=.../bin/python \
        pytest -m slow tests/test_real_servers.py
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mull.drive import Driver, Task
from mull.engines.base import Engine, Job
from mull.engines.prompts import FORMATS, RULES
from mull.engines.small import SmallEngine
from mull.strategies.base import Arm
from mull.tiny.load import checkpoint, problems
from mull.trace import Trace
from mull.verifiers.small import SmallVerifier

pytest.importorskip("aiohttp")
from mull.engines.openai import OpenAIEngine

pytestmark = pytest.mark.slow
SMALL = SmallEngine.load(checkpoint("proposer"))
PROBLEMS = problems(count=30)
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
MAX_TOKENS = 200


@dataclass(frozen=True)
class Running:
    """A program that serves the proposer."""

    url: str
    model: str
    process: subprocess.Popen[bytes]

    def engine(self, folder: Path, **how) -> OpenAIEngine:
        return OpenAIEngine(self.url, self.model, cache=folder, size=SMALL.size, timeout=300.0, **how)

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(command: list[str], port: int, model: str, log: Path, **env: str) -> Iterator[Running]:
    """The program while it runs; it is waited for until it answers, ten minutes at most."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **env}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)
    running = Running(f"http://127.0.0.1:{port}", model, process)
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{running.url}/v1/models", timeout=5):
                    break
            except (OSError, urllib.error.URLError):
                time.sleep(1.0)
        else:
            pytest.fail(f"not up in ten minutes: {log.read_text()[-3000:]}")
        yield running
    finally:
        if process.poll() is None:
            running.end()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def python(name: str) -> str:
    found = os.environ.get(name)
    if not found:
        pytest.skip(f"set {name} to a Python that has the program")
    return found


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("vllm"), free_port()
    template = folder / "chat.jinja"
    template.write_text(TEMPLATE)
    command = [python("MULL_VLLM_PYTHON"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(checkpoint("proposer")), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--chat-template", str(template)]
    command += ["--enforce-eager", "--dtype", "float32", "--block-size", "32", "--max-num-seqs", "64"]
    command += ["--enable-prompt-tokens-details"]
    with serving(command, port, "tiny", folder / "log", VLLM_CPU_KVCACHE_SPACE="1") as running:
        yield running


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("transformers"), free_port()
    model = folder / "proposer"
    shutil.copytree(checkpoint("proposer"), model)
    (model / "chat_template.jinja").write_text(TEMPLATE)
    # Without this the server is greedy whatever the temperature.
    settings = {"do_sample": True, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    (model / "generation_config.json").write_text(json.dumps(settings))
    command = [python("MULL_TRANSFORMERS_PYTHON"), "-m", "transformers.cli.transformers", "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    (folder / "hub").mkdir()  # without it /v1/models fails
    with serving(command, port, str(model), folder / "log", HF_HOME=str(folder)) as running:
        yield running


def greedy(engine: OpenAIEngine, count: int) -> tuple[list[Trace], list[Trace]]:
    """Greedy solutions whole, and step by step."""

    async def sample() -> tuple[list[Trace], list[Trace]]:
        traces = [Trace(problem) for problem in PROBLEMS[:count]]
        whole = [c.trace for c in await engine.sample([Job(t, None, 0.0, 1, MAX_TOKENS) for t in traces])]
        while any(trace.open for trace in traces):
            jobs = [Job(trace, 1, 0.0, 1, MAX_TOKENS) for trace in traces]
            traces = [c.trace for c in await engine.sample(jobs)]
        return whole, traces

    return asyncio.run(sample())


@pytest.mark.parametrize("form", [FORMATS["text"], replace(FORMATS["chat"], rule=RULES["newline"])])
def test_vllm_greedy_equals_the_built_in_engine(vllm: Running, tmp_path: Path, form):
    whole, stepped = greedy(vllm.engine(tmp_path, form=form), 20)
    expected = [
        c.trace for c in SMALL.sample_now([Job(Trace(p), None, 0.0, 1, MAX_TOKENS) for p in PROBLEMS[:20]])
    ]
    assert [(t.text, t.finish, t.tokens) for t in whole] == [(t.text, t.finish, t.tokens) for t in expected]
    assert [len(t.steps) for t in whole] == [len(t.steps) for t in expected]
    assert [(t.text, t.tokens, len(t.steps)) for t in stepped] == [
        (t.text, t.tokens, len(t.steps)) for t in whole
    ]
    for one, other in zip(whole, expected, strict=True):
        assert np.allclose(
            [x for s in one.steps for x in s.logprobs],
            [x for s in other.steps for x in s.logprobs],
            atol=1e-3,
        )


def test_transformers_greedy_equals_the_built_in_engine(transformers: Running, tmp_path: Path):
    engine = transformers.engine(tmp_path)
    whole, stepped = greedy(engine, 5)
    expected = [
        c.trace for c in SMALL.sample_now([Job(Trace(p), None, 0.0, 1, MAX_TOKENS) for p in PROBLEMS[:5]])
    ]
    assert [(t.text, t.finish, len(t.steps)) for t in whole] == [
        (t.text, t.finish, len(t.steps)) for t in expected
    ]
    assert stepped == whole
    assert any("without usage" in note for note in engine.notes)


def majority(engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """Of every problem: is the vote of 16 right, and which share of the 16."""
    driver = Driver(engine, seed=5, max_tokens=MAX_TOKENS)
    results = driver.run([Task(p, Arm("majority", 16)) for p in PROBLEMS])
    assert not any(event for r in results for event in r.events if "none of" not in event)
    right = [[c.answer == r.task.problem.gold for c in r.candidates] for r in results]
    return np.array([bool(r.correct) for r in results]), np.mean(right, axis=1)


@pytest.mark.parametrize("seeded", [True, False])
def test_vllm_majority_is_as_accurate(vllm: Running, tmp_path: Path, seeded: bool):
    voted, shares = majority(vllm.engine(tmp_path, seeded=seeded))
    expected, expected_shares = majority(SMALL)
    for name, one, other in (("majority", voted, expected), ("one sample", shares, expected_shares)):
        print(f"{name}: vLLM {one.mean():.3f}, built-in {other.mean():.3f}")
    # Shares of 16 each: the difference of two means over 30 problems, and its standard error.
    error = np.sqrt(np.sum(expected_shares * (1 - expected_shares)) * 2 / 16) / len(shares)
    assert abs(shares.mean() - expected_shares.mean()) < 3.5 * error
    assert np.sum(voted != expected) <= 6


def test_vllm_beam_is_warm(vllm: Running, tmp_path: Path):
    prm = SmallVerifier.load(checkpoint("prm"))
    results = {}
    for name, engine in (("vLLM", vllm.engine(tmp_path)), ("built-in", SMALL)):
        driver = Driver(engine, prm, seed=5, max_tokens=MAX_TOKENS)
        results[name] = driver.run([Task(p, Arm("beam", 16)) for p in PROBLEMS])
        cost = sum((r.cost for r in results[name][1:]), results[name][0].cost)
        right = sum(bool(r.correct) for r in results[name])
        print(f"{name}: {right} of {len(PROBLEMS)} right, {cost}")
        assert cost.cached_tokens > 0.3 * cost.prompt_tokens
        assert not any(r.events for r in results[name])
    differ = sum(a.correct != b.correct for a, b in zip(results["vLLM"], results["built-in"], strict=True))
    assert differ <= 8


def test_vllm_killed_marks_the_traces(vllm: Running, tmp_path: Path):
    engine = vllm.engine(tmp_path, retries=1)

    async def run() -> list[str]:
        first = await engine.sample([Job(Trace(PROBLEMS[0]), None, 1.0, 1, MAX_TOKENS)])
        assert first[0].trace.finish == "stop"
        jobs = [Job(Trace(p), None, 1.0, seed, MAX_TOKENS) for p in PROBLEMS for seed in range(8)]
        task = asyncio.create_task(engine.sample(jobs))
        await asyncio.sleep(0.5)
        vllm.end()
        found = await task
        assert all(c.trace.finish in ("stop", "length", "error") for c in found)
        return [c.trace.error for c in found if c.trace.finish == "error"]

    errors = asyncio.run(run())
    print(len(errors), "failed:", sorted(set(errors)))
    assert errors and all("connect" in error for error in errors)
