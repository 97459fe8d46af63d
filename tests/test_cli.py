"""The command line: every command works, and every bad input is one line and a status."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mull
from mull.analysis import run
from mull.cli import main
from mull.cli.main import parser
from mull.study import config
from tiny_models import world

ASKED = "Ann has 3 eggs. How many eggs does Ann have?"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli")
    run.run_study(config.read(world(made)), made / "out", workers=1)
    return made


@pytest.fixture()
def copy(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place, tmp_path / "place")
    return tmp_path / "place"


def models(place: Path) -> list[str]:
    return ["--engine", str(place / "proposer"), "--prm", str(place / "prm")]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command fails with."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("mull: starting")]
    lines = [line for line in lines if " gone:" not in line and " gone," not in line]
    assert captured.out == "" and len(lines) == 1, captured
    assert lines[0].startswith("mull: ")
    return lines[0]


# what works


def test_help_is_instant_and_light() -> None:
    heavy = (
        "import sys; from mull.cli.main import parser; parser(); bad = {'numpy', 'polars', 'rich', 'torch'}"
    )
    subprocess.run([sys.executable, "-c", f"{heavy}; assert not bad & sys.modules.keys()"], check=True)
    shown = subprocess.run(
        [sys.executable, "-m", "mull", "--help"], capture_output=True, text=True, check=True
    )
    assert "example" in shown.stdout


def test_every_command_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [["study"], ["report"], ["policy"], ["policy", "fit"], ["policy", "show"]]
    commands += [["ask"], ["strategies"], ["train"], ["train", "tiny"], ["exchange"], ["replay"], ["paper"]]
    commands += [["allocate"], ["pool", "formats"]]
    commands += [["pool"], ["pool", "import"], ["pool", "show"], ["pool", "record"]]
    for command in commands:
        with pytest.raises(SystemExit) as left:
            parser().parse_args([*command, "--help"])
        assert left.value.code == 0
        shown = capsys.readouterr().out
        assert "example" in shown and f"mull {' '.join(command)}" in shown, command


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert capsys.readouterr().out == f"mull {project['project']['version']}\n"


def test_every_public_name_is_there() -> None:
    for name in mull.__all__:
        assert getattr(mull, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mull.nonsense  # noqa: B018
    assert set(mull.__all__) <= set(dir(mull))


def test_study_prints_the_summary(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", str(place / "study.toml"), "--out", str(place / "out")]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((place / "out" / "summary.json").read_text())
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "Best-of-N weighted" in shown and "report.html" in shown
    assert (place / "out" / "report.html").stat().st_size > 10_000


def test_progress_is_lines_where_there_is_no_terminal(place: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mull",
        "study",
        str(place / "study.toml"),
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("mull: ")
    rest = process.stderr.read()
    assert process.wait() == 0
    assert "units" in rest and "\r" not in rest and "Traceback" not in rest


def test_report_is_the_same_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copy / "out" / "summary.json").read_bytes()
    (copy / "out" / "summary.json").unlink()
    assert main(["report", str(copy / "out")]) == 0
    assert (copy / "out" / "summary.json").read_bytes() == before
    capsys.readouterr()


def test_policy_fit_and_show(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "fit", str(place / "out"), "--out", str(tmp_path / "p.json")]) == 0
    assert (tmp_path / "p.json").read_bytes() == (place / "out" / "policy.json").read_bytes()
    capsys.readouterr()
    assert main(["policy", "show", str(tmp_path / "p.json")]) == 0
    shown = capsys.readouterr().out
    for words in ("oracle difficulty", "predicted difficulty", "charged difficulty", "hardest"):
        assert words in shown


def test_a_policy_at_80_columns_keeps_its_arms_names(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = place / "out" / "policy.json"
    assert main(["policy", "show", str(file)]) == 0
    assert main(["policy", "show", str(file), "--average"]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown and max(map(len, shown.splitlines())) <= 80
    assert main(["policy", "show", str(file), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    policy = json.loads(file.read_text())
    fitted = policy["rows"]
    held = [row for kinds in (fitted, policy["average"]) for kind in kinds.values() for row in kind]
    assert len(rows) == sum(len(row["entries"]) for row in held)
    first = rows[0]
    assert first["difficulty"] == "oracle" and first["bin"] == 0 and first["budget"] == 1
    assert first["at_least"] == fitted["oracle"][0]["thresholds"][0]
    for row in rows:
        arm = row["arm"]
        params = ", ".join(f"{k}={v}" for k, v in arm["params"].items())
        name = f"{arm['strategy']}({params})" if params else arm["strategy"]
        assert f"{name}@{arm['budget']}" in shown


@pytest.mark.parametrize("strategy", ["best_of_n_weighted", "majority", "beam", "dvts"])
def test_ask_by_strategy(place: Path, strategy: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", ASKED, "--budget", "8", "--strategy", strategy, *models(place)]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] in {c["answer"] for c in found["candidates"]}
    assert found["cost"]["generations"] == 8
    searched = strategy in ("beam", "dvts")  # a search's finals are distinct, so there may be fewer
    assert len(found["candidates"]) <= 8 if searched else len(found["candidates"]) == 8
    assert found["answer"] == max(found["weights"], key=lambda a: found["weights"][a])
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert f"answer: {found['answer']}" in shown and "cost: 8 generations" in shown and "Answer: " in shown
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found  # the same seed, the same answer


def test_ask_takes_parameters(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", ASKED, "--budget", "9", "--strategy", "beam", "--param", "width=sqrt", *models(place)]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arm"] == "beam(width=sqrt)@9"


@pytest.mark.parametrize("budget", [1, 2, 4, 8, 16])
def test_ask_by_policy_stays_in_budget(place: Path, budget: int, capsys: pytest.CaptureFixture[str]) -> None:
    policy = str(place / "out" / "policy.json")
    arguments = ["ask", ASKED, "--budget", str(budget), "--policy", policy, *models(place)]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["generations"] <= budget
    assert (found["probe"] > 0) == (found["difficulty"] is not None)
    assert found["events"] == []
    assert main(arguments) == 0
    capsys.readouterr()


def test_ask_by_policy_between_its_budgets_says_what_it_spends(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = str(place / "out" / "policy.json")
    for budget, row in ((5, 4), (300, 16)):
        arguments = ["ask", ASKED, "--budget", str(budget), "--policy", policy, *models(place)]
        assert main(arguments) == 0
        assert f"no row for {budget} generations; it spends {row} at most" in capsys.readouterr().out


def test_ask_shows_the_scores_of_all_candidates(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", ASKED, "--budget", "9", *models(place)]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for answer in found["weights"]:
        values = sorted((c["steps"][-1] for c in found["candidates"] if c["answer"] == answer), reverse=True)
        if len(values) > 1:
            assert f"scores of the others: {' '.join(f'{v:.2f}' for v in values[1:])}" in shown


def test_ask_by_policy_counts_the_probe_among_the_samples(place: Path) -> None:
    from mull.answering import ask, driver
    from mull.policy_file import Entry, Policy, Provenance, Row
    from mull.strategies.base import Arm

    def policy(arm: Arm, budget: int) -> Policy:
        entry = Entry(arm, 0.5, (0.0, 1.0), 8.0, 1.0, 1.0, 1)
        row = Row(budget, (0.5,), (entry, entry), probe=4)
        return Policy({"charged": (row,)}, Provenance("s", "h", "e", "v", 0))

    using = driver(place / "proposer", place / "prm")
    pooled = ask(ASKED + "\n", 8, policy=policy(Arm("best_of_n_weighted", 8), 8), using=using)
    assert (len(pooled.candidates), pooled.probe, pooled.cost.generations) == (8, 4, 8)
    assert any("fitted to e" in event for event in pooled.events)
    assert [c.trace.logprob for c in pooled.candidates[:4]] != [
        c.trace.logprob for c in pooled.candidates[4:]
    ]
    only = ask(ASKED + "\n", 4, policy=policy(Arm("majority", 4), 4), using=using)
    assert (len(only.candidates), only.cost.generations) == (4, 4)
    searched = ask(ASKED + "\n", 8, policy=policy(Arm("beam", 4, (("width", 4),)), 8), using=using)
    assert searched.probe == 4 < len(searched.candidates) <= 8 and searched.cost.generations == 8


def test_ask_says_when_a_problem_cannot_be_spelt(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "What is love?", "--budget", "2", *models(place)]) == 0
    assert "cannot spell this problem" in capsys.readouterr().out


def test_strategies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["beam"]["params"]["width"] == 4 and rows["beam"]["needs"] == "process"
    assert main(["strategies"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in rows)


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m mull strategies --json | true"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.stderr == ""


def test_five_lines_of_python(place: Path, tmp_path: Path) -> None:
    code = f"""
