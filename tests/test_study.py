"""A study ends the same however often it is cut off, and never touches another's folder."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mull.analysis import evidence as analyse
from mull.analysis import run
from mull.analysis.charged import charged_table
from mull.drive import Task
from mull.errors import MullError
from mull.problems import Problem
from mull.strategies.base import Arm, start
from mull.study import config, crew, folder, models, store, units
from mull.study.builtin import builtin
from mull.study.config import Source, Study
from mull.study.plan import canonical, live, plan
from tiny_models import world

OUTPUTS = ("summary.json", "policy.json", "trees.json")


def outputs(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("world")
    world(made)
    return made


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    run.run_study(config.read(place / "study.toml"), place / "out", workers=1)
    return place / "out"


def command(place: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "mull", "study", str(place / "study.toml"), "--out", str(out), *more]


# what is asked


@pytest.mark.parametrize("size", ["quick", "default", "full"])
def test_built_in_studies_are_written_and_read_back(size: str, tmp_path: Path) -> None:
    study = builtin(size)  # type: ignore[arg-type]
    (tmp_path / "study.toml").write_text(config.to_toml(study))
    found = config.read(tmp_path / "study.toml")
    assert replace(found, arms=()) == replace(study, arms=())
    assert set(found.arms) == set(study.arms)


def test_a_user_study_is_written_and_read_back(place: Path, tmp_path: Path) -> None:
    study = config.read(place / "study.toml")
    (tmp_path / "again.toml").write_text(config.to_toml(study))
    assert config.read(tmp_path / "again.toml") == study


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "x"\npools = 4', "no field 'pools'"),
        ("pool = 4", "needs a name"),
        ('name = "x"\npool = 5', "power of two"),
        ('name = "x"\npool = true', "must be of type int"),
        ('name = "x"\ntemperature = 0', "above 0"),
        ('name = "x"\nseed = -1', "not be negative"),
        ('name = "x"\nproblems = { count = 3 }', "too few"),
        ('name = "x"\nproblems = { split = "all" }', "one of train, validation, test"),
        ('name = "x"\n[[arms]]\nstrategy = "beam"', "list of 'budgets'"),
        ('name = "x"\n[[arms]]\nstrategy = "bean"\nbudgets = [4]', "there is no strategy 'bean'"),
        (
            'name = "x"\n[[arms]]\nstrategy = "beam"\nparams = { wide = 4 }\nbudgets = [4]',
            "no parameter 'wide'",
        ),
        ('name = "x"\n[[arms]]\nstrategy = "beam"\nbudgets = [6]', "allowed: 1, 4, 8"),
        (
            'name = "x"\nverifiers = {}\n[[arms]]\nstrategy = "beam"\nbudgets = [4]',
            "needs a process verifier",
        ),
        ('name = "x"\npool = 4\n[[arms]]\nstrategy = "majority"\nbudgets = [8]', "powers of two up to 4"),
        ("name = ", "not TOML"),
    ],
)
def test_a_bad_study_is_one_clear_error(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(MullError, match=says) as caught:
        config.read(tmp_path / "bad.toml")
    assert "bad.toml" in str(caught.value) and "\n" not in str(caught.value).strip()


def test_the_hash_is_of_what_is_asked(place: Path, tmp_path: Path) -> None:
    study = config.read(place / "study.toml")
    problems = config.load_problems(study.problems.source)
    first = config.content_hash(study, problems)
    other = tmp_path / "moved"
    world(other)
    assert config.content_hash(config.read(other / "study.toml"), problems) == first  # paths do not count
    assert config.content_hash(replace(study, name="renamed", arms=study.arms[::-1]), problems) == first
    for changed in (replace(study, seed=1), replace(study, pool=32), replace(study, arms=study.arms[:1])):
        assert config.content_hash(changed, problems) != first
    assert config.content_hash(study, problems[:-1]) != first


def test_widths_that_are_the_root_share_a_run() -> None:
    four, root = Arm("beam", 16, (("width", 4),)), Arm("beam", 16, (("width", "sqrt"),))
    assert canonical(root) == four
    assert canonical(Arm("lookahead", 64, (("k", 3), ("width", "sqrt")))).params == (("k", 3), ("width", 4))
    assert live(Study("x", arms=(four, root, Arm("majority", 16)))) == (four,)
    for size in ("quick", "default", "full"):
        for arm in live(builtin(size)):  # type: ignore[arg-type]
            start(arm, Problem("p", "?")).close()


def test_a_plan_covers_every_problem_once() -> None:
    study = replace(builtin(), problems=Source(count=23))
    problems = [Problem(str(i), "?", "1") for i in range(23)]
    units_ = plan(study, problems, "h")
    assert len({unit.file for unit in units_}) == len({unit.key for unit in units_}) == len(units_)
    for arm in (None, *live(study)):
        asked = [p.id for unit in units_ if unit.arm == arm for p in unit.problems]
        assert asked == [p.id for p in problems]


# what is recorded


def test_the_pool_is_a_prefix_of_a_larger_one(place: Path) -> None:
    study = config.read(place / "study.toml")
    problems = config.load_problems(study.problems.source)[:3]
    loaded = models.load(study)
    small = units.pool(loaded.fresh(), replace(study, pool=8), problems)
    large = units.pool(loaded.fresh(), replace(study, pool=32), problems)
    assert small.equals(large.filter(large["sample"] < 8))


def test_sample_0_is_what_every_arm_of_one_generation_draws(place: Path) -> None:
    study = config.read(place / "study.toml")
    problems = config.load_problems(study.problems.source)
    loaded = models.load(study)
    first = units.pool(loaded.fresh(), study, problems).gather_every(study.pool)["answer"].to_list()
    for name in ("single", "majority", "best_of_n_weighted", "beam"):
        results = loaded.fresh().driver(study).run([Task(p, Arm(name, 1)) for p in problems])
        assert [r.selection.answer for r in results] == first


def test_a_units_cost_does_not_depend_on_what_ran_before(place: Path, tmp_path: Path) -> None:
    study = config.read(place / "study.toml")
    problems = config.load_problems(study.problems.source)
    loaded = models.load(study)
    found = plan(study, problems, "h")
    for unit in found[1:3]:
        units.record(loaded, study, unit, tmp_path / "a")
    for unit in (found[0], *found[2:0:-1]):
        units.record(loaded, study, unit, tmp_path / "b")
    for unit in found[1:3]:
        a, b = (tmp_path / side / "shards" / unit.file for side in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_the_whole_pools_cost_is_what_the_driver_would_have_spent(finished: Path) -> None:
    recorded = folder.open_folder(finished)
    evidence = analyse.gather(recorded)
    loaded = models.load(recorded.study)
    arm = Arm("best_of_n_weighted", recorded.study.pool)
    live_cost = units.run(loaded.fresh(), recorded.study, arm, recorded.problems)
    whole = analyse.pooled(evidence, "best_of_n_weighted", "prm")[recorded.study.pool]
    # other seeds, so the totals are alike and not equal; the exact check is on the pool's own samples
    assert whole.flops.sum() == pytest.approx(
        (live_cost["flops"] + live_cost["verifier_flops"]).sum(), rel=0.2
    )
    rows = evidence.samples.filter(evidence.samples["problem"] == recorded.problems[0].id)
    distinct = rows.unique("text")
    assert whole.completion_tokens[0] == rows["tokens"].sum()
    assert whole.verifier_tokens[0] == pytest.approx(distinct["prm_tokens"].sum() + rows["prompt_tokens"][0])
    spent = (
        rows["flops"].sum()
        + rows["prompt_flops"][0]
        + distinct["prm_flops"].sum()
        + rows["prm_prompt_flops"][0]
    )
    assert whole.flops[0] == pytest.approx(spent)


def test_pooled_costs_are_the_engines_and_the_verifiers_own(place: Path) -> None:
    from mull.engines.base import Job
    from mull.trace import Trace

    study = config.read(place / "study.toml")
    problems = config.load_problems(study.problems.source)[:2]
    fresh = models.load(study).fresh()
    jobs = [Job(Trace(p), None, 1.0, i, 24) for p in problems for i in range(8)]
    made = fresh.engine.sample_now(jobs)
    assert fresh.prm is not None
    verdicts = fresh.prm.score_now([c.trace for c in made])
    prompts = [len(fresh.engine.words.prompt(p.prompt)) for p in problems]
    own = sum(
        fresh.engine.size.flops(len(c.trace.tokens), prompts[i // 8] - 1) for i, c in enumerate(made)
    ) + sum(fresh.engine.size.flops(p - 1, 0) for p in prompts)
    assert sum(c.cost.flops for c in made) == pytest.approx(own)
    different = {(c.trace.problem.id, c.trace.tokens) for c in made}
    tokens = sum(len(t) for _, t in different) + sum(prompts)
    assert sum(v.cost.verifier_tokens for v in verdicts) == tokens


def test_mean_costs_of_subsets_are_exact(finished: Path) -> None:
    evidence = analyse.gather(folder.open_folder(finished))
    size = evidence.pool.samples
    one, whole = evidence.reading("prm", 1), evidence.reading("prm", size)
    assert one[0] == pytest.approx(evidence.grid("prm_tokens").mean(axis=1))
    assert (evidence.reading("prm", 4)[0] <= 4 * one[0] + 1e-9).all()
    assert (whole[0] <= size * one[0] + 1e-9).all()
    rng, row = np.random.default_rng(0), evidence.samples.head(size)
    texts, tokens = row["text"].to_list(), row["prm_tokens"].to_list()
    drawn = [sum({texts[i]: tokens[i] for i in rng.permutation(size)[:4]}.values()) for _ in range(4000)]
    assert evidence.reading("prm", 4)[0][0] == pytest.approx(np.mean(drawn), rel=0.03)


# what comes out of it


def test_the_summary_keeps_to_its_contract(finished: Path) -> None:
    from mull.report.page import check

    summary = json.loads((finished / "summary.json").read_text())
    check(summary)
    for arm in summary["arms"]:
        low, high = arm["ci95"]
        assert 0 <= low <= arm["accuracy"] + 1e-9 and arm["accuracy"] <= high + 1e-9 <= 1 + 2e-9
        assert len(arm["by_bin"]) == len(arm["by_bin_predicted"]) == 5
        assert arm["flops"] > 0 and arm["generations"] > 0
    ones = {a["accuracy"] for a in summary["arms"] if a["budget"] == 1 and a["strategy"] != "greedy"}
    assert all(value == pytest.approx(summary["base"]["pass_at_1"]) for value in ones)
    sizes = summary["difficulty"]["oracle"]["bin_sizes"]
    for arm in summary["arms"]:
        mean = sum(s * a for s, a in zip(sizes, arm["by_bin"], strict=True)) / sum(sizes)
        assert mean == pytest.approx(arm["accuracy"])
    for row in summary["compute_optimal"]:
        for name in ("oracle", "predicted", "charged"):
            assert row[f"{name}_generations"] <= row["budget"] + 1e-9
            assert len(row[f"{name}_arms"]) == 5
        votes = [a for a in summary["arms"] if a["strategy"] == "majority" and a["budget"] == row["budget"]]
        assert row["majority_completion_tokens"] == votes[0]["completion_tokens"]
        for name in ("oracle", "predicted", "charged", "best_of_n"):
            assert 0 < row[f"{name}_completion_tokens"] < row[f"{name}_flops"]
    trees = json.loads((finished / "trees.json").read_text())
    assert len(trees) == 6 and all(len(tree["nodes"]) > 4 for tree in trees)


def test_an_arm_by_two_names_is_in_the_summary_twice(finished: Path) -> None:
    arms = json.loads((finished / "summary.json").read_text())["arms"]
    beams = [a for a in arms if a["strategy"] == "beam" and a["budget"] == 16]
    assert [a["params"] for a in beams] == [{"width": 4}, {"width": "sqrt"}]
    assert beams[0]["accuracy"] == beams[1]["accuracy"]


def test_charged_outcomes_are_votes_over_probes_and_finals(finished: Path) -> None:
    evidence = analyse.gather(folder.open_folder(finished))
    arm = Arm("beam", 4, (("width", 4),))
    table = charged_table(evidence, [arm])
    plain = next(i for i, v in enumerate(table.variants) if v.arm == arm and v.probe == 0)
    assert (table.outcome[plain] == evidence.ran(arm).accuracy).all()
    four = next(i for i, v in enumerate(table.variants) if v.arm == arm and v.probe == 4)
    assert table.variants[four].total == 8
    assert (table.tokens[four] > table.tokens[plain]).all()
    from mull.analysis.charged import RUNS
    from mull.study import estimators

    orders = estimators.draw(evidence.pool.samples, RUNS, seed=evidence.recorded.study.seed + 1).ranks
    for row, vote in enumerate(evidence.votes(arm)):
        for r in (0, 7):
            weights: dict[str, float] = {}
            for answer, score in zip(vote.answers, vote.scores, strict=True):
                if answer is not None:
                    weights[answer] = weights.get(answer, 0) + score
            for sample in np.flatnonzero(orders[:, r] < 4):
                kind = int(evidence.pool.answers[row, sample])
                if kind >= 0:
                    name = evidence.names[row][kind]
                    weights[name] = weights.get(name, 0) + float(evidence.pool.scores["prm"][row, sample])
            top = max(weights.values())
            best = [a for a in weights if weights[a] >= top * (1 - estimators.TIE)]
            expected = best.count(str(evidence.recorded.problems[row].gold)) / len(best)
            assert table.outcome[four, r, row] == pytest.approx(expected)


def test_a_study_without_verifiers_has_a_summary(place: Path, tmp_path: Path) -> None:
    study = replace(config.read(place / "study.toml"), prm=None, orm=None, arms=(Arm("greedy", 1),))
    summary = run.run_study(study, tmp_path / "out", workers=1)
    assert summary["compute_optimal"][0]["predicted"] is None
    assert any("no verifier" in w for w in summary["warnings"])
    from mull.report import table, write

    write(tmp_path / "out")
    table(summary)


def test_lost_problems_are_written_again_and_another_study_is_refused(place: Path, tmp_path: Path) -> None:
    study = config.read(world(tmp_path, pool=4, arms=""))
    run.run_study(study, tmp_path / "out", workers=1)
    before = outputs(tmp_path / "out")
    (tmp_path / "out" / "problems.parquet").unlink()
    with pytest.raises(MullError, match=r"problems\.parquet is missing; run the same study again"):
        run.report(tmp_path / "out")
    with pytest.raises(MullError, match="holds another study"):
        run.run_study(replace(study, seed=9), tmp_path / "out", workers=1)
    run.run_study(study, tmp_path / "out", workers=1)
    assert outputs(tmp_path / "out") == before


def test_problems_that_the_small_models_cannot_spell_are_told(finished: Path, tmp_path: Path) -> None:
    def told(out: Path) -> list[str]:
        return [line for line in run.report(out)["warnings"] if "cannot spell" in line]

    assert told(finished) == []
    world(tmp_path, pool=4, arms="")
    lines = (tmp_path / "problems.jsonl").read_text().splitlines()
    spoilt = [line.replace("Ann has", "Zoë has") for line in lines[:3]] + lines[3:]
    (tmp_path / "problems.jsonl").write_text("\n".join(spoilt) + "\n")
    run.run_study(config.read(tmp_path / "study.toml"), tmp_path / "out", workers=1)
    (warning,) = told(tmp_path / "out")
    assert warning.startswith("3 of 12 problems") and "proposer and the prm and the orm" in warning
    assert "'Zoë'" in warning


# interruptions


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_and_gone_on_is_the_same(
    place: Path, finished: Path, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    out = tmp_path / "out"
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(command(place, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = kills + rng.randrange(3)  # shards on the disk before the next kill
        while kills < 5 and process.poll() is None:
            if (out / "study.toml").exists() and len(list(out.glob("shards/*.parquet"))) >= wanted:
                time.sleep(rng.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        if process.wait(120) == -signal.SIGKILL:
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills
    assert outputs(out) == outputs(finished)
    for shard in (finished / "shards").iterdir():
        assert (out / "shards" / shard.name).read_bytes() == shard.read_bytes()
    assert not list(out.rglob("*.tmp"))


def test_killed_between_writing_and_renaming(place: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = """
import os, sys
from pathlib import Path
from mull.study import config, models, units, folder
out, toml = Path(sys.argv[1]), Path(sys.argv[2])
study = config.read(toml)
problems = config.load_problems(study.problems.source)
loaded = models.load(study)
recorded = folder.begin(out, study, loaded.names, problems, config.content_hash(study, problems))
Path.replace = lambda *_: os.kill(os.getpid(), 9)
units.record(loaded, study, recorded.units[0], out)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(out), str(place / "study.toml")], check=False)
    assert killed.returncode == -9 and list(out.rglob(".*.tmp"))
    run.run_study(config.read(place / "study.toml"), out, workers=1)
    assert outputs(out) == outputs(finished) and not list(out.rglob(".*.tmp"))


