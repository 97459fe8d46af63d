"""Programs as answers, live and in a replay: votes by behaviour, by tests passed, and by both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.cli import main
from mull.drive import Driver, Task
from mull.errors import MullError
from mull.execution import Limits, ProgramGrader
from mull.pools import Asked, behaving, import_pool, read_pool, write_pool
from mull.problems import Problem
from mull.replay import Recorded, replay
from mull.strategies import Arm
from mull.verifiers.unit_tests import UnitTests
from test_drive_grader import Says

CODET = Path(__file__).parent.parent.parent / "shared" / "data" / "codet_humaneval"
TESTS = ["assert f(1) == 2", "assert f(2) == 3", "assert f(0) == 5"]  # the last is a model's mistake
PROBLEM = Problem(
    "p",
    'def f(x):\n    """The next number."""\n',
    "def check(c):\n    assert c(1) == 2 and c(7) == 8 and c(-4) == -3\n",
    {"entry_point": "f", "tests": json.dumps(TESTS)},
)
#: Right three times over; pleasing every public test but wrong; broken; hostile.
PROGRAMS = [
    "    return x + 1\n",
    "    return 5 if x == 0 else x + 1 if x in (1, 2) else 0\n",
    "    return -~x\n",
    "    return (\n",
    "    import os; os._exit(0)\n",
    "    y = 1\n    return x + y\n",
]


@pytest.fixture(scope="module")
def grader() -> Iterator[ProgramGrader]:
    made = ProgramGrader(Limits(cpu_seconds=0.5, idle_seconds=0.5))
    yield made
    made.close()


def run(grader: ProgramGrader, strategy: str, programs: Sequence[str] = PROGRAMS):
    driver = Driver(Says(programs), UnitTests(grader), seed=0, grader=grader)
    (found,) = driver.run([Task(PROBLEM, Arm(strategy, len(programs)))])
    return found


def test_programs_that_do_the_same_are_one_answer(grader: ProgramGrader):
    found = run(grader, "majority")
    assert found.correct and found.selection.weights[found.selection.answer] == 3.0
    names = [c.answer for c in found.candidates]
    assert names[0] == names[2] == names[5] and names[3] is None
    assert "def f(x)" in found.selection.answer  # a whole program, fit to be run


def test_selection_by_tests_alone_falls_for_a_wrong_test(grader: ProgramGrader):
    assert run(grader, "best_of_n").correct is False
    assert run(grader, "best_of_n_weighted").correct is True
    assert run(grader, "agreement").correct is True


@pytest.mark.parametrize("strategy", ["majority", "best_of_n_weighted", "agreement"])
def test_the_order_of_the_programs_does_not_matter(grader: ProgramGrader, strategy: str):
    turned = [run(grader, strategy, PROGRAMS[k:] + PROGRAMS[:k]).selection for k in range(3)]
    assert len({(s.answer, tuple(s.weights.items())) for s in turned}) == 1


def test_the_official_tests_do_not_reach_the_vote(grader: ProgramGrader):
    other = Problem(PROBLEM.id, PROBLEM.prompt, "def check(c):\n    assert c(1) == 0\n", PROBLEM.meta)
    assert grader.canonical(PROGRAMS, PROBLEM) == grader.canonical(PROGRAMS, other)
    assert not grader.correct(PROGRAMS[0], str(other.gold), other)


def test_without_public_tests_equal_texts_are_equal(grader: ProgramGrader):
    bare = Problem("b", PROBLEM.prompt, PROBLEM.gold, {"entry_point": "f"})
    named = grader.canonical([PROGRAMS[0], PROGRAMS[0] + "\n", PROGRAMS[2]], bare)
    assert named[0] == named[1] != named[2]
    assert grader.passed(bare, PROGRAMS) == [None] * len(PROGRAMS)


def test_a_forked_process_has_a_sandbox_of_its_own(grader: ProgramGrader):
    assert grader.correct(PROGRAMS[0], str(PROBLEM.gold), PROBLEM)
    child = os.fork()
    if not child:
        fresh = grader.correct("    return x + 2 - 1\n", str(PROBLEM.gold), PROBLEM)
        grader.close()
        os._exit(0 if fresh else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert grader.correct("    return 1 + x + 0\n", str(PROBLEM.gold), PROBLEM)


def test_what_programs_need_is_asked_for(grader: ProgramGrader):
    with pytest.raises(MullError, match="needs the problem"):
        grader.canonical(["x"])
    with pytest.raises(MullError, match="'tests' must be a JSON list"):
        grader.canonical(["x"], Problem("p", "q", "g", {"entry_point": "f", "tests": "assert f(1)"}))
    with pytest.raises(MullError, match="a test is not Python"):
        grader.correct("x", "assert (", Problem("p", "q"))


def pool(path: Path, seed: int = 0) -> Path:
    """Programs of few behaviours, of which some are right and some wrong."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(5):
        for s in range(20):
            behaviour = "".join(rng.choice(["p", "f"], 2, p=[0.6, 0.4]))
            rows.append(
                {
                    "problem": f"q{p}",
                    "sample": s,
                    "answer": f"program-{s}",
                    "correct": bool(rng.random() < (0.8 if behaviour == "pp" else 0.2)),
                    "behaviour": behaviour,
                    "tokens": int(rng.integers(1, 50)),
                    "scores": {"tests": float(behaviour.count("p")) / 2},
                }
            )
    write_pool(pl.DataFrame(rows), path)
    return path