from mull import Study, Source, Arm, run_study
root = {str(place)!r}
problems = Source(root + "/problems.jsonl", count=None)
study = Study("mine", problems, root + "/proposer", root + "/prm", None, pool=8)
print(run_study(study, {str(tmp_path / "out")!r})["base"]["pass_at_1"])
"""
    script = tmp_path / "script.py"  # without an "if __name__" guard, as people write them
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 1


# what is refused


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["study", "--quick", "--full"],
        ["study", "x.toml", "--quick"],
        ["study", "--workers", "0"],
        ["study", "--workers", "two"],
        ["study", "--throughput", "fast"],
        ["study", "--measure", "-1"],
        ["ask", "?", "--budget", "4", "--max-tokens", "0"],
        ["ask", "?"],
        ["ask", "?", "--budget", "many"],
        ["ask", "?", "--budget", "4", "--strategy", "beam", "--policy", "p.json"],
        ["policy"],
        ["report"],
    ],
)
def test_usage_errors_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "usage: mull" in said and "invalid _" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["ask", ASKED, "--budget", "4", "--strategy", "bean"],
            "no strategy 'bean'; known: adaptive_consistency",
        ),
        (
            ["ask", ASKED, "--budget", "6", "--strategy", "beam"],
            "cannot spend 6 generations; allowed: 1, 4, 8",
        ),
        (["ask", ASKED, "--budget", "0"], "at least 1 generation"),
        (["ask", ASKED, "--budget", "4", "--param", "width=2"], "has no parameter 'width'"),
        (["ask", ASKED, "--budget", "4", "--strategy", "beam", "--param", "width"], "must be NAME=VALUE"),
        (
            ["ask", ASKED, "--budget", "4", "--strategy", "beam", "--param", "width=wide"],
            "width is a whole number",
        ),
        (["ask", "  ", "--budget", "4"], "empty prompt"),
        (["ask", ASKED, "--budget", "4", "--engine", "nowhere"], "nowhere is not a checkpoint folder"),
        (
            ["ask", ASKED, "--budget", "4", "--policy", "nowhere.json"],
            "cannot read nowhere.json: No such file",
        ),
        (["policy", "show", "nowhere.json"], "cannot read nowhere.json: No such file"),
        (["policy", "fit", "nowhere"], "nowhere holds no study"),
        (["report", "nowhere"], "nowhere holds no study"),
        (["study", "nowhere.toml"], "cannot read nowhere.toml: No such file"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(arguments, capsys)


def test_a_strategy_that_needs_a_verifier(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(["ask", ASKED, "--budget", "4", "--engine", str(place / "proposer")], capsys)
    assert "needs a verifier" in line


PROBLEM = {"id": "a", "prompt": "Ann?", "answer": "1"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([PROBLEM, PROBLEM], "problem id 'a' occurs twice"),
        ([{**PROBLEM, "prompt": " "}], "problem 'a' has an empty prompt"),
        ([{"id": "a", "prompt": "Ann?"}], "problem 'a' has no gold answer"),
        ([{"id": "a"}], "line 1: needs an object with a text field 'prompt'"),
        (b"\xff\xfe", "problems.jsonl is not UTF-8 text"),
        (b"{", "problems.jsonl, line 1: not JSON"),
        (b"", "there are no problems"),
        ([{**PROBLEM, "id": str(i)} for i in range(4)], "4 problems are too few"),
    ],
)
def test_bad_problems_are_one_line(
    copy: Path, content: bytes | list[dict[str, str]], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = content if isinstance(content, bytes) else "\n".join(map(json.dumps, content)).encode()
    (copy / "problems.jsonl").write_bytes(data)
    assert says in refused(["study", str(copy / "study.toml"), "--out", str(copy / "new")], capsys)
    assert not (copy / "new").exists()


def test_a_study_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.toml").write_bytes(b'name = "\xff"')
    assert "not UTF-8" in refused(["study", str(tmp_path / "s.toml")], capsys)


def test_a_damaged_shard(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = copy / "out" / "shards" / "pool-000.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    for command in (
        ["report", str(copy / "out")],
        ["policy", "fit", str(copy / "out")],
        ["study", str(copy / "study.toml"), "--out", str(copy / "out")],
    ):
        line = refused(command, capsys)
        assert "pool-000.parquet is damaged" in line and "delete it and run the same command again" in line


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_a_damaged_policy(copy: Path, keep: int, capsys: pytest.CaptureFixture[str]) -> None:
    policy = copy / "out" / "policy.json"
    policy.write_bytes(policy.read_bytes()[:keep])
    assert "policy.json" in refused(["policy", "show", str(policy)], capsys)
    assert "policy.json" in refused(["ask", ASKED, "--budget", "4", "--policy", str(policy)], capsys)


def test_another_study_in_the_folder(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copy / "out" / "study.toml").read_bytes()
    text = (copy / "study.toml").read_text()
    (copy / "study.toml").write_text("seed = 9\n" + text)
    line = refused(["study", str(copy / "study.toml"), "--out", str(copy / "out")], capsys)
    assert "holds another study" in line and "--out" in line
    assert (copy / "out" / "study.toml").read_bytes() == before


def test_a_folder_that_cannot_be_written(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:  # to root no folder is read-only: /proc is
        out = Path("/proc/mull")
    else:
        (copy / "locked").mkdir(mode=0o500)
        out = copy / "locked" / "out"
    assert "cannot make" in refused(["study", str(copy / "study.toml"), "--out", str(out)], capsys)
    assert "cannot write" in refused(["policy", "fit", str(copy / "out"), "--out", f"{out}/p.json"], capsys)


def test_out_is_a_file(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(copy / "study.toml")
    assert "cannot use" in refused(["study", out, "--out", out], capsys)


def test_without_the_train_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install 'mull[train]'" in refused(["train", "tiny"], capsys)
