"""Pools: what is imported is what is read, and what is wrong is said in one line."""

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.cli import main
from mull.cli.main import parser
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.pools import (
    Asked,
    Info,
    Layout,
    Recording,
    adapters,
    import_pool,
    load_problem_set,
    read_pool,
    record,
    summarize,
    warnings,
    write_pool,
)
from mull.pools import record as recorder
from mull.pools.adapters import source
from mull.pools.files import parts_of, seal_of
from mull.pools.schema import CORE, to_frame
from mull.pools.steps import auroc, binary, first_below, first_error
from mull.pools.vote import chosen_class
from mull.study.estimators import best_of_n, majority, pass_at_k
from mull.study.pools import Pool
from mull.tiny.load import problems as tiny_problems
from mull.verifiers.small import SmallVerifier
from tiny_models import world

#: Two problems with four samples, every kind of column filled.
ROWS: list[dict[str, Any]] = [
    {
        "problem": name,
        "sample": at,
        "answer": answer,
        "correct": answer == "7",
        "tokens": 10 * at + 5,
        "text": f"{name}: I say {answer} ({at})",
        "logprob": -0.5 * (at + 1),
        "finish": "stop",
        "error": None,
        "prompt": f"What is {name}?",
        "gold": "7",
        "meta": '{"level": 3}',
        "behaviour": "pf" if at % 2 else "pp",
        "steps": ["first\n", f"Answer: {answer}"],
        "step_labels": [1.0, None if answer is None else float(answer == "7")],
        "token_logprobs": [-0.25, -0.25 * (at + 1)],
        "scores": {"rm": 0.25 * at, "other": None if at == 0 else 0.5},
        "step_scores": {"prm": [0.5, 0.25 * at]},
    }
    for name, answers in (("a", ["7", "8", "7", None]), ("b", ["9", "9", "7", "ä\n\U0001f9ee"]))
    for at, answer in enumerate(answers)
]
LAYOUT = Layout(("rm", "other"), ("prm",), ("behaviour", "steps", "step_labels", "token_logprobs"))


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def imported(rows: list[dict[str, Any]], place: Path, **mapping: str) -> Path:
    out = place / "pool.parquet"
    import_pool(Asked(lines(place / "rows.jsonl", rows), mapping), "jsonl", out)
    return out


def plain(count: int = 4, **more: Any) -> list[dict[str, Any]]:
    """A sound pool of two problems: right, wrong, right, ..."""
    return [
        {
            "problem": name,
            "answer": str(at % 2),
            "correct": at % 2 == 0,
            "tokens": 30 + 7 * at + len(name),
            **more,
        }
        for name in ("a", "bb")
        for at in range(count)
    ]


# what goes in comes out


def test_every_column_survives_the_file(tmp_path: Path) -> None:
    frame = to_frame(ROWS, LAYOUT)
    made = write_pool(frame, tmp_path / "p.parquet")
    assert (made.rows, made.problems) == (8, 2)
    assert pl.read_parquet(tmp_path / "p.parquet").equals(frame)
    assert read_pool(tmp_path / "p.parquet", large=True).frame.drop("text_hash", strict=False).equals(frame)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
def test_foreign_files_give_the_same_pool(suffix: str, tmp_path: Path) -> None:
    frame = to_frame(ROWS, LAYOUT)
    path = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        lines(path, ROWS)
    import_pool(Asked(path), suffix.split(".")[0], tmp_path / "pool.parquet")
    assert pl.read_parquet(tmp_path / "pool.parquet").equals(frame)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_row_a_problem_is_a_row_a_sample(form: str, tmp_path: Path) -> None:
    shared = ("problem", "prompt", "gold", "meta")
    nested: dict[str, dict[str, Any]] = {}
    for row in ROWS:
        held = nested.setdefault(row["problem"], {name: row[name] for name in shared})
        for name, value in row.items():
            if name in ("scores", "step_scores"):
                for verifier, score in value.items():
                    held.setdefault(f"{name}_{verifier}", []).append(score)
            elif name not in (*shared, "sample"):
                held.setdefault(name, []).append(value)
    path = lines(tmp_path / "rows.jsonl", list(nested.values()))
    if form == "parquet":
        path = tmp_path / "rows.parquet"
        pl.DataFrame(list(nested.values()), infer_schema_length=None).write_parquet(path)
    mapping = {"scores.rm": "scores_rm", "scores.other": "scores_other", "step_scores.prm": "step_scores_prm"}
    import_pool(Asked(path, mapping), form, tmp_path / "pool.parquet")
    assert pl.read_parquet(tmp_path / "pool.parquet").equals(to_frame(ROWS, LAYOUT))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_fields_are_mapped_by_name_and_by_path(form: str, tmp_path: Path) -> None:
    rows = [
        {"id": 3, "out": {"final": 7.0, "usage": {"n": 12}}, "ok": 1, "reward": 0.5},
        {"id": 3, "out": {"final": 8.0, "usage": {"n": 13}}, "ok": 0, "reward": 0.25},
    ]
    path = lines(tmp_path / "rows.jsonl", rows)
    if form == "parquet":
        path = tmp_path / "rows.parquet"
        pl.DataFrame(rows).write_parquet(path)
    mapping = {
        "problem": "id",
        "answer": "out.final",
        "tokens": "out.usage.n",
        "correct": "ok",
        "scores.rm": "reward",
    }
    import_pool(Asked(path, mapping), form, tmp_path / "pool.parquet")
    data = read_pool(tmp_path / "pool.parquet")
    assert data.names == ("3",)
    assert data.tokens.tolist() == [[12, 13]] and data.correct.tolist() == [[True, False]]
    assert data.scores["rm"].tolist() == [[0.5, 0.25]]
    assert data.frame["answer"].to_list() == (["7", "8"] if form == "jsonl" else ["7.0", "8.0"])


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_answers_without_labels_are_graded_against_the_gold(form: str, tmp_path: Path) -> None:
    rows = [{"problem": "a", "answer": answer, "gold": "1,000"} for answer in ("1000", "1000.0", "7", None)]
    path = lines(tmp_path / "rows.jsonl", rows)
    if form == "parquet":
        path = tmp_path / "rows.parquet"
        pl.DataFrame(rows).write_parquet(path)
    import_pool(Asked(path), form, tmp_path / "pool.parquet")
    data = read_pool(tmp_path / "pool.parquet")
    assert data.correct.tolist() == [[True, True, False, False]]
    assert data.answers[0, 0] == data.answers[0, 1] != data.answers[0, 2] and data.answers[0, 3] == -1


