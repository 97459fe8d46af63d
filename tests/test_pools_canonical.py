"""A pool's answers as a grader has them, and what that does to votes and labels."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.cli import main
from mull.grading import grader, preset
from mull.pools import Asked, canonicalised, import_pool, read_pool, summarize, write_pool
from mull.replay import Recorded

BOINF = Path(__file__).parent.parent.parent / "shared" / "data" / "boinf"
ANSWERS = ["1/2", "0.5", "3", r"\frac{1}{2}", "3", None]


def pool(path: Path, *, gold: str | None = "0.5", right: list[bool] | None = None) -> Path:
    rows = [
        {"problem": name, "sample": s, "answer": answer, "gold": gold, "tokens": 10,
         "correct": right[s] if right else answer == gold}
        for name in ("a", "b")
        for s, answer in enumerate(ANSWERS)
    ]  # fmt: skip
    write_pool(pl.DataFrame(rows), path)
    return path


def test_equal_answers_are_one_and_graded(tmp_path: Path):
    bare = read_pool(pool(tmp_path / "p.parquet"))
    found = canonicalised(bare, preset("form"))
    assert found.answers[0].tolist() == [0, 0, 1, 0, 1, -1]
    assert found.correct[0].tolist() == [True, True, False, True, False, False]
    assert found.judged.all() and bare.correct.sum() == 2
    assert "merged 4 spellings" in found.notes[-2] and "calls 4 samples right" in found.notes[-1]
    assert summarize(bare)["majority@k"]["6"] == 0.0 and summarize(found)["majority@k"]["6"] == 1.0
    assert Recorded.of(found).texts[0] in {("0.5", "3"), ("3", "0.5")}


def test_the_vote_does_not_depend_on_the_gold_answer(tmp_path: Path):
    one = canonicalised(read_pool(pool(tmp_path / "p.parquet", gold="3")), preset("form"))
    other = canonicalised(read_pool(pool(tmp_path / "q.parquet", gold="7")), preset("form"))
    assert (one.answers == other.answers).all() and one.frame["answer"].equals(other.frame["answer"])


def test_without_gold_a_class_has_the_label_of_most_of_its_samples(tmp_path: Path):
    labels = [True, True, False, False, False, False]
    found = canonicalised(read_pool(pool(tmp_path / "p.parquet", gold=None, right=labels)), preset("form"))
    assert found.correct[0].tolist() == [True, True, False, True, False, False]


def test_the_order_of_samples_does_not_matter(tmp_path: Path):
    frame = pl.DataFrame(
        {"problem": ["a"] * 6, "sample": list(range(6)), "answer": ANSWERS[::-1], "gold": ["0.5"] * 6}
    )
    write_pool(frame, tmp_path / "q.parquet")
    one = canonicalised(read_pool(pool(tmp_path / "p.parquet")), preset("form"))
    other = canonicalised(read_pool(tmp_path / "q.parquet"), preset("form"))
    assert (one.answers[0] == other.answers[0][::-1]).all()


def test_an_import_can_be_graded(tmp_path: Path):
    lines = (
        '{"problem": "a", "answer": "1/2", "gold": "0.5"}\n{"problem": "a", "answer": "2", "gold": "0.5"}\n'
    )
    (tmp_path / "in.jsonl").write_text(lines + '{"problem": "b", "answer": "x", "correct": true}\n')
    asked = Asked(tmp_path / "in.jsonl")
    import_pool(asked, "jsonl", tmp_path / "bare.parquet")
    import_pool(asked, "jsonl", tmp_path / "graded.parquet", grader=grader("form"))
    bare, graded = (pl.read_parquet(tmp_path / f"{n}.parquet") for n in ("bare", "graded"))
    assert bare["correct"].to_list()[:2] == [False, False]
    assert graded["correct"].to_list() == [True, False, bare["correct"][2]]
    assert graded["answer"].to_list() == bare["answer"].to_list()


def test_replay_takes_a_grader(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = str(pool(tmp_path / "p.parquet"))
    assert main(["replay", path, "--grader", "form", "--rules", "majority@6", "--runs", "2"]) == 0
    said = capsys.readouterr().out
    assert "majority@6  1.0000" in said and "note: the grader merged 4 spellings" in said
    assert main(["replay", path, "--grader", "nobody"]) != 0
    assert "there is no grader 'nobody'; known: math" in capsys.readouterr().err


def test_recorded_answers_under_the_usual_form(tmp_path: Path):
    if not BOINF.is_dir():
        pytest.skip(f"no recorded answers at {BOINF}")
    source = Asked(BOINF / "analysis_aime2024_Datarus-R1-14B-preview.jsonl.gz")
    import_pool(source, "boinf", tmp_path / "p.parquet")
    bare = read_pool(tmp_path / "p.parquet")
    found = canonicalised(bare, preset("form"))
    # Contest answers are integers: hardly anything to merge, and hardly a label that changes.
    assert np.mean(found.correct != bare.correct) < 0.002
