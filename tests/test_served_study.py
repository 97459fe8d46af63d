"""Studies, ``ask`` and ``pool record`` with a model behind a server: what is asked, fails, is repaired.

The server is real and its model made up; ``test_real_studies.py`` has the real programs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("aiohttp")
from aiohttp import web

from mull.analysis import run
from mull.cli import main
from mull.errors import MullError
from mull.study import config, folder
from mull.study.estimate import estimate, found_in
from mull.study.run import problems_of
from openai_server import Server, in_thread, status
from tiny_models import checkpoint

EXAMPLES = Path(__file__).parent.parent / "examples"
ARMS = """
[[arms]]
strategy = "beam"
budgets = [4]
[[arms]]
strategy = "greedy"
budgets = [1]
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def prm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "prm", "LlamaForTokenClassification", 1)


def problems(place: Path, count: int = 12) -> Path:
    rows = [{"id": f"p{i}", "prompt": f"What is thing {i}?\n", "answer": str(10 + i)} for i in range(count)]
    (place / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place / "problems.jsonl"


def study(place: Path, url: str, prm: Path, arms: str = ARMS, more: str = "", **engine: object) -> Path:
    """A study of a server's model, 12 problems x 16 samples, by mull's own PRM."""
    problems(place)
    spec = {"url": url, "model": "made-up", "retries": 0, **engine}
    listed = ", ".join(f"{key} = {json.dumps(value)}" for key, value in spec.items())
    text = f'name = "served"\npool = 16\nmax_tokens = 100\nengine = {{ {listed} }}\n{more}\n'
    text += f'verifiers = {{ prm = "{prm}" }}\nproblems = {{ source = "problems.jsonl" }}\n'
    (place / "study.toml").write_text(text + arms)
    return place / "study.toml"


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "shards").glob("*.parquet")}


def whenever(words: Callable[[int, str], bool], code: int = 500) -> Callable[[web.Request], Any]:
    """A fault for the requests (by their number from 0, and their text) that ``words`` picks."""
    seen = [0]

    async def fault(request: web.Request) -> web.Response | None:
        seen[0] += 1
        text = json.dumps(await request.json())
        return web.Response(status=code, text="out of order") if words(seen[0] - 1, text) else None

    return fault


def one_line(arguments: list[str], capsys: pytest.CaptureFixture[str], *, alone: bool = False) -> str:
    """The line that a command fails with; ``alone``: nothing else was said but how far it was."""
    assert main(arguments) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line != "mull: starting"]
    said = [line for line in said if " gone:" not in line and " gone," not in line]
    failed = [line for line in said if line.startswith("mull: ")]
    assert len(failed) == 1 and (not alone or said == failed), said
    return failed[0]


# a study