def test_answers_can_be_taken_from_texts(tmp_path: Path) -> None:
    rows = [{"problem": "a", "text": f"so\nAnswer: {n}", "gold": "2"} for n in (1, 2)]
    path = lines(tmp_path / "rows.jsonl", [*rows, {"problem": "a", "text": "no idea", "gold": "2"}])
    import_pool(Asked(path, {}, {"answer": "text"}), "jsonl", tmp_path / "pool.parquet")
    frame = pl.read_parquet(tmp_path / "pool.parquet")
    assert frame["answer"].to_list() == ["1", "2", None]
    assert frame["correct"].to_list() == [False, True, False]


def test_samples_are_numbered_by_problem_however_they_come(tmp_path: Path) -> None:
    rows = [{"problem": name, "answer": str(at), "correct": False} for at in range(5) for name in "cab"]
    frame = pl.read_parquet(imported(rows, tmp_path))
    assert (
        frame.group_by("problem", maintain_order=True).agg("sample")["sample"].to_list()
        == [list(range(5))] * 3
    )
    data = read_pool(tmp_path / "pool.parquet")
    assert data.names == ("c", "a", "b") and data.answers.tolist() == [list(range(5))] * 3


def test_numbering_goes_on_from_batch_to_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mull.pools import files

    monkeypatch.setattr(files, "ROWS", 3)
    frames = [
        pl.DataFrame({"problem": ["a"] * k, "answer": ["x"] * k, "correct": [False] * k}) for k in (2, 3, 2)
    ]
    made = files.write(frames, tmp_path / "p.parquet", Layout(), Info())
    assert made.rows == 7
    assert pl.read_parquet(tmp_path / "p.parquet")["sample"].to_list() == list(range(7))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_large_import_is_many_row_groups_and_little_memory(tmp_path: Path) -> None:
    """A tenth of a million samples of 2 kB texts is 200 MB; the process may not grow by as much."""
    code = """
import resource, sys
from pathlib import Path
import polars as pl
from mull.pools import Info, Layout
from mull.pools import files
def frames():
    for at in range(100):
        text = [f"{at} {i} " + "x" * 2000 for i in range(1000)]
        yield pl.DataFrame({"problem": [f"p{at}"] * 1000, "answer": ["1"] * 1000, "text": text})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
next(frames())
before = peak()
print(files.write(frames(), Path(sys.argv[1]), Layout(), Info()).rows, peak() - before)
"""
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    out = tmp_path / "p.parquet"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True, env=environment
    )
    rows, grown = done.stdout.split()
    assert int(rows) == 100_000 and pl.scan_parquet(out).select(pl.len()).collect().item() == 100_000
    # what is held at a time is 64 MB of rows, what is made of them and Polars' own
    assert float(grown) < 400


@pytest.mark.skipif(importlib.util.find_spec("duckdb") is None, reason="DuckDB is not installed")
def test_duckdb_reads_a_pool(tmp_path: Path) -> None:
    import duckdb

    write_pool(to_frame(ROWS, LAYOUT), tmp_path / "p.parquet")
    where = str(tmp_path / "p.parquet")
    run = duckdb.connect().execute
    rows = f"select problem, avg(correct::int), max(scores.rm) from '{where}' group by 1 order by 1"
    assert run(rows).fetchall() == [("a", 0.5, 0.75), ("b", 0.25, 0.75)]
    step = f"select step_scores.prm from '{where}' where problem = 'a' and sample = 2"
    assert run(step).fetchall() == [([0.5, 0.5],)]


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed")
def test_datasets_reads_a_pool(tmp_path: Path) -> None:
    import datasets

    write_pool(to_frame(ROWS, LAYOUT), tmp_path / "p.parquet")
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "p.parquet"), split="train", cache_dir=cache
    )
    assert found.num_rows == 8
    assert found[2]["scores"] == {"rm": 0.5, "other": 0.5} and found[3]["answer"] is None