def test_the_number_of_workers_changes_nothing(place: Path, finished: Path, tmp_path: Path) -> None:
    run.run_study(config.read(place / "study.toml"), tmp_path / "out", workers=3)
    assert outputs(tmp_path / "out") == outputs(finished)


def test_workers_end_with_the_study(place: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(place, tmp_path / "out", "--workers", "2"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    children: list[str] = []
    for _ in range(200):
        time.sleep(0.02)
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = found.read_text().split() if found.exists() else []
        if len(children) == 2 or process.poll() is not None:
            break
    if len(children) < 2:
        pytest.skip("the study was over before its workers were seen")
    process.kill()
    process.communicate()
    for _ in range(100):
        alive = [c for c in children if Path(f"/proc/{c}").exists() and not _zombie(c)]
        if not alive:
            return
        time.sleep(0.05)
    raise AssertionError(f"workers {alive} outlived the study")


def _zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    world(tmp_path, problems=100, pool=1024)
    process = subprocess.Popen(
        command(tmp_path, tmp_path / "out"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # A shell's background job ignores the signal, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "starting" in line and "units" in line:
            break
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal's Ctrl-C does
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.strip().splitlines()[-1] == "mull: interrupted; the same command goes on"
    assert "Traceback" not in told


def test_a_finished_study_is_only_reported(
    place: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = outputs(finished)

    def refuse(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(crew, "Crew", refuse)
    run.run_study(config.read(place / "study.toml"), finished)
    assert outputs(finished) == before


def test_another_study_is_refused(place: Path, finished: Path) -> None:
    before = outputs(finished)
    with pytest.raises(MullError, match="holds another study"):
        run.run_study(replace(config.read(place / "study.toml"), seed=5), finished)
    assert outputs(finished) == before


def test_a_folder_that_is_no_study_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(MullError, match="not empty and holds no study"):
        run.run_study(config.read(place / "study.toml"), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_a_damaged_shard_stops_the_study_and_is_left_alone(
    place: Path, finished: Path, tmp_path: Path
) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(finished, out)
    shard = out / "shards" / "beam-width-4-4-000.parquet"
    shard.write_bytes(shard.read_bytes()[:500])
    for again in (lambda: run.run_study(config.read(place / "study.toml"), out), lambda: run.report(out)):
        with pytest.raises(MullError, match=r"beam-width-4-4-000\.parquet is damaged.*delete it"):
            again()
    assert shard.stat().st_size == 500
    shard.unlink()
    with pytest.raises(MullError, match="not finished: 1 of"):
        run.report(out)
    run.run_study(config.read(place / "study.toml"), out, workers=1)
    assert outputs(out) == outputs(finished)


def test_a_worker_that_dies_is_one_line(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MullError, match=r"a worker died .* the same command goes on"):
        run.run_study(config.read(place / "study.toml"), tmp_path / "out", workers=1)


def test_a_disk_that_fills_up_is_one_line(place: Path, tmp_path: Path) -> None:
    study = config.read(place / "study.toml")
    out = tmp_path / "out"
    problems = config.load_problems(study.problems.source)
    folder.begin(out, study, models.load(study).names, problems, config.content_hash(study, problems))
    (out / "shards").symlink_to("/dev/full")
    with pytest.raises(MullError, match="cannot write"):
        run.run_study(study, out, workers=1)


def test_a_summary_reads_every_shard_it_is_made_of(finished: Path) -> None:
    recorded = folder.open_folder(finished)
    assert recorded.missing() == ()
    for unit in recorded.units:
        assert recorded.read(unit)["problem"].n_unique() == len(unit.problems)
    assert store.read(finished / "problems.parquet", "problems", store.PROBLEMS).height == 12