def test_a_replay_votes_by_behaviour_and_judges_the_program(tmp_path: Path):
    recorded = Recorded.of(read_pool(pool(tmp_path / "pool.parquet")), behaviours=True)
    drawn = recorded.draw(runs=3, samples=20, seed=1)
    data = read_pool(tmp_path / "pool.parquet")
    assert data.behaviours is not None
    one = replay(drawn, Arm("majority", 1))
    firsts = np.take_along_axis(np.broadcast_to(data.correct, (3, 5, 20)), drawn.orders[..., :1], 2)[..., 0]
    assert (one.right == firsts).all()  # one program is itself
    found = replay(drawn, Arm("majority", 20))
    for row in range(5):
        counts = np.bincount(data.behaviours[row])
        for answer, right in zip(found.answer[:, row], found.right[:, row], strict=True):
            sample = int(recorded.texts[row][answer].removeprefix("program-"))
            assert counts[data.behaviours[row, sample]] == counts.max()
            assert right == data.correct[row, sample]
    tests = replay(drawn, Arm("best_of_n", 20))
    assert all(
        data.scores["tests"][row, int(recorded.texts[row][a].removeprefix("program-"))]
        == data.scores["tests"][row].max()
        for row in range(5)
        for a in tests.answer[:, row]
    )


def test_behaviours_that_are_not_recorded_are_found_by_running(tmp_path: Path, grader: ProgramGrader):
    rows = [
        {"problem": "p", "sample": s, "answer": text, "correct": s in (0, 2, 5), "prompt": PROBLEM.prompt,
         "gold": PROBLEM.gold, "meta": json.dumps(dict(PROBLEM.meta))}
        for s, text in enumerate(PROGRAMS)
    ]  # fmt: skip
    write_pool(pl.DataFrame(rows), tmp_path / "pool.parquet")
    data = behaving(read_pool(tmp_path / "pool.parquet", large=True), grader)
    assert data.behaviours is not None
    (kinds,) = data.behaviours.tolist()
    assert kinds[0] == kinds[2] == kinds[5] and kinds[3] == -1
    with pytest.raises(MullError, match="neither what its programs did nor the prompts"):
        behaving(read_pool(tmp_path / "pool.parquet"), grader)


def test_the_recorded_programs_of_codegen(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    if not CODET.is_dir():
        pytest.skip(f"no recorded programs at {CODET}")
    path = tmp_path / "pool.parquet"
    import_pool(Asked(CODET), "codet_humaneval", path)
    rules = "majority@1,majority@100,best_of_n@100,best_of_n_weighted@100,agreement@100"
    command = ["replay", str(path), "--grader", "code", "--score", "tests", "--runs", "2", "--rules", rules]
    assert main([*command, "--json", "--draws", "100"]) == 0
    found = {row["strategy"]: row for row in json.loads(capsys.readouterr().out)["rules"]}
    # The expected values split ties evenly; a replay breaks them, so it is within two standard errors.
    for strategy, expected in (("best_of_n", 0.2385), ("majority", 0.2995), ("best_of_n_weighted", 0.3704)):
        assert abs(found[strategy]["accuracy"] - expected) < 0.035
    assert found["best_of_n_weighted"]["accuracy"] > found["majority"]["accuracy"]
