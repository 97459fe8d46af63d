"""Studies, ``mull ask`` and ``mull pool record`` against real servers, with the small world's proposer.

Minutes long; the program is named as ``real_servers.py`` says:

    MULL_LLAMA_SERVER=.../llama-server pytest -m slow tests/test_real_studies.py -k llama
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from real_servers import free_port, llama, vllm

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.slow
STUDY = """
name = "real"
seed = {seed}
pool = 16
max_tokens = 200
engine = {engine}
verifiers = {{ prm = "tiny" }}
problems = {{ source = "tiny", count = 20 }}
[[arms]]
strategy = "beam"
budgets = [16]
"""


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mull", *arguments]


def mull(folder: Path, *arguments: str) -> tuple[int, str, str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command(folder, *arguments), capture_output=True, text=True, env=env, check=False)
    print(done.stderr[-1500:])
    return done.returncode, done.stdout, done.stderr


def engine(url: str, retries: int = 5) -> str:
    return f'{{ url = "{url}", model = "tiny", retries = {retries}, price_in = 1.0, price_out = 4.0 }}'


@pytest.mark.parametrize("program", [vllm, llama])
def test_a_study_over_a_server_finds_what_the_built_in_engine_does(tmp_path: Path, program) -> None:
    port = free_port()
    found = {}
    with program(tmp_path, port) as running:
        for name, spec in (("served", engine(running.url)), ("built-in", '"tiny"')):
            (tmp_path / f"{name}.toml").write_text(STUDY.format(seed=3, engine=spec))
            arguments = ["study", str(tmp_path / f"{name}.toml"), "--out", str(tmp_path / name), "--json"]
            status, out, _ = mull(tmp_path, *arguments)
            assert status == 0
            found[name] = json.loads(out)
        pools = {n: pl.read_parquet(tmp_path / n / "shards" / "pool-*.parquet") for n in found}
        shares = {
            n: p.group_by("problem", maintain_order=True).agg(pl.col("correct").mean())
            for n, p in pools.items()
        }
        one, other = (shares[n]["correct"].to_numpy() for n in ("served", "built-in"))
        error = np.sqrt(np.sum(other * (1 - other)) * 2 / 16) / len(other)
        assert abs(one.mean() - other.mean()) < 3.5 * error
        for strategy, params in (
            ("majority", {}),
            ("best_of_n", {"verifier": "prm", "aggregation": "last"}),
            ("best_of_n_weighted", {"verifier": "prm", "aggregation": "last"}),
            ("beam", {}),
        ):
            at = {
                n: next(
                    a
                    for a in s["arms"]
                    if (a["strategy"], a["params"], a["budget"]) == (strategy, params, 16)
                )
                for n, s in found.items()
            }
            print(strategy, {n: (round(a["accuracy"], 3), a["ci95"]) for n, a in at.items()})
            low, high = at["built-in"]["ci95"]
            assert low - 0.1 <= at["served"]["accuracy"] <= high + 0.1
        usage = found["served"]["usage"]
        print({k: v for k, v in usage.items() if k != "by"})
        assert usage["cache_hit_rate"] > 0.3 and usage["dollars"] > 0 and usage["requests"] > 320
        # The same words from the command line, one problem and a pool.
        status, out, _ = mull(
            tmp_path,
            "ask",
            "Kim has 9 pens. Ann has 3 more than Kim. How many pens does Ann have?",
            "--budget",
            "8",
            "--engine",
            running.url,
            "--prm",
            "tiny",
            "--max-tokens",
            "200",
            "--json",
        )
        asked = json.loads(out)
        assert status == 0 and asked["answer"] == "12" and len(asked["candidates"]) == 8
        status, _, _ = mull(
            tmp_path,
            "pool",
            "record",
            "--count",
            "5",
            "--samples",
            "8",
            "--engine",
            running.url,
            "--orm",
            "none",
            "--out",
            str(tmp_path / "pool.parquet"),
        )
        made = pl.read_parquet(tmp_path / "pool.parquet")
        assert status == 0 and made.height == 40 and made["error"].null_count() == 40
        assert all(row["prm"] is not None for row in made["scores"])


@pytest.mark.parametrize("program", [vllm, llama])
def test_a_study_whose_server_is_killed_goes_on_with_a_new_one(tmp_path: Path, program) -> None:
    port = free_port()
    toml = tmp_path / "study.toml"
    toml.write_text(
        STUDY.format(seed=4, engine=engine(f"http://127.0.0.1:{port}", 1)).replace("pool = 16", "pool = 128")
    )
    arguments = ["study", str(toml), "--out", str(tmp_path / "out"), "--measure", "0"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with program(tmp_path, port) as running:
        process = subprocess.Popen(
            command(tmp_path, *arguments), env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        shards = tmp_path / "out" / "shards"
        while process.poll() is None and not list(shards.glob("*.parquet")):
            time.sleep(0.2)
        running.end()
        _, said = process.communicate(timeout=300)
        print(said[-1500:])
        assert (
            process.returncode in (1, 3) and "incomplete" in said and "the same command tries again" in said
        )
    kept = {path.name: path.read_bytes() for path in shards.glob("*.parquet") if "failed" not in path.name}
    assert kept and list(shards.glob("*.failed.parquet"))
    with program(tmp_path, port):
        status, _, _ = mull(tmp_path, *arguments)
    assert status == 0 and not list(shards.glob("*.failed.parquet"))
    assert all((shards / name).read_bytes() == data for name, data in kept.items())
    frame = pl.concat([pl.read_parquet(path) for path in sorted(shards.glob("pool-*.parquet"))])
    assert frame.height == 20 * 128 and frame["failed"].null_count() == frame.height
