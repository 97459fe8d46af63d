"""Data sets: the columns that they are published with, where they are looked for, and what is refused."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from mull.errors import MullError
from mull.execution import ProgramGrader
from mull.grading import grader
from mull.sets import SETS, default_grader, load
from mull.sets.known import find

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No caches but those that a test makes, and no library that could download."""
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "MULL_SETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("mull.sets.hub.has_library", lambda: False)
    return tmp_path


def snapshot(home: Path, repo: str) -> Path:
    folder = home / "hf" / "hub" / f"datasets--{repo.replace('/', '--')}"
    made = folder / "snapshots" / "abc123"
    made.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc123")
    return made


def lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


GSM8K = [
    {"question": "Two and two?", "answer": "Adding: 2+2=<<2+2=4>>4\n#### 4"},
    {"question": "A thousand and one?", "answer": "So 1,001.\n#### 1,001"},
]


def test_gsm8k_from_the_hub_cache(nowhere: Path):
    made = snapshot(nowhere, "openai/gsm8k")
    for config in ("main", "socratic"):
        (made / config).mkdir()
        for split in ("train", "test"):
            rows = [{**row, "question": f"{config} {split}: {row['question']}"} for row in GSM8K]
            pl.DataFrame(rows).write_parquet(made / config / f"{split}-00000-of-00001.parquet")
    found = load("gsm8k")
    assert [p.gold for p in found] == ["4", "1001"]
    assert found[0].prompt == "main test: Two and two?" and found[0].id == "gsm8k-1"
    assert load("GSM-8K", 1, "train")[0].prompt.startswith("main train")
    with pytest.raises(MullError, match="no split 'validation'; it has: test, train"):
        load("gsm8k", split="validation")


def test_math500_takes_the_box_where_there_is_no_answer(nowhere: Path):
    made = snapshot(nowhere, "HuggingFaceH4/MATH-500")
    row = {
        "problem": "Half?",
        "solution": r"It is $\boxed{\frac{1}{2}}$.",
        "answer": r"\frac{1}{2}",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/1.json",
    }
    lines(made / "test.jsonl", [row, {**row, "unique_id": "test/algebra/2.json", "answer": None}])
    one, two = load("MATH-500")
    assert one.id == "test/algebra/1.json" and one.meta == {"level": 2, "subject": "Algebra"}
    assert one.gold == two.gold == r"\frac{1}{2}"


@pytest.mark.parametrize(
    ("name", "repo", "file", "row", "gold"),
    [
        (
            "aime24",
            "HuggingFaceH4/aime_2024",
            "data/train-00000-of-00001.parquet",
            {"id": 60, "problem": "p", "solution": "s", "answer": "204", "url": "u", "year": "2024"},
            "204",
        ),
        (
            "aime-2024",
            "Maxwell-Jia/AIME_2024",
            "aime_2024_problems.parquet",
            {"ID": "2024-II-4", "Problem": "p", "Solution": "s", "Answer": 33},
            "33",
        ),
        (
            "aime25",
            "opencompass/AIME2025",
            "aime2025-I.jsonl",
            {"question": "p", "answer": "070"},
            "70",
        ),
        ("AIME2025", "math-ai/aime25", "test.jsonl", {"problem": "p", "answer": "70", "id": "0"}, "70"),
        (
            "amc",
            "AI-MO/aimo-validation-amc",
            "data/train-00000-of-00001.parquet",
            {"id": 0, "problem": "p", "answer": 142.0, "url": "u"},
            "142",
        ),
        (
            "amc23",
            "math-ai/amc23",
            "test-00000-of-00001.parquet",
            {"id": 0, "question": "p", "answer": "27", "url": "u"},
            "27",
        ),
    ],
)
def test_contests_in_the_columns_of_their_repositories(
    nowhere: Path, name: str, repo: str, file: str, row: dict, gold: str
):
    path = snapshot(nowhere, repo) / file
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pl.DataFrame([row]).write_parquet(path)
    else:
        lines(path, [row])
    (found,) = load(name)
    assert (found.prompt, found.gold) == ("p", gold)
    assert default_grader(name) == "form"


def gpqa(path: Path, count: int = 40) -> None:
    rows = [
        {
            "Pre-Revision Question": "no",
            "Question": f"Which, {n}?\n",
            "Correct Answer": f"right {n}\n",
            "Incorrect Answer 1": f"wrong a{n}",
            "Incorrect Answer 2": "both, commas\nand lines",
            "Incorrect Answer 3": f"wrong c{n}",
            "Record ID": f"rec{n}",
            "Subdomain": "Optics",
        }
        for n in range(count)
    ]
    pl.DataFrame(rows).write_csv(path)