def test_a_folder_of_files_is_one_pool(tmp_path: Path) -> None:
    frame = to_frame(ROWS, LAYOUT)
    (tmp_path / "pool").mkdir()
    frame[:3].write_parquet(tmp_path / "pool" / "a.parquet")
    frame[3:].write_parquet(tmp_path / "pool" / "b.parquet")
    whole = read_pool(tmp_path / "pool", large=True)
    assert whole.frame.drop("text_hash", strict=False).equals(frame)
    frame.drop("behaviour").write_parquet(tmp_path / "pool" / "c.parquet")
    with pytest.raises(MullError, match=r"c\.parquet has other columns"):
        read_pool(tmp_path / "pool")


def test_a_users_own_parquet_needs_no_metadata(tmp_path: Path) -> None:
    small = pl.DataFrame(
        {"problem": ["a", "a"], "sample": [0, 1], "answer": ["x", "y"], "correct": [True, False]}
    )
    small.write_parquet(tmp_path / "mine.parquet")
    data = read_pool(tmp_path / "mine.parquet")
    assert data.correct.tolist() == [[True, False]] and not data.timed.any()


def test_an_existing_pool_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    out = imported(plain(), tmp_path)
    before = out.read_bytes()
    bad = lines(tmp_path / "bad.jsonl", [*plain(), {"problem": "a", "answer": "0", "correct": "maybe"}])
    with pytest.raises(MullError, match="line 9"):
        import_pool(Asked(bad), "jsonl", out)
    assert out.read_bytes() == before
    assert read_pool(out).samples == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "bad.jsonl",
        "pool.parquet",
        "pool.parquet.seal",
        "rows.jsonl",
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from([None, "", "0", "1", "x\ty", "é"]), st.integers(0, 9)
        ),
        min_size=1,
        max_size=40,
    )
)
def test_arrays_hold_what_the_rows_say(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    place = tmp_path_factory.mktemp("p")
    made = [{"problem": p, "answer": a, "correct": a == "1", "tokens": t} for p, a, t in rows]
    data = read_pool(imported(made, place))
    for at, name in enumerate(data.names):
        mine = [row for row in made if row["problem"] == name][: data.samples]
        assert data.tokens[at].tolist() == [row["tokens"] for row in mine]
        assert data.correct[at].tolist() == [row["correct"] for row in mine]
        classes: dict[int, set[Any]] = {}
        for label, row in zip(data.answers[at], mine, strict=True):
            classes.setdefault(int(label), set()).add(row["answer"])
            assert (label < 0) == (row["answer"] is None)
        assert all(len(texts) == 1 for texts in classes.values())
        assert len(classes) == len({row["answer"] for row in mine})
    assert data.without_blanks().answers.max(initial=-1) <= data.answers.max(initial=-1)


# the arrays


def test_a_ragged_pool_gives_its_common_prefix_and_says_so(tmp_path: Path) -> None:
    rows = plain(6)[:-2]
    data = read_pool(imported(rows, tmp_path))
    assert data.answers.shape == (2, 4)
    assert data.notes == (
        "problems have from 4 to 6 samples; the first 4 of each are used, and 2 samples are not",
    )
    assert data.notes[0] in warnings(data)
    most = read_pool(tmp_path / "pool.parquet", samples=6)
    assert most.names == ("a",) and "1 of 2 problems have fewer than 6 samples" in most.notes[0]
    with pytest.raises(MullError, match="there are at most 6"):
        read_pool(tmp_path / "pool.parquet", samples=7)


def test_repeated_sample_numbers_count_once(tmp_path: Path) -> None:
    rows = [{"problem": "a", "sample": at % 3, "answer": str(at), "correct": False} for at in range(5)]
    data = read_pool(imported(rows, tmp_path))
    assert data.frame["answer"].to_list() == ["0", "1", "2"]
    assert "2 rows repeat a problem's sample number" in warnings(data)[0]


def test_empty_answers_vote_or_drop_out(tmp_path: Path) -> None:
    answers = ["", "", "", "7", "7"]
    rows = [{"problem": "a", "answer": answer, "correct": answer == "7"} for answer in answers]
    path = imported(rows, tmp_path)
    voting, dropped = read_pool(path), read_pool(path, empty="drop")
    assert majority(voting.pool, [5])[0, 0] == 0.0 and majority(dropped.pool, [5])[0, 0] == 1.0
    assert (dropped.answers >= 0).sum() == 2
    found = summarize(voting)
    assert found["majority@k"]["5"] == 0.0 and found["majority_answered@k"]["5"] == 1.0
    assert "3 of 5 samples (60.0%) have an empty answer" in " ".join(found["warnings"])


@pytest.mark.parametrize(
    ("raw", "scale", "expected"),
    [
        ([0.0, 0.5, 1.0], None, [0.0, 0.5, 1.0]),
        ([-2.0, 0.0, 800.0], None, [1 / (1 + np.exp(2.0)), 0.5, 1.0]),
        ([0.0, 15.0, 60.0], None, [0.0, 0.25, 1.0]),
        ([0.0, 0.5, 1.0], "logit", [0.5, 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-1.0))]),
    ],
)
def test_scores_are_brought_to_the_unit_interval(
    raw: list[float], scale: Any, expected: list[float], tmp_path: Path
) -> None:
    rows = [
        {"problem": "a", "answer": "x", "correct": False, "scores": {"s": value}} for value in [*raw, None]
    ]
    path = lines(tmp_path / "rows.jsonl", rows)
    import_pool(Asked(path), "jsonl", tmp_path / "p.parquet", scales={"s": scale} if scale else None)
    data = read_pool(tmp_path / "p.parquet")
    assert data.scores["s"][0, :3] == pytest.approx(expected) and np.isnan(data.scores["s"][0, 3])
    assert data.frame["scores"].struct.field("s").to_list() == [*raw, None]


