"""Studies whose answers are recorded: repeated without a server, the same to the bit, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
from mull.analysis import run
from mull.cli import main
from mull.errors import MullError
from mull.study import config, store
from openai_server import Server, in_thread
from test_served_study import own_cache, shards, study
from tiny_models import checkpoint

assert own_cache  # a fixture for every test here


@pytest.fixture(scope="module")
def prm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "prm", "LlamaForTokenClassification", 1)


def test_a_study_is_repeated_from_the_record_to_the_bit_without_a_server(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm, record="answers")
        first = run.run_study(config.read(toml), tmp_path / "first")
        asked = len(server.requests)
        # Again, while it is there: nothing is asked but whether it is, and one token.
        second = run.run_study(config.read(toml), tmp_path / "second")
        assert len(server.requests) <= asked + 4
        url = server.url
    usage = first["usage"]
    replayed = usage.get("replayed", {"answers": 0, "requests": 0})
    # Hardly any request comes twice in one study.
    assert replayed["requests"] < usage["requests"] / 4
    assert second["usage"]["replayed"]["requests"] == second["usage"]["requests"]
    assert second["usage"]["replayed"]["completion_tokens"] == second["usage"]["completion_tokens"]
    # The server is gone.
    toml = study(tmp_path, url, prm, replay="answers")
    third = run.run_study(config.read(toml), tmp_path / "third")
    assert shards(tmp_path / "first") == shards(tmp_path / "second") == shards(tmp_path / "third")
    assert third["usage"] == second["usage"] and third["headline"] == first["headline"]
    assert main(["report", str(tmp_path / "third")]) == 0
    assert "of these from the record" in capsys.readouterr().out
    assert main(["study", str(toml), "--dry-run", "--out", str(tmp_path / "new")]) == 0
    # Another seed asks for what is not there.
    text = toml.read_text().replace("pool = 16", "pool = 16\nseed = 4")
    toml.write_text(text)
    with pytest.raises(MullError, match="has no answer to 'What is thing"):
        run.run_study(config.read(toml), tmp_path / "fourth")


def test_mull_s_own_engine_with_a_record_is_repeated_too(prm: Path, tmp_path: Path) -> None:
    proposer = checkpoint(tmp_path / "proposer", "LlamaForCausalLM")
    text = f"""
name = "own"
pool = 4
max_tokens = 60
engine = {{ path = "{proposer}", record = "answers" }}
verifiers = {{ prm = "{prm}" }}
problems = {{ source = "tiny", count = 10 }}
[[arms]]
strategy = "beam"
budgets = [4]
"""
    toml = tmp_path / "own.toml"
    toml.write_text(text)
    run.run_study(config.read(toml), tmp_path / "first")
    toml.write_text(text.replace("record =", "replay ="))
    again = run.run_study(config.read(toml), tmp_path / "second")
    assert shards(tmp_path / "first") == shards(tmp_path / "second")
    assert again["usage"]["replayed"]["requests"] == again["usage"]["requests"] > 0
    assert json.loads((tmp_path / "second" / "summary.json").read_text())["usage"] == again["usage"]


def test_counts_of_a_unit_add_up_over_runs(tmp_path: Path) -> None:
    shard = tmp_path / "a.parquet"
    assert store.replayed(shard) == {}
    store.count_replayed(shard, {})
    assert not list(tmp_path.iterdir())
    store.count_replayed(shard, {"answers": 2, "requests": 3})
    store.count_replayed(shard, {"answers": 1})
    assert store.replayed(shard) == {"answers": 3, "requests": 3}