def test_gpqa_choices_are_shuffled_by_the_problem_alone(nowhere: Path):
    made = snapshot(nowhere, "Idavidrein/gpqa")
    gpqa(made / "gpqa_diamond.csv")
    gpqa(made / "gpqa_main.csv", 3)
    found = load("GPQA-diamond")
    assert len(found) == 40 and found[0].id == "rec0" and found[0].meta == {"Subdomain": "Optics"}
    for number, problem in enumerate(found):
        assert f"({problem.gold}) right {number}" in problem.prompt
    assert set(Counter(p.gold for p in found)) == set("ABCD")  # the right one has no usual place
    assert load("gpqa", 5) == found[:5]
    assert load(made / "gpqa_diamond.csv") == found  # told by its columns
    assert grader("choice").correct("C", "C")


HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def twice(x):\n    """Double.\n    >>> twice(2)\n    4\n    """\n',
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
    "entry_point": "twice",
}


def test_humaneval_is_graded_by_its_tests_and_votes_by_its_examples(nowhere: Path):
    made = snapshot(nowhere, "openai/openai_humaneval") / "openai_humaneval"
    made.mkdir()
    pl.DataFrame([HUMANEVAL]).write_parquet(made / "test-00000-of-00001.parquet")
    (problem,) = load("humaneval")
    assert problem.id == "HumanEval/0" and default_grader("humaneval") == "code"
    graded = grader("code")
    assert isinstance(graded, ProgramGrader) and graded is grader("code")
    answers = ["    return 2 * x\n", "    return x + x\n", "    return 4\n", "    return (", None]
    named = graded.canonical(answers, problem)
    assert named[0] == named[1] == named[2] is not None and named[3] is named[4] is None
    right = [graded.correct(answer, problem.gold, problem) for answer in answers]
    assert right == [True, True, False, False, False]
    assert graded.passed(problem, answers) == [1.0, 1.0, 1.0, 0.0, 0.0]
    graded.close()