def test_unlabelled_samples_take_the_label_of_their_answer(tmp_path: Path) -> None:
    flags = [("7", True), ("7", None), ("8", None), ("8", False), (None, None)]
    rows = [{"problem": "a", "answer": answer, "correct": flag} for answer, flag in flags]
    data = read_pool(imported(rows, tmp_path))
    assert data.correct.tolist() == [[True, True, False, False, False]]
    assert data.judged.tolist() == [[True, True, True, True, False]]


def test_a_pool_without_answers_has_pass_at_k_and_no_majority(tmp_path: Path) -> None:
    rows = [{"problem": "a", "correct": at < 2, "scores": {"s": at / 4}} for at in range(4)]
    data = read_pool(imported(rows, tmp_path))
    assert not data.answered and (data.answers == -1).all()
    assert pass_at_k(data.pool, [1, 2, 4])[0] == pytest.approx([0.5, 5 / 6, 1.0])
    assert best_of_n(data.pool, "s", [4])[0, 0] == 0.0
    found = summarize(data)
    assert found["majority@k"] is None and list(found["pass^k"].values()) == pytest.approx([0.5, 1 / 6, 0, 0])


@pytest.mark.parametrize(
    ("how", "expected"), [("last", 0.25), ("min", 0.25), ("mean", 0.375), ("product", 0.125)]
)
def test_step_scores_become_a_score(how: Any, expected: float, tmp_path: Path) -> None:
    write_pool(to_frame(ROWS, LAYOUT), tmp_path / "p.parquet")
    data = read_pool(tmp_path / "p.parquet")
    found = data.step_scores("prm", how)
    assert found.shape == (2, 4) and found[0, 1] == pytest.approx(expected)
    assert data.with_scores(steps=found).pool.score("steps")[1, 1] == pytest.approx(expected)
    with pytest.raises(MullError, match="no step scores 'orm'; it has: prm"):
        data.step_scores("orm")


def test_step_scores_that_are_missing_are_no_number(tmp_path: Path) -> None:
    values = [[0.5], [], None, [0.5, None]]
    rows = [
        {"problem": "a", "answer": "x", "correct": False, "step_scores": {"p": value}} for value in values
    ]
    data = read_pool(imported(rows, tmp_path))
    for how in ("last", "min", "mean", "product"):
        assert np.isnan(data.step_scores("p", how)).tolist() == [[False, True, True, True]]


# what it says


def test_summary_is_what_the_estimators_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        {"problem": f"p{p}", "answer": str(a), "correct": bool(a == 0), "tokens": int(rng.integers(1, 99))}
        for p in range(20)
        for a in rng.integers(0, 3, 24)
    ]
    data = read_pool(imported(rows, tmp_path))
    found = summarize(data, ks=[1, 3, 24])
    assert (found["problems"], found["samples"]) == (20, 24)
    pool = Pool(data.answers, data.correct, {}, data.tokens)
    for name, values in (("pass@k", pass_at_k(pool, [1, 3, 24])), ("majority@k", majority(pool, [1, 3, 24]))):
        assert list(found[name].values()) == pytest.approx(values.mean(axis=0))
        for k, (low, high) in found[f"{name}_ci95"].items():
            assert low <= found[name][k] <= high
    assert found["mean_tokens"] == pytest.approx(data.tokens.mean())
    assert found["tokens"]["median"] == np.median(data.tokens)
    assert sum(b["problems"] for b in found["difficulty"]["histogram"]) == 20
    assert summarize(data, ks=[1, 3, 24]) == found
    with pytest.raises(MullError, match="k = 25 needs that many"):
        summarize(data, ks=[25])


