"""The programs that serve language models, started with the small world's proposer: one function each.

Nothing is installed here. Environment variables name what there is (a test whose program is not named
is skipped):

- ``MULL_VLLM_PYTHON``, ``MULL_TRANSFORMERS_PYTHON``, ``MULL_LITELLM_PYTHON``: a Python with the program;
- ``MULL_LLAMA_SERVER``: llama.cpp's ``llama-server``, or ``PYTHON tests/llama_server.py`` with a Python
  that has the prebuilt package ``xllamacpp``; the checkpoint is converted here, by the package ``gguf``.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from llama_gguf import TEMPLATE, convert
from mull.engines.openai import OpenAIEngine
from mull.engines.small import SmallEngine
from mull.tiny.load import checkpoint

SIZE = SmallEngine.load(checkpoint("proposer")).size


@dataclass(frozen=True)
class Running:
    """A program that serves the proposer; ``busy``: how many requests it works on, where it tells."""

    url: str
    model: str
    process: subprocess.Popen[bytes]
    key: str | None = None
    busy: Callable[[], float] | None = None

    def engine(self, folder: Path, **how) -> OpenAIEngine:
        how = {"timeout": 300.0} | how
        return OpenAIEngine(self.url, self.model, cache=folder, size=SIZE, key=self.key, **how)

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(
    command: list[str], port: int, model: str, log: Path, key: str | None = None, **env: str
) -> Iterator[Running]:
    """The program while it runs; it is waited for until it answers, half an hour at most."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **env}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)
    running = Running(f"http://127.0.0.1:{port}", model, process, key)
    end = time.monotonic() + 1800
    try:
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            try:
                fetched(f"{running.url}/v1/models", key)
                break
            except (OSError, urllib.error.URLError):
                time.sleep(0.5)
        yield running
    finally:
        if process.poll() is None:
            running.end()


def fetched(url: str, key: str | None = None) -> str:
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.read().decode()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def named(name: str) -> str:
    found = os.environ.get(name)
    if not found:
        pytest.skip(f"set {name} to the program")
    return found


@contextmanager
def vllm(folder: Path, port: int | None = None) -> Iterator[Running]:
    """vLLM's own server, on a CPU."""
    port = port or free_port()
    template = folder / "chat.jinja"
    template.write_text(TEMPLATE)
    command = [named("MULL_VLLM_PYTHON"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(checkpoint("proposer")), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--chat-template", str(template)]
    command += ["--enforce-eager", "--dtype", "float32", "--block-size", "32", "--max-num-seqs", "64"]
    command += ["--enable-prompt-tokens-details"]

    def busy() -> float:
        told = fetched(f"http://127.0.0.1:{port}/metrics")
        found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", told, re.MULTILINE)
        assert len(found) == 2, told[:500]
        return sum(float(each) for each in found)

    with serving(command, port, "tiny", folder / "log", VLLM_CPU_KVCACHE_SPACE="1") as running:
        yield replace(running, busy=busy)


@contextmanager
def transformers(folder: Path) -> Iterator[Running]:
    """``transformers serve``."""
    port, model = free_port(), folder / "proposer"
    shutil.copytree(checkpoint("proposer"), model)
    (model / "chat_template.jinja").write_text(TEMPLATE)
    command = [named("MULL_TRANSFORMERS_PYTHON"), "-m", "transformers.cli.transformers", "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    (folder / "hub").mkdir()  # without it /v1/models fails
    with serving(command, port, str(model), folder / "log", HF_HOME=str(folder)) as running:
        yield running


@contextmanager
def llama(folder: Path, port: int | None = None, template: str = TEMPLATE) -> Iterator[Running]:
    """llama.cpp's ``llama-server``, with the proposer converted to GGUF."""
    program, port = named("MULL_LLAMA_SERVER"), port or free_port()
    pytest.importorskip("gguf", reason="converting to GGUF needs the package gguf")
    convert(checkpoint("proposer"), folder / "proposer.gguf", template)
    slots = 32
    command = [*shlex.split(program), "--model", str(folder / "proposer.gguf"), "--alias", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--parallel", str(slots), "--threads", "1"]
    command += ["--ctx-size", str(1024 * slots), "--cache-type-k", "f32", "--cache-type-v", "f32"]
    command += ["--flash-attn", "off"]  # on, it is exact to three digits only

    def busy() -> float:
        told = json.loads(fetched(f"http://127.0.0.1:{port}/slots"))
        return sum(slot["is_processing"] for slot in told)

    with serving(command, port, "tiny", folder / "log") as running:
        yield replace(running, busy=busy)


@contextmanager
def litellm(folder: Path) -> Iterator[Running]:
    """A LiteLLM proxy in front of ``llama-server``."""
    program, port, key = named("MULL_LITELLM_PYTHON"), free_port(), "sk-" + secrets.token_hex(24)
    behind = folder / "behind"
    behind.mkdir()
    with llama(behind) as server:
        params = {"model": "hosted_vllm/tiny", "api_base": f"{server.url}/v1", "api_key": "none"}
        config = {"model_list": [{"model_name": "tiny", "litellm_params": params}]}
        (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        command = [str(Path(program).parent / "litellm"), "--config", str(folder / "config.yaml")]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # nothing is fetched
        with serving(command, port, "tiny", folder / "log", key, LITELLM_MASTER_KEY=key, **local) as running:
            yield replace(running, busy=server.busy)


#: By name as in docs/engines.md.
PROGRAMS: dict[str, Callable[[Path], AbstractContextManager[Running]]] = {
    "vLLM": vllm,
    "llama-server": llama,
    "transformers serve": transformers,
    "LiteLLM": litellm,
}