def test_a_study_over_http_has_everything(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_thread(Server()) as server:
        sizes = {
            "parameters": 1000,
            "layers": 2,
            "heads": 2,
            "head_size": 8,
            "price_in": 1.0,
            "price_out": 2.0,
        }
        same = f'{{ url = "{server.url}", model = "made-up", parameters = 5000 }}'
        more = f"chains = 4\nreviser = {same}\nlarger = {same}\n"
        revise = '[[arms]]\nstrategy = "revise_majority"\nbudgets = [4]\n'
        toml = study(tmp_path, server.url, prm, ARMS + revise, more, **sizes)
        out = tmp_path / "out"
        assert main(["study", str(toml), "--out", str(out), "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        asked = len(server.requests)
        assert main(["study", str(toml), "--out", str(out)]) == 0  # finished: nothing is asked
        assert len(server.requests) == asked
    shown = capsys.readouterr().out
    assert "asked of the models" in shown and "in FLOPs" in shown and "report.html" in shown
    assert summary["study"]["engine"] == "made-up (text, newline)" and "incomplete" not in summary
    usage = {row["what"]: row for row in summary["usage"]["by"]}
    assert (
        usage["pool"]["requests"] == 12 * 16
        and usage["larger"]["requests"] == usage["greedy@1"]["requests"] == 12
    )
    assert summary["usage"]["requests"] == sum(row["requests"] for row in usage.values())
    pool = usage["pool"]
    assert pool["dollars"] == pytest.approx((pool["prompt_tokens"] + 2 * pool["completion_tokens"]) / 1e6)
    assert usage["larger"]["dollars"] is None and summary["usage"]["dollars"] is None  # no price was given
    assert all(arm["flops"] > 0 for arm in summary["arms"]) and summary["larger"]["parameters"] == 5000
    trees = json.loads((out / "trees.json").read_text())
    assert len(trees) == 6
    recorded = folder.open_folder(out)
    frame = pl.concat([recorded.read(unit) for unit in recorded.units if unit.kind == "chains"])
    lengths = (4, 1, 1, 1)
    assert frame.height == 12 * sum(lengths) and frame["failed"].null_count() == frame.height
    assert (frame["context_tokens"] > 0).all() and (frame["text"] != "").all()


def test_unknown_sizes_are_said_and_compared_in_tokens(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm)
        summary = run.run_study(config.read(toml), tmp_path / "out")
    assert all(arm["flops"] is None for arm in summary["arms"])
    assert all(
        row[name] is None for row in summary["compute_optimal"] for name in row if name.endswith("_flops")
    )
    ratios = summary["headline"]["equal_accuracy_ratio"]["oracle"]
    assert ratios["flops"] is None and ratios["completion_tokens"] is not None
    assert any("FLOPs are unknown" in warning for warning in summary["warnings"])
    from rich.console import Console

    from mull.report import table, write

    Console().print(table(summary))
    assert "in tokens" in capsys.readouterr().out
    assert "in FLOPs" not in write(tmp_path / "out").read_text().split("<script>")[0]


@pytest.mark.parametrize(
    ("part_counts", "usage", "said"),
    [
        ("continuous_usage_stats", True, []),
        ("", True, ["beam@4"]),
        ("", False, ["pool", "beam@4", "greedy@1"]),
    ],
)
def test_answers_that_a_server_does_not_count_are_said(
    prm: Path, tmp_path: Path, part_counts: str, usage: bool, said: list[str]
) -> None:
    # Steps are cut from the stream here, which then has no usage but what came with its parts.
    habits = {"names_stop": False, "keeps_on_request": False, "part_counts": part_counts, "usage": usage}
    with in_thread(Server(**habits)) as server:
        toml = study(tmp_path, server.url, prm)
        rows = (tmp_path / "problems.jsonl").read_text().replace("What is", "Say " + "what " * 50 + "is")
        (tmp_path / "problems.jsonl").write_text(rows)
        summary = run.run_study(config.read(toml), tmp_path / "out")
    told = [line.partition(":")[0] for line in summary["warnings"] if "did not count all of its" in line]
    assert told == said


def test_a_moved_server_is_the_same_study(prm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with in_thread(Server()) as server:
        run.run_study(config.read(study(tmp_path, server.url, prm)), out)
    before = shards(out)
    with in_thread(Server()) as other:
        moved = config.read(study(tmp_path, other.url, prm, price_in=1.0, price_out=1.0))
        summary = run.run_study(moved, out)
        assert not other.requests and shards(out) == before
        assert summary["usage"]["dollars"] > 0  # the prices of now
        assert other.url in (out / "study.toml").read_text()
        with pytest.raises(MullError, match="recorded with other parameters"):
            run.run_study(config.read(study(tmp_path, other.url, prm, parameters=7)), out)
        with pytest.raises(MullError, match="holds another study"):
            run.run_study(config.read(study(tmp_path, other.url, prm, steps="blank")), out)


# what goes wrong


@pytest.mark.parametrize(
    ("habits", "engine", "says"),
    [
        ({}, {"model": "other"}, "does not serve 'other'; it serves made-up"),
        ({"stop": "ignored", "usage": True, "prefill": "no"}, {"format": "chat"}, "cannot do step search"),
        ({"chat": False}, {"format": "chat"}, "does not answer chat requests"),
    ],
)
def test_what_a_server_cannot_do_is_found_before_anything_is_made(
    prm: Path,
    tmp_path: Path,
    habits: dict[str, Any],
    engine: dict[str, Any],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with in_thread(Server(**habits)) as server:
        toml = study(tmp_path, server.url, prm, **engine)
        line = one_line(
            ["study", str(toml), "--out", str(tmp_path / "out"), "--measure", "0"], capsys, alone=True
        )
    assert says in line and not (tmp_path / "out").exists()


def test_a_server_that_is_not_there_is_one_line(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = study(tmp_path, "http://127.0.0.1:9", prm)
    line = one_line(["study", str(toml), "--out", str(tmp_path / "out")], capsys, alone=True)
    assert "cannot connect" in line and not (tmp_path / "out").exists()


def test_a_server_that_breaks_is_repaired_where_it_failed(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, arguments = tmp_path / "out", ["study", "--measure", "0"]
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm)
        whole = tmp_path / "whole"
        run.run_study(config.read(toml), whole)
        before = len(server.requests)
        # Some pool samples fail, then beam's: 20 of 192, and from the 300th request on all.
        server.faults = [whenever(lambda n, _: 30 <= n < 50 or n >= 300)] * 10_000
        said = one_line([*arguments, str(toml), "--out", str(out)], capsys)
        assert re.search(
            r"\d of 4 units have \d+ failures between them \(\d+ times: the server answers 500", said
        ) or (
            re.search(
                r"\d of 3 units have \d+ failures between them \(\d+ times: the server answers 500", said
            )
        )
        assert "the same command tries again what is missing" in said
        recorded = folder.open_folder(out)
        kept = {unit.label: recorded.kept(unit) for unit in recorded.missing()}
        failed = sum(frame["failed"].is_not_null().sum() for frame in kept.values() if frame is not None)
        assert failed and list((out / "shards").glob("*.failed.parquet"))
        server.faults.clear()
        before = len(server.requests)
        assert main([*arguments, str(toml), "--out", str(out)]) == 0
        again = len(server.requests) - before
    assert again < 420  # the whole study is more than 500
    assert not list((out / "shards").glob("*.failed.parquet*"))
    # A made-up model's samples depend on their seeds alone: what was repaired is what would have been.
    for path in (whole / "shards").glob("*.parquet"):
        one, other = pl.read_parquet(path), pl.read_parquet(out / "shards" / path.name)
        assert one.equals(other), path.name


def test_the_study_goes_on_with_the_other_problems(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm)
        server.faults = [whenever(lambda _, text: "thing 7?" in text)] * 10_000
        assert main(["study", str(toml), "--out", str(out), "--measure", "0", "--json"]) == 3
        summary = json.loads(capsys.readouterr().out)
        assert summary["problems"] == 11 and summary["incomplete"]["whole_problems"] == 11
        assert summary["incomplete"]["failures"] == 16 + 1 + 1
        assert "the server answers 500: out of order" in summary["incomplete"]["reasons"][0]["reason"]
        assert summary["warnings"][0].startswith("incomplete: 3 of 3 units have 18 failures")
        assert main(["report", str(out)]) == 3
        assert "incomplete" in capsys.readouterr().out
        server.faults.clear()
        before = len(server.requests)
        assert main(["study", str(toml), "--out", str(out), "--measure", "0"]) == 0
        assert "incomplete" not in capsys.readouterr().out
        repaired = [r for r in server.requests[before:] if "thing" in str(r.get("prompt"))]
        trees = 6 * 16 * 4
        assert sum("thing 7?" in r["prompt"] for r in repaired) >= 16 + 1 + 1
        assert len(repaired) <= 16 + 1 + 16 + trees


def test_a_mistake_to_put_right_ends_the_run_and_keeps_what_there_is(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm, more="")
        config.read(toml)
        run_once = ["study", str(toml), "--out", str(out), "--measure", "0"]
        server.faults = [whenever(lambda n, _: n >= 200, 401)] * 10_000
        line = one_line(run_once, capsys)
        assert "wants another key (401)" in line
        assert shards(out)
        server.faults.clear()
        assert main(run_once) == 0


def test_a_context_that_is_too_long_is_an_outcome_and_not_a_failure(prm: Path, tmp_path: Path) -> None:
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm, arms="")
        said = json.dumps({"error": {"message": "This model's maximum context length is 8 tokens."}})

        async def long(request: web.Request) -> web.Response | None:
            return status(400, said)(request) if "thing 7?" in json.dumps(await request.json()) else None

        server.faults = [long] * 10_000
        summary = run.run_study(config.read(toml), tmp_path / "out")
    assert "incomplete" not in summary
    assert any(warning.startswith("16 of 192 pool samples failed") for warning in summary["warnings"])


def test_killed_and_gone_on_is_the_same(prm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with in_thread(Server(delay=0.02)) as server:
        toml = study(tmp_path, server.url, prm, concurrency=8)
        command = [sys.executable, "-m", "mull", "study", str(toml), "--out", str(out), "--measure", "0"]
        for wanted in (0, 1, 2):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                if (out / "study.toml").exists() and len(shards(out)) >= wanted:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.01)
            if process.wait(60) == 0:
                break
        run.run_study(config.read(toml), out)
        run.run_study(config.read(toml), tmp_path / "whole")
    assert shards(out) == shards(tmp_path / "whole") and not list(out.rglob("*.tmp"))


# what it will take


def test_a_dry_run_starts_nothing_and_knows_what_will_be_asked(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm, price_in=1.0, price_out=2.0)
        dry = ["study", str(toml), "--out", str(out), "--dry-run"]
        assert main([*dry, "--json"]) == 0
        blind = json.loads(capsys.readouterr().out)
        assert not server.requests and not out.exists() and blind["hours"] is None
        assert blind["lengths"]["how"].startswith("assumed: a solution of 50 tokens")
        assert main([*dry, "--json", "--throughput", "100"]) == 0
        given = json.loads(capsys.readouterr().out)
        assert given["hours"] == pytest.approx(given["total"]["completion_tokens"] / 100 / 3600)
        assert main([*dry, "--json", "--measure", "6"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert not out.exists() and found["hours"] > 0 and found["lengths"]["how"] == "measured on 6 samples"
        assert main(dry) == 0
        shown = capsys.readouterr().out
        assert "what it will take" in shown and "hours: unknown" in shown and "unknown" in shown
        summary = run.run_study(config.read(toml), out)
        usage = {row["what"]: row for row in summary["usage"]["by"]}
        for row in found["rows"]:
            real = usage[row["what"]]
            assert (
                row["requests"] == real["requests"] and row["completion_tokens"] == real["completion_tokens"]
            )
            assert row["prompt_tokens"] == pytest.approx(real["prompt_tokens"], rel=0.25)
            assert row["dollars"] == pytest.approx(real["dollars"], rel=0.25) and row["flops"] is None
        assert main([*dry, "--json"]) == 0
        left = json.loads(capsys.readouterr().out)
        assert left["units"]["missing"] == 0 and left["rows"] == []
        assert left["lengths"]["how"] == "means of 192 recorded samples"


def test_an_estimate_counts_what_is_left(prm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with in_thread(Server()) as server:
        read = config.read(study(tmp_path, server.url, prm))
        server.faults = [whenever(lambda _, text: "thing 7?" in text)] * 10_000
        run.run_study(read, out)
        asked, recorded = found_in(out, read, problems_of(read))
        rows = {row["what"]: row for row in estimate(asked, problems_of(read), recorded).rows}
    assert (
        rows["pool"]["requests"] == 16
        and rows["greedy@1"]["requests"] == 1
        and rows["beam@4"]["problems"] == 1
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_examples_are_studies(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # They name math-verify's grader; nothing is graded here.
    monkeypatch.setattr("mull.grading.named.available", lambda: True)
    found = config.read(path)
    assert (
        found.outside
        and config.from_mapping(__import__("tomllib").loads(config.to_toml(found)), path.parent) == found
    )
    problems(tmp_path, 20)
    text = re.sub(
        r"^problems = .*$", 'problems = { source = "problems.jsonl" }', path.read_text(), flags=re.M
    )
    text = re.sub(r"^grader = .*$", "", text, flags=re.M)
    (tmp_path / path.name).write_text(text)
    arguments = ["study", str(tmp_path / path.name), "--out", str(tmp_path / "out"), "--dry-run", "--json"]
    assert main([*arguments, "--throughput", "1000"]) == 0
    estimate = json.loads(capsys.readouterr().out)
    assert (
        estimate["problems"] == 20
        and estimate["hours"] > 0
        and estimate["total"]["requests"] >= 20 * found.pool
    )
    assert not (tmp_path / "out").exists()


# one problem, and a pool


def test_ask_over_http(prm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with in_thread(Server()) as server:
        arguments = ["ask", "What is it?", "--budget", "4", "--engine", server.url, "--prm", str(prm)]
        for strategy in ("best_of_n_weighted", "beam"):
            assert main([*arguments, "--strategy", strategy, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            assert (
                found["answer"] in {c["answer"] for c in found["candidates"]}
                and found["cost"]["requests"] >= 4
            )
        line = one_line([*arguments, "--model", "other"], capsys)
        assert "does not serve 'other'" in line
        server.faults = [whenever(lambda n, _: n > 0)] * 100
        line = one_line([*arguments, "--strategy", "majority"], capsys)
        assert "no candidate came: the server answers 500" in line or "does not answer" in line
    assert "cannot connect" in one_line(arguments, capsys)


def test_ask_with_a_grader_and_a_verifier_by_table(capsys: pytest.CaptureFixture[str]) -> None:
    with in_thread(Server()) as server:
        arguments = ["ask", "What is it?", "--budget", "4", "--engine", server.url, "--format", "text"]
        assert main([*arguments, "--prm", '{ adapter = "equations" }', "--grader", "form", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["cost"]["generations"] == 4
        assert "no grader 'nonsense'" in one_line([*arguments, "--grader", "nonsense"], capsys)


def test_a_pool_over_http_is_repaired_where_it_failed(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pool.parquet"
    with in_thread(Server()) as server:
        arguments = [
            "pool",
            "record",
            "--problems",
            str(problems(tmp_path)),
            "--samples",
            "8",
            "--max-tokens",
            "100",
        ]
        arguments += ["--prm", str(prm), "--orm", "none", "--engine", server.url]
        whole = tmp_path / "whole.parquet"
        assert main([*arguments, "--out", str(whole)]) == 0
        server.faults = [whenever(lambda n, _: 20 <= n < 30, 400)] * 10_000
        said = one_line([*arguments, "--out", str(out)], capsys)
        assert (
            "10 of 96 samples failed or are unscored (10 times: the server refused the request (400)" in said
        )
        assert not out.exists()
        server.faults.clear()
        before = len(server.requests)
        assert main([*arguments, "--out", str(out)]) == 0
        assert len(server.requests) - before == 10 + 1  # and the token that is asked for first
    assert pl.read_parquet(out).equals(pl.read_parquet(whole)) and not list(tmp_path.glob("*.parts"))
    capsys.readouterr()
    assert main(["pool", "show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 8


def test_a_sample_that_was_not_scored_is_scored_and_not_sampled_again(tmp_path: Path) -> None:
    import asyncio
    from dataclasses import replace

    from mull.cost import Cost
    from mull.engines.small import SmallEngine
    from mull.models import ModelSpec
    from mull.study import pooling
    from mull.study.config import Study
    from mull.study.failures import Failures
    from mull.study.models import Models
    from mull.tiny.load import checkpoint as shipped
    from mull.tiny.load import problems as tiny
    from mull.trace import Scores
    from mull.verifiers.base import Verdict

    class Flaky:
        name, down = "flaky", True

        async def score(self, traces):
            if self.down:
                raise OSError("no such server")
            return [Verdict(Scores((0.5,) * len(t.steps)), Cost(verifier_tokens=3)) for t in traces]

    class Counting(SmallEngine):
        asked = 0

        def fresh(self):
            return self

        def sample_now(self, jobs):
            Counting.asked += len(jobs)
            return super().sample_now(jobs)

    asked = Study("x", engine=ModelSpec(url="http://h", model="m"), orm=None, pool=4, max_tokens=200)
    own = SmallEngine.load(shipped("proposer"))
    loaded = Models(Counting(own.model, own.words, "m"), Flaky())
    some = tiny(count=2)
    first = asyncio.run(pooling.rows(loaded.watched(Failures()), asked, some))
    assert first["failed"].null_count() == 0 and first["prm"].null_count() == first.height
    Flaky.down = False
    again = asyncio.run(pooling.rows(loaded.watched(Failures()), asked, some, first))
    assert Counting.asked == 8 and again["failed"].null_count() == 8 and again["prm"].null_count() == 0
    columns = ["problem", "sample", "text", "tokens", "answer", "correct", "logprob", "flops"]
    assert again.select(columns).equals(first.select(columns))
    assert replace(asked, name="y").outside


def test_a_grader_merges_over_pool_and_searches(prm: Path, tmp_path: Path) -> None:
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, prm, more='grader = "form"')
        read = config.read(toml)
        summary = run.run_study(read, tmp_path / "out")
    assert config.from_mapping(__import__("tomllib").loads(config.to_toml(read)), tmp_path) == read
    assert summary["problems"] == 12
    assert os.environ["XDG_CACHE_HOME"]


def test_steps_that_the_verifier_cannot_spell_are_counted_and_told_once(
    prm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "prm"
    shutil.copytree(prm, other)
    words = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(words.replace("▁times", "▁tymes"), encoding="utf-8")
    with in_thread(Server()) as server:
        toml = study(tmp_path, server.url, other, '[[arms]]\nstrategy = "beam"\nbudgets = [4]\n')
        assert main(["study", str(toml), "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    why = "step 1 has 'times', which the verifier's vocabulary cannot spell"
    told = [line for line in found["warnings"] if why in line]
    assert [line.partition(";")[0] for line in told if "pool" in line] == [
        "192 of 192 pool samples were not scored by the PRM"
    ]
    assert "beam@4: something went wrong on 12 of 12 problems" in "".join(told) and len(told) == 2
    assert "incomplete" not in found
    frame = pl.read_parquet(tmp_path / "out" / "shards" / "pool-*.parquet")
    assert frame["prm"].null_count() == 192 == frame["failed"].null_count()