def test_pass_at_all_k_is_exact_on_a_small_pool(tmp_path: Path) -> None:
    rows = [{"problem": "a", "answer": str(at > 0), "correct": at == 0} for at in range(5)]
    found = summarize(read_pool(imported(rows, tmp_path)))
    assert list(found["pass@k"].values()) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_sound_pool_has_no_warnings(tmp_path: Path) -> None:
    rows = [
        {"problem": n, "answer": str(i % 3), "correct": i % 3 == 0, "tokens": 9 * i + len(n)}
        for n in ("a", "bb")
        for i in range(8)
    ]
    assert warnings(read_pool(imported(rows, tmp_path))) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda at: {"tokens": 0} if at == 1 else {}, "1 of 16 samples (6.2%) have a token count of 0"),
        (lambda at: {"tokens": None} if at == 1 else {}, "1 of 16 samples (6.2%) have no token count"),
        (lambda at: {"tokens": None}, "no sample has a token count"),
        (
            lambda at: {"tokens": 9999} if at % 4 == 1 else {},
            "4 of 16 samples (25.0%) stop at exactly 9999 tokens",
        ),
        (lambda at: {"answer": None, "correct": False} if at == 1 else {}, "have no answer; they never vote"),
        (lambda at: {"answer": "", "correct": False} if at == 1 else {}, "have an empty answer"),
        (lambda at: {"text": "the same"}, "14 of 16 samples (87.5%) repeat another sample's text"),
        (
            lambda at: {"answer": "1", "correct": False} if at < 8 else {},
            "on 1 of 2 problems no sample is right",
        ),
        (
            lambda at: {"gold": "1"},
            "8 of 16 samples (50.0%) have the gold answer's very text and are marked wrong",
        ),
        (lambda at: {"correct": None}, "no sample says whether it is right"),
        (lambda at: {"error": "timed out"} if at == 1 else {}, "record an error, most often: timed out"),
        (lambda at: {"finish": "length"} if at == 1 else {}, "were cut by their length limit"),
        (lambda at: {"scores": {"s": None if at == 1 else 0.5}}, "have no score 's'"),
        (lambda at: {"tokens": 10 + at % 8}, "1 problems have the very samples of another problem"),
        (lambda at: {"tokens": 10 + at // 8 + at % 2}, "every sample has a twin"),
    ],
)
def test_what_is_wrong_is_said(change: Any, expected: str, tmp_path: Path) -> None:
    rows = [{**row, **change(at)} for at, row in enumerate(plain(8))]
    found = warnings(read_pool(imported(rows, tmp_path)))
    assert any(expected in warning for warning in found), found


def test_mixed_classes_are_judged_by_a_random_member() -> None:
    classes = np.array([[0, 0, 1, -1], [0, 1, 2, 3], [-1, -1, -1, -1]])
    right = np.array([[True, False, True, True], [True, False, False, False], [True] * 4])
    even = np.ones((3, 4))
    assert chosen_class(classes, right, even).tolist() == [0.5, 0.25, 0.0]
    assert chosen_class(classes, right, np.array([[0.1, 0.1, 1.0, 9.0]] * 3))[0] == 1.0


def test_agreement_needs_a_score_that_goes_with_the_behaviour(tmp_path: Path) -> None:
    rows = [
        {
            "problem": "a",
            "answer": str(at),
            "correct": at in (3, 4),
            "behaviour": behaviour,
            "scores": {"tests": float(behaviour.count("p")), "other": at / 8},
        }
        for at, behaviour in enumerate(["fp", "fp", "fp", "pp", "pp", "ff"])
    ]
    data = read_pool(imported(rows, tmp_path))
    found = summarize(data)["behaviour"]
    # sqrt(3) x 1 against sqrt(2) x 2 tests
    assert found == {"majority": 0.0, "agreement:tests": 1.0}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    right = [score for score, label in pairs if label]
    wrong = [score for score, label in pairs if not label]
    if not right or not wrong:
        with pytest.raises(MullError, match="labels of both kinds"):
            auroc(*zip(*pairs, strict=True))
        return
    wins = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong)
    assert auroc(*zip(*pairs, strict=True)) == pytest.approx(wins / (len(right) * len(wrong)))


def test_measures_of_step_verifiers() -> None:
    found = binary([0.2, 0.6, 0.7, 0.5], [False, True, False, True], 0.5)
    assert (found.accuracy, found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5, 0.5)
    assert first_below([0.9, 0.4, 0.1], 0.5) == 1 and first_below([0.9, 0.5], 0.5) == -1
    measured = first_error([1, 0, -1, -1, 2], [1, 2, -1, 0, -1])
    assert measured.wrong == pytest.approx(1 / 3) and measured.right == pytest.approx(1 / 2)
    assert measured.f1 == pytest.approx(0.4)
    with pytest.raises(MullError, match="a score is missing"):
        auroc([float("nan"), 1.0], [True, False])