def test_mbpp_shows_one_test_and_is_graded_by_all(nowhere: Path):
    full = {
        "task_id": 11,
        "text": "Write a function to add.",
        "code": "def add(a, b):\n    return a + b",
        "test_list": ["assert add(1, 2) == 3", "assert add(5, 5) == 10"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    sanitized = {
        "source_file": "b.ipynb",
        "task_id": 11,
        "prompt": "Write a function to add.",
        "code": "",
        "test_imports": ["import math"],
        "test_list": ["assert math.isclose(add(1, 2), 3)", "assert add(5, 5) == 10"],
    }
    made = snapshot(nowhere, "google-research-datasets/mbpp")
    for config, row in (("full", full), ("sanitized", sanitized)):
        (made / config).mkdir()
        pl.DataFrame([row]).write_parquet(made / config / "test-00000-of-00001.parquet")
    graded = ProgramGrader()
    for name, shown in (("mbpp", "add(1, 2) == 3"), ("mbpp-sanitized", "math.isclose")):
        (problem,) = load(name)
        assert problem.id == "11" and shown in problem.prompt and "add(5, 5)" not in problem.prompt
        good, bad = "def add(a, b):\n    return a + b", "def add(a, b):\n    return 3"
        assert graded.correct(f"Here:\n```python\n{good}\n```\n", problem.gold, problem)
        assert not graded.correct(bad, problem.gold, problem)
        assert len(set(graded.canonical([good, bad], problem))) == 1  # the shown test tells them not apart
    graded.close()


def test_any_file_by_its_columns(nowhere: Path):
    rows = [{"task": "one", "result": 1.0, "name": "a"}, {"task": "two", "result": 2.5, "name": "b"}]
    lines(nowhere / "mine.jsonl", rows)
    pl.DataFrame(rows).write_parquet(nowhere / "mine.parquet")
    pl.DataFrame(rows).write_csv(nowhere / "mine.csv")
    (nowhere / "mine.json").write_text(json.dumps(rows))
    pl.DataFrame(rows).write_ipc_stream(nowhere / "mine.arrow")
    read = [
        load(nowhere / f"mine.{end}", prompt="task", answer="result", id="name")
        for end in ("jsonl", "parquet", "json", "arrow")
    ]
    assert all(found == read[0] for found in read)
    assert [(p.id, p.prompt, p.gold) for p in read[0]] == [("a", "one", "1"), ("b", "two", "2.5")]
    assert load(nowhere / "mine.csv", prompt="task", answer="result")[1].id == "mine-2"


def test_folders_with_splits(nowhere: Path):
    for split in ("train", "test"):
        lines(nowhere / "set" / f"{split}.jsonl", [{"prompt": split, "answer": "1"}])
    assert load(nowhere / "set", split="train")[0].prompt == "train"
    assert load(f"gsm8k:{nowhere / 'set'}")[0].prompt == "test"
    with pytest.raises(MullError, match=r"several splits \(test, train\)"):
        load(nowhere / "set")


def test_repositories_in_the_caches(nowhere: Path):
    row = {"question": "q", "answer": "7"}
    lines(snapshot(nowhere, "someone/sums") / "data" / "validation.jsonl", [row])
    assert load("someone/sums", split="validation")[0].gold == "7"
    arrow = nowhere / "hf" / "datasets" / "openai___gsm8k" / "main" / "0.0.0" / "hash"
    arrow.mkdir(parents=True)
    (arrow / "dataset_info.json").write_text("{}")
    pl.DataFrame(GSM8K).write_ipc_stream(arrow / "gsm8k-test.arrow")
    pl.DataFrame(GSM8K[:1]).write_ipc_stream(arrow / "gsm8k-train.arrow")
    assert [p.gold for p in load("gsm8k")] == ["4", "1001"]


def test_a_folder_of_ones_own_comes_first(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    lines(nowhere / "own" / "gsm8k.jsonl", GSM8K[:1])
    monkeypatch.setenv("MULL_SETS", str(nowhere / "own"))
    assert [p.gold for p in load("gsm8k")] == ["4"]


@pytest.mark.parametrize("name", SETS)
def test_what_is_missing_says_how_to_fetch_it(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mull.grading.named.available", lambda: True)  # math-verify is not what this is about
    with pytest.raises(MullError, match=rf"'{name}' is not on this machine; fetch it with 'hf download "):
        load(name)
    assert grader(SETS[name].grader) is not None
    assert find(SETS[name].places[0].repo) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "p"}', "no gold answer"),
        ('{"promt": "p", "answer": "1"}', "line 1: needs a prompt, .* it has: promt, answer"),
        ("[1, 2]\n", "line 1: needs an object"),
        ("{", "line 1: not JSON"),
        ("", "there are no problems"),
    ],
)
def test_bad_rows_are_named(nowhere: Path, text: str, said: str):
    (nowhere / "bad.jsonl").write_text(text)
    with pytest.raises(MullError, match=said):
        load(nowhere / "bad.jsonl")


def test_what_is_no_data_set(nowhere: Path):
    (nowhere / "bad.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    (nowhere / "bad.txt").write_text("x")
    (nowhere / "empty").mkdir()
    lines(
        nowhere / "fine.jsonl",
        [{"prompt": "p", "answer": "1", "n": 1}, {"prompt": "q", "answer": "2", "n": 1}],
    )
    for source, said in (
        (nowhere / "bad.parquet", "is damaged"),
        (nowhere / "bad.txt", "a data set is one of"),
        (nowhere / "empty", "holds no data"),
        (nowhere / "none.jsonl", "no data set of that name; known: gsm8k"),
        ("some/repository", "no such repository in the cache; fetch it with 'hf download some/repository"),
        ("gsm9k", "known: gsm8k"),
    ):
        with pytest.raises(MullError, match=said):
            load(source)
    with pytest.raises(MullError, match="no column 'x' for the answer"):
        load(nowhere / "fine.jsonl", answer="x")
    with pytest.raises(MullError, match="'n' is no id: '1' occurs twice"):
        load(nowhere / "fine.jsonl", id="n")
    with pytest.raises(MullError, match="count is 0"):
        load(nowhere / "fine.jsonl", 0)


def test_the_published_files(nowhere: Path):
    if not DATA.is_dir():
        pytest.skip(f"no recorded data at {DATA}")
    for source, count, first in (
        (f"math500:{DATA}/problems/math500.jsonl", 500, r"\left( 3, \frac{\pi}{2} \right)"),
        (f"aime24:{DATA}/problems/qwen_aime24.jsonl", 30, "204"),
        (f"amc23:{DATA}/problems/qwen_amc23.jsonl", 40, "27"),
        (f"gsm8k:{DATA}/gsm8k/test.jsonl", 1319, "18"),
        (f"humaneval:{DATA}/codet_humaneval/HumanEval_for_code_generation.jsonl", 164, None),
    ):
        found = load(source)
        assert len(found) == count == SETS[source.partition(":")[0]].size
        assert first is None or found[0].gold == first


def test_the_datasets_library_is_asked_last(nowhere: Path):
    code = (
        "import sys, types\n"
        "import importlib.machinery\n"
        "made = types.ModuleType('datasets')\n"
        "made.__spec__ = importlib.machinery.ModuleSpec('datasets', None)\n"
        "row = lambda *which: {'question': ' '.join(which), 'answer': '#### 3'}\n"
        "made.load_dataset = lambda repo, config, split: [row(repo, config, split)]\n"
        "sys.modules['datasets'] = made\n"
        "from mull.sets import load\n"
        "print(load('gsm8k'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openai/gsm8k main test" in done.stdout and "gold='3'" in done.stdout
