"""Bad news from real servers: every trouble has a clear message, and the study goes on.

The program is named as ``real_servers.py`` says; ``test_served_study.py`` makes the same troubles, and
those that no program makes when asked to, with a scripted server.

    MULL_LLAMA_SERVER=.../llama-server pytest -m slow tests/test_bad_news.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from mull.cli import main
from real_servers import Running, free_port, llama, serving

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.slow
#: As Gemma's has it.
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ m['content'] }}{% endfor %}"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with llama(tmp_path_factory.mktemp("server")) as running:
        yield running


def study(place: Path, url: str, **engine: object) -> list[str]:
    """The command that runs a study of a server's model on ten problems, one of them too long to read."""
    from mull.tiny.load import problems

    rows = [{"id": p.id, "prompt": p.prompt, "answer": p.gold} for p in problems(count=11)]
    (place / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = {"url": url, "model": "tiny", "retries": 2} | engine
    listed = ", ".join(f"{key} = {json.dumps(value)}" for key, value in spec.items())
    text = f'name = "bad"\npool = 4\nmax_tokens = 200\nengine = {{ {listed} }}\n'
    text += 'verifiers = { prm = "tiny" }\nproblems = { source = "problems.jsonl" }\n'
    text += '[[arms]]\nstrategy = "beam"\nbudgets = [4]\n'
    (place / "study.toml").write_text(text)
    return ["study", str(place / "study.toml"), "--out", str(place / "out"), "--measure", "0"]


def line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a command ends with."""
    assert main(arguments) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    print(told)
    return told


def test_a_context_that_is_too_long_is_an_outcome(server: Running, tmp_path: Path, capsys) -> None:
    command = study(tmp_path, server.url)
    rows = [json.loads(row) for row in (tmp_path / "problems.jsonl").read_text().splitlines()]
    rows[3]["prompt"] = rows[3]["prompt"] * 40
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*command, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    print(warnings)
    assert any(each.startswith("4 of 44 pool samples failed") for each in warnings)
    pool = pl.read_parquet(tmp_path / "out" / "shards" / "pool-*.parquet")
    told = pool.filter(pl.col("problem") == rows[3]["id"])["error"].unique().to_list()
    assert len(told) == 1 and told[0].startswith("context too long"), told


def test_a_slow_server_is_waited_for_so_long_and_asked_again(server: Running, tmp_path: Path, capsys) -> None:
    command = study(tmp_path, server.url)
    assert main(["engine", "probe", server.url]) == 0
    hasty = study(tmp_path, server.url, timeout=0.001)
    told = line(hasty, capsys)
    assert "no answer within 0.001 s" in told or "does not answer" in told
    command = study(tmp_path, server.url)
    assert main(command) == 0


def test_another_model_is_named(server: Running, tmp_path: Path, capsys) -> None:
    told = line(study(tmp_path, server.url, model="larger"), capsys)
    assert "does not serve 'larger'; it serves tiny" in told and not (tmp_path / "out").exists()


def test_rubbish_is_quoted(tmp_path: Path, capsys) -> None:
    """A program that speaks HTTP and knows nothing of models."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "models").write_text("hello")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    command += ["--directory", str(tmp_path)]
    with serving(command, port, "none", tmp_path / "log") as running:
        told = line(study(tmp_path, running.url), capsys)
    assert "answers neither completions" in told and "Unsupported method" in told


def test_a_template_without_a_system_role_is_worked_around(tmp_path: Path, capsys) -> None:
    """llama.cpp puts the system message into the user's; the probe sees that it arrives."""
    with llama(tmp_path, template=NO_SYSTEM) as running:
        assert main(["engine", "probe", running.url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["chat"]["system"] == "taken"