# what is refused


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"problem": "a", "answer": "\xff"}', "not UTF-8"),
        (b'{"problem": "a", ', "not JSON"),
        (b"[1, 2]", "must be an object"),
        (b'{"answer": "1"}', "no field 'problem'; name the one with --map problem=FIELD (it has: answer)"),
        (b'{"problem": "a", "correct": "yes"}', "'correct' is 'yes'; it must be true or false"),
        (b'{"problem": "a", "correct": true, "tokens": "many"}', "'tokens' is 'many'; it must be a number"),
        (b'{"problem": "a", "correct": true, "tokens": 1.5}', "it must be a whole number"),
        (b'{"problem": "a", "correct": true, "tokens": -1}', "token count or sample number is negative"),
        (
            b'{"problem": "a", "answer": ["1", "2"], "correct": [true]}',
            "different lengths: answer 2, correct 1",
        ),
        (b'{"problem": "a", "answer": "1", "correct": false}', "'1' marked both right and wrong"),
        (b'{"problem": "", "answer": "1", "correct": true}', "a sample names no problem"),
        (b'{"problem": "a", "answer": {"x": 1}}', "must be a text or a number"),
        (
            b'{"problem": "a", "correct": true, "scores": {"t": 1}}',
            "scores has 't', which the first line does not",
        ),
        (b"[" * 100_000, "nested too deep"),
        (b"1" * 5000, "a number too long to read"),
    ],
)
def test_bad_lines_are_refused_by_their_place(line: bytes, expected: str, tmp_path: Path) -> None:
    first = b'{"problem": "a", "answer": "1", "correct": true, "tokens": 3, "scores": {"s": 0.5}}\n'
    path = tmp_path / "rows.jsonl"
    path.write_bytes(first + line + b"\n")
    with pytest.raises(MullError) as caught:
        import_pool(Asked(path), "jsonl", tmp_path / "pool.parquet")
    assert expected in str(caught.value)
    assert "line 2" in str(caught.value) or "rows 1 to 2" in str(caught.value)
    assert not (tmp_path / "pool.parquet").exists()


def test_damaged_compression_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl.gz", plain(50))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MullError, match="compressed data break off"):
        import_pool(Asked(path), "jsonl", tmp_path / "pool.parquet")


def test_a_right_sample_without_an_answer_is_refused(tmp_path: Path) -> None:
    rows = [
        {"problem": "a", "answer": "1", "correct": True},
        {"problem": "a", "answer": None, "correct": True},
    ]
    with pytest.raises(MullError, match="problem 'a', sample 1 is right without an answer"):
        read_pool(imported(rows, tmp_path))


def test_contradictions_are_found_across_batches_too(tmp_path: Path) -> None:
    rows = [{"problem": "a", "answer": "1", "correct": flag} for flag in (True, False)]
    frames = [to_frame([row], Layout()) for row in rows]
    (tmp_path / "pool").mkdir()
    for at, frame in enumerate(frames):
        frame.with_columns(pl.lit(at, pl.Int32).alias("sample")).write_parquet(
            tmp_path / "pool" / f"{at}.parquet"
        )
    with pytest.raises(MullError, match="'1' marked both right and wrong"):
        read_pool(tmp_path / "pool")


def test_other_schemas_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pl.DataFrame({"problem": ["a"], "answer": ["x"]}).write_parquet(path)
    with pytest.raises(
        MullError, match=r"is no pool: it has no column 'sample'; 'mull pool import' makes one"
    ):
        read_pool(path)
    pl.DataFrame({"problem": ["a"], "sample": ["0"], "answer": ["x"], "correct": [True]}).write_parquet(path)
    with pytest.raises(MullError, match="column 'sample' is of type String; it must be Int32"):
        read_pool(path)
    small = pl.DataFrame({"problem": ["a"], "sample": [0], "answer": ["x"], "correct": [True]})
    small.write_parquet(
        path, metadata={"mull.pool": '{"schema": 2, "source": "", "kind": "samples", "scales": {}}'}
    )
    with pytest.raises(MullError, match="a pool of schema 2; this mull reads schema 1"):
        read_pool(path)
    small.write_parquet(path, metadata={"mull.pool": "nonsense"})
    with pytest.raises(MullError, match="is not what mull writes"):
        read_pool(path)


@pytest.mark.parametrize("keep", [0, 3, 11, 0.5, -1])
def test_a_truncated_pool_is_refused_before_it_is_parsed(keep: float, tmp_path: Path) -> None:
    path = imported(plain(50), tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    for sealed in (True, False):
        if not sealed:
            seal_of(path).unlink()
        with pytest.raises(MullError, match="not a whole Parquet file"):
            read_pool(path)


def test_flipped_bytes_are_refused_by_the_seal(tmp_path: Path) -> None:
    path = imported(plain(50), tmp_path)
    data = path.read_bytes()
    for at in range(4, len(data) - 8, 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        with pytest.raises(MullError, match="is damaged"):
            read_pool(path)


def test_damage_without_a_seal_never_takes_the_process_down(tmp_path: Path) -> None:
    """Polars aborts on some damaged files; without a seal a child process meets them first."""
    path = imported(plain(50), tmp_path)
    data = path.read_bytes()
    seal_of(path).unlink()
    footer = int.from_bytes(data[-8:-4], "little")
    refused = 0
    for at in (4, len(data) // 4, len(data) - footer - 8, len(data) - footer // 2, len(data) - 12):
        path.write_bytes(data[:at] + bytes(b ^ 0x55 for b in data[at : at + 3]) + data[at + 3 :])
        try:
            read_pool(path)
        except MullError as error:
            refused += 1
            assert "damaged" in str(error) or "pool" in str(error)
    assert refused >= 3
    for length in (10**9, 2**31, 5):
        path.write_bytes(data[:-8] + length.to_bytes(4, "little") + data[-4:])
        with pytest.raises(MullError, match="damaged"):
            read_pool(path)


def test_requests_that_cannot_be_met_are_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", plain())
    out = tmp_path / "p.parquet"
    for asked, form, expected in (
        (Asked(path), "nonsense", "there is no format 'nonsense'; known: boinf"),
        (Asked(path, {"answer": "x"}), "boinf", "takes no --map; those that do: jsonl, parquet"),
        (Asked(path, {"reply": "x"}), "jsonl", "a pool has no column 'reply'; its columns: problem"),
        (Asked(path, {}, {"x": "y"}), "jsonl", "has no setting 'x'; its settings: answer"),
        (Asked(path, {}, {"answer": "y"}), "jsonl", "it must be one of: recorded, text"),
        (Asked(tmp_path / "none.jsonl"), "jsonl", "there is no"),
        (Asked(tmp_path), "parquet", "is a folder without Parquet files"),
    ):
        with pytest.raises(MullError, match=expected):
            import_pool(asked, form, out)
    with pytest.raises(MullError, match="there is no score 'rm' to scale"):
        import_pool(Asked(path), "jsonl", out, scales={"rm": "logit"})
    with pytest.raises(MullError, match="is the file to be imported"):
        import_pool(Asked(path), "jsonl", path)
    with pytest.raises(MullError, match="it is a folder"):
        import_pool(Asked(path), "jsonl", tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(MullError, match="is empty"):
        import_pool(Asked(tmp_path / "empty.jsonl"), "jsonl", out)
    with pytest.raises(MullError, match="there is no pool"):
        read_pool(out)


def test_problem_sets_are_read_in_their_publishers_shapes(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "answer": "2 + 2 = <<2+2=4>>4\n#### 1,004"},
        {"problem": "What?", "answer": 27.0, "id": 7, "level": 3},
        {"prompt": "Which?", "gold": "\\frac{1}{2}", "unique_id": "x/1"},
    ]
    found = load_problem_set(lines(tmp_path / "p.jsonl", rows))
    assert [(p.id, p.gold) for p in found] == [("line-1", "1004"), ("7", "27"), ("x/1", "\\frac{1}{2}")]
    assert found[1].meta == {"level": 3}
    with pytest.raises(MullError, match="line 1: needs a text field named one of"):
        load_problem_set(lines(tmp_path / "q.jsonl", [{"text": "x"}]))
    with pytest.raises(MullError, match="no gold answer"):
        load_problem_set(lines(tmp_path / "q.jsonl", [{"prompt": "x"}]))


# recording


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("models")).parent


def recording(models: Path, samples: int, count: int = 5) -> Recording:
    verifiers = {"prm": SmallVerifier.load(models / "prm")}
    engine = SmallEngine.load(models / "proposer")
    return Recording(tiny_problems("test", count), engine, samples, verifiers, ("prm",), max_tokens=40)


def test_a_recording_is_a_pool(models: Path, tmp_path: Path) -> None:
    asked = recording(models, 6)
    made = record(asked, tmp_path / "p.parquet")
    assert (made.rows, made.problems) == (30, 5)
    data = read_pool(tmp_path / "p.parquet", large=True)
    assert data.names == tuple(problem.id for problem in asked.problems)
    assert data.golds == tuple(problem.gold for problem in asked.problems)
    for row in data.frame.iter_rows(named=True):
        assert row["text"] == "".join(row["steps"]) and row["prompt"].endswith("?\n")
        assert row["tokens"] == len(row["token_logprobs"])
        assert row["logprob"] == pytest.approx(sum(row["token_logprobs"]), rel=1e-4)
        assert row["correct"] == (row["answer"] == row["gold"])
        if row["step_scores"]["prm"]:
            assert row["scores"]["prm"] == row["step_scores"]["prm"][-1]
            assert len(row["step_scores"]["prm"]) == len(row["steps"])
    assert not list(tmp_path.glob("*.parts")) and data.info.kind == "samples"


def test_a_larger_recording_begins_with_a_smaller_ones_samples(models: Path, tmp_path: Path) -> None:
    record(recording(models, 3), tmp_path / "small.parquet")
    record(recording(models, 6), tmp_path / "large.parquet")
    small, large = pl.read_parquet(tmp_path / "small.parquet"), pl.read_parquet(tmp_path / "large.parquet")
    assert large.filter(pl.col("sample") < 3).equals(small)


def test_an_interrupted_recording_goes_on(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mull.pools import record as _  # noqa: F401

    module = sys.modules[recorder.__module__]
    monkeypatch.setattr(module, "CHUNK", 8)
    whole = tmp_path / "whole.parquet"
    record(recording(models, 4), whole)
    out, real, calls = tmp_path / "p.parquet", module.sampled, []

    def failing(asked: Recording, problems: Any) -> pl.DataFrame:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(problems)
        return real(asked, problems)

    monkeypatch.setattr(module, "sampled", failing)
    with pytest.raises(KeyboardInterrupt):
        record(recording(models, 4), out)
    assert not out.exists() and len(list(parts_of(out).glob("*.parquet"))) == 2
    with pytest.raises(MullError, match="its recording was not finished"):
        read_pool(out)
    monkeypatch.setattr(
        module, "sampled", lambda asked, problems: calls.append(problems) or real(asked, problems)
    )
    with pytest.raises(MullError, match="holds the parts of another recording"):
        record(recording(models, 5), out)
    record(recording(models, 4), out)
    assert len(calls) == 3  # only the chunk that was missing
    assert pl.read_parquet(out).equals(pl.read_parquet(whole))
    with pytest.raises(MullError, match="exists; choose another --out"):
        record(recording(models, 4), out)


def test_an_engine_that_fails_is_recorded_as_errors(models: Path, tmp_path: Path) -> None:
    class Broken(SmallEngine):
        async def sample(self, jobs: Any) -> Any:
            raise OSError("no such server")

    asked = recording(models, 2)
    broken = Broken(asked.engine.model, asked.engine.words, "broken")  # type: ignore[attr-defined]
    record(Recording(asked.problems, broken, 2), tmp_path / "p.parquet")
    data = read_pool(tmp_path / "p.parquet")
    assert not data.correct.any() and not data.answered
    assert any("record an error, most often: OSError: no such server" in w for w in warnings(data))


# the command


def test_commands_show_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["pool"], ["pool", "import"], ["pool", "show"], ["pool", "record"], ["pool", "formats"]):
        with pytest.raises(SystemExit):
            parser().parse_args([*command, "--help"])
        shown = capsys.readouterr().out
        assert "example" in shown and f"mull {' '.join(command)}" in shown, command


def test_import_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = lines(tmp_path / "rows.jsonl", ROWS), str(tmp_path / "pool.parquet")
    assert main(["pool", "import", str(path), "--format", "jsonl", "--out", out]) == 0
    assert capsys.readouterr().out == f"pool: {out} (2 problems, 8 samples)\n"
    assert main(["pool", "show", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 2 and found["samples"] == 4 and found["mean_tokens"] == 20.0
    assert list(found["pass@k"]) == list(found["majority@k"]) == ["1", "2", "3", "4"]
    assert main(["pool", "show", out]) == 0
    shown = capsys.readouterr().out
    for words in ("2 problems x 4 samples", "majority@k", "best_of_n by rm", "tokens: mean 20", "warning: "):
        assert words in shown
    assert main(["pool", "show", out, "--json", "--k", "1,4", "--samples", "4", "--empty", "drop"]) == 0
    assert list(json.loads(capsys.readouterr().out)["pass@k"]) == ["1", "4"]


def test_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pool", "formats"]) == 0
    shown = capsys.readouterr().out
    for name, found in adapters().items():
        assert f"\n{name}" in f"\n{shown}" and found.summary and found.summary in shown
    assert "jsonl  (takes --map)" in shown


def test_bad_requests_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"problem": "\xff"}\n')
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    out = ["--out", str(tmp_path / "o.parquet")]
    for arguments in (
        ["import", str(tmp_path / "bad.jsonl"), "--format", "jsonl", *out],
        ["import", str(tmp_path / "bad.parquet"), "--format", "parquet", *out],
        ["import", str(tmp_path / "bad.jsonl"), "--format", "jsonl", "--scale", "rm=percent", *out],
        ["show", str(tmp_path / "bad.parquet")],
        ["show", str(tmp_path / "none.parquet")],
        ["record", "--samples", "4", "--problems", str(tmp_path / "bad.jsonl"), *out],
    ):
        assert main(["pool", *arguments]) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.splitlines()) == 1, captured
        assert captured.err.startswith("mull: ")


def test_a_recorded_study_is_a_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mull.study import config
    from mull.study.run import record as record_study

    recorded = record_study(config.read(world(tmp_path)), tmp_path / "out", workers=1)
    out = tmp_path / "pool.parquet"
    assert main(["pool", "import", str(tmp_path / "out"), "--format", "study", "--out", str(out)]) == 0
    data = read_pool(out)
    assert data.names == tuple(problem.id for problem in recorded.problems)
    assert data.samples == recorded.study.pool
    assert set(data.scores) <= {"prm", "orm"} and data.layout.step_scores == ("prm",)


def test_adapters_are_found_by_dropping_a_file_in() -> None:
    assert {"jsonl", "parquet", "boinf", "study", "prm800k", "math_shepherd", "math_aps"} <= set(adapters())
    rows = source([{"problem": "a"}, {"problem": "b", "answer": "x"}])
    (frame,) = rows.frames
    assert frame.columns == list(CORE) and frame["answer"].to_list() == [None, "x"]
