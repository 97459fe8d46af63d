"""The figures of public recorded outputs, reproduced through the importers.

Exact figures must agree to the digits given; those that were sampled (60 subsets a problem) to two
standard errors of that sampling, which about one in twenty may miss.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.pools import Asked, PoolData, import_pool, load_problem_set, read_pool, summarize
from mull.pools.adapters.tot_game24 import read_search
from mull.pools.steps import auroc, binary, first_below, first_error
from mull.pools.vote import agreement, behaviour_majority
from mull.study.estimators import best_of_n, best_of_n_weighted, majority, pass_at_k

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded outputs are not at {DATA}")

#: pass@1, majority@4, @16, @64, pass@16, @64, mean tokens, and the pool's shape.
BOINF = {
    "aime2024_gpt-oss-20b": (0.758, 0.839, 0.903, 0.901, 0.936, 0.955, 9336, (30, 100)),
    "aime2024_Datarus-R1-14B-preview": (0.516, 0.602, 0.697, 0.714, 0.820, 0.866, 10440, (30, 80)),
    "aime2025_Phi-4-reasoning": (0.643, 0.727, 0.809, 0.828, 0.897, 0.942, 12539, (30, 160)),
    "aime2025_LIMO-v2": (0.527, 0.595, 0.630, 0.663, 0.830, 0.892, 15443, (30, 80)),
    "gpqa_diamond_Phi-4-reasoning": (0.658, 0.695, 0.718, 0.723, 0.936, 0.964, 8025, (198, 160)),
    "gpqa_diamond_gpt-oss-20b": (0.638, 0.693, 0.714, 0.717, 0.940, 0.983, 4537, (198, 80)),
    "math500_Phi-4-reasoning": (0.878, 0.922, 0.942, 0.946, 0.980, 0.982, 2426, (500, 80)),
    "math500_gpt-oss-20b": (0.927, 0.947, 0.953, 0.953, 0.975, 0.980, 1735, (500, 80)),
    "math500_NVIDIA-Nemotron-Nano-9B-v2": (0.938, 0.947, 0.953, 0.954, 0.971, 0.974, 3110, (500, 80)),
    "math500_Qwen3-14B": (0.946, 0.951, 0.953, 0.955, 0.965, 0.969, 11859, (500, 80)),
}
SAMPLED = 60


def imported(path: Path, form: str, place: Path, **settings: str) -> PoolData:
    import_pool(Asked(path, {}, settings), form, place / "pool.parquet")
    return read_pool(place / "pool.parquet")


def boinf(name: str, place: Path) -> PoolData:
    return imported(DATA / "boinf" / f"analysis_{name}.jsonl.gz", "boinf", place)


def errors(pool: PoolData, values: np.ndarray, expected: tuple[float, ...]) -> np.ndarray:
    """How many standard errors of the sampling figures are off, less the rounding of three digits."""
    error = np.sqrt((values * (1 - values) / SAMPLED).sum(axis=0)) / pool.problems
    return np.clip(np.abs(values.mean(axis=0) - expected) - 0.0005, 0, None) / error


@pytest.mark.parametrize("name", BOINF)
def test_boinf(name: str, tmp_path: Path) -> None:
    once, *sampled, tokens, shape = BOINF[name]
    data = boinf(name, tmp_path)
    assert data.answers.shape == shape
    assert abs(data.correct.mean() - once) <= 0.0005
    assert abs(data.tokens.mean() - tokens) <= 0.5
    passed = pass_at_k(data.pool, [16, 64])
    assert np.abs(passed.mean(axis=0) - sampled[3:]).max() <= 0.0015
    voted = majority(data.pool, [4, 16, 64])
    assert errors(data, voted, tuple(sampled[:3])).max() <= 2.5


def test_boinf_votes_are_within_two_standard_errors(tmp_path: Path) -> None:
    off = []
    for name, row in BOINF.items():
        data = boinf(name, tmp_path)
        off += list(errors(data, majority(data.pool, [4, 16, 64]), row[1:4]))
    assert len(off) == 30
    assert (np.array(off) <= 2).sum() >= 28


def test_boinf_shortest_of_16_is_a_verifier(tmp_path: Path) -> None:
    data = boinf("math500_Phi-4-reasoning", tmp_path).without_blanks()
    short = np.asarray(1 - data.tokens / (data.tokens.max() + 1), np.float32)
    found = best_of_n(data.with_scores(short=short).pool, "short", [16])
    assert errors(data, found, (0.906,)).max() <= 2


def test_boinf_prompts_come_from_the_problem_set(tmp_path: Path) -> None:
    problems = DATA / "problems" / "math500.jsonl"
    path = DATA / "boinf" / "analysis_math500_gpt-oss-20b.jsonl.gz"
    import_pool(Asked(path, {}, {"problems": str(problems)}), "boinf", tmp_path / "pool.parquet")
    frame = read_pool(tmp_path / "pool.parquet", large=True).frame
    asked = [json.loads(line)["problem"] for line in problems.read_text().splitlines()]
    assert frame["prompt"].gather_every(80).to_list() == asked


@pytest.mark.parametrize(("kind", "one", "five"), [("input", 35.95, 44.99), ("output", 34.21, 40.29)])
def test_cruxeval(kind: str, one: float, five: float, tmp_path: Path) -> None:
    import gzip

    path = DATA / "cruxeval" / f"scored_codellama-7b_temp0.2_{kind}.json.gz"
    data = imported(path, "cruxeval", tmp_path)
    assert data.answers.shape == (800, 10)
    found = 100 * pass_at_k(data.pool, [1, 5]).mean(axis=0)
    stored = json.loads(gzip.decompress(path.read_bytes()))
    assert found == pytest.approx([stored["pass_at_1"], stored["pass_at_5"]], abs=1e-9)
    assert found == pytest.approx([one, five], abs=0.005)


def test_cruxeval_golds_are_what_right_answers_say(tmp_path: Path) -> None:
    data = imported(DATA / "cruxeval" / "scored_codellama-7b_temp0.2_output.json.gz", "cruxeval", tmp_path)
    same = data.frame.filter(pl.col("answer") == pl.col("gold"))
    assert same.height > 2000
    assert same["correct"].all()


def test_tau_bench(tmp_path: Path) -> None:
    data = imported(DATA / "tau_bench", "tau_bench", tmp_path)
    assert data.answers.shape == (50, 4)
    found = summarize(data)
    assert list(found["pass^k"].values()) == pytest.approx([0.420, 0.273, 0.220, 0.200], abs=0.0005)
    assert list(found["pass@k"].values()) == pytest.approx([0.420, 0.567, 0.660, 0.720], abs=0.0005)
    assert found["majority@k"] is None and "no sample has an answer" in " ".join(found["warnings"])


def test_codet_humaneval(tmp_path: Path) -> None:
    data = imported(DATA / "codet_humaneval", "codet_humaneval", tmp_path)
    assert data.answers.shape == (164, 100)
    assert pass_at_k(data.pool, [1, 10, 100]).mean(axis=0) == pytest.approx(
        [0.2236, 0.5068, 0.7439], abs=5e-5
    )
    assert best_of_n(data.pool, "tests", [100]).mean() == pytest.approx(0.2385, abs=5e-5)
    assert behaviour_majority(data).mean() == pytest.approx(0.2995, abs=5e-5)
    assert agreement(data, "tests_weighted").mean() == pytest.approx(0.357, abs=5e-4)
    found = summarize(data, ks=[1, 100])
    assert found["behaviour"]["agreement:tests_weighted"] == agreement(data, "tests_weighted").mean()
    assert found["pass@k"]["100"] == pytest.approx(0.744, abs=5e-4)


def test_codet_programs_are_what_was_executed(tmp_path: Path) -> None:
    import_pool(Asked(DATA / "codet_humaneval"), "codet_humaneval", tmp_path / "pool.parquet")
    frame = read_pool(tmp_path / "pool.parquet", large=True).frame
    texts = frame.select("problem", "answer", pl.col("text").str.strip_chars_end()).unique()
    programs = frame.select("problem", "answer").unique().height
    assert texts.height == programs  # programs that were labelled together are one text
    tests = json.loads(frame["meta"][0])
    assert len(frame["behaviour"][0]) == len(tests["tests"]) == len(tests["test_counts"])
    assert f"def {tests['entry_point']}" in frame["prompt"][0]


def test_qwen25math_rm8(tmp_path: Path) -> None:
    data = imported(DATA / "qwen25math_rm8", "qwen25math_rm8", tmp_path)
    assert data.answers.shape == (100, 8)
    assert data.correct.mean() == pytest.approx(0.910)
    assert round(majority(data.pool, [8]).mean() + 1e-12, 2) == 0.93  # .925, ties split
    assert best_of_n(data.pool, "rm", [8]).mean() == pytest.approx(0.94)
    assert best_of_n_weighted(data.pool, "rm", [8]).mean() == pytest.approx(0.94)
    assert pass_at_k(data.pool, [8]).mean() == pytest.approx(0.96)
    raw = data.frame["scores"].struct.field("rm").to_numpy().reshape(100, 8)
    assert raw.min() < 0 and raw.max() > 6
    assert data.scores["rm"] == pytest.approx(1 / (1 + np.exp(-raw)), abs=1e-6)


def chains(kind: str) -> Path:
    (found,) = (DATA / "tot_game24").glob(f"*{kind}*.json.gz")
    return found


def test_tot_game24_chains(tmp_path: Path) -> None:
    data = imported(chains("naive_cot"), "tot_game24", tmp_path)
    assert data.answers.shape == (100, 100)
    found = pass_at_k(data.pool, [1, 10, 100]).mean(axis=0)
    assert found == pytest.approx([0.0403, 0.215, 0.49], abs=5e-4)


def worth(expression: str) -> float | None:
    """An arithmetic expression's value, None if it is none."""
    import ast
    import operator

    known = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in known:
            return known[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        raise ValueError(node)

    try:
        return value(ast.parse(expression, mode="eval").body)
    except (ValueError, SyntaxError, ZeroDivisionError):
        return None


@pytest.mark.parametrize("kind", ["naive_cot", "naive_standard", "propose1"])
def test_tot_game24_outcomes_agree_with_arithmetic(kind: str, tmp_path: Path) -> None:
    import_pool(Asked(chains(kind)), "tot_game24", tmp_path / "pool.parquet")
    frame = read_pool(tmp_path / "pool.parquet", large=True).frame.filter(pl.col("answer").is_not_null())
    for row in frame.unique(["problem", "answer"]).iter_rows(named=True):
        digits = "".join(c if c.isdigit() else " " for c in row["answer"])
        whole = sorted(digits.split()) == sorted(row["prompt"].split())
        reached = worth(row["answer"])
        right = whole and reached is not None and abs(reached - 24) < 1e-6
        assert right == row["correct"], row["answer"]


def test_tot_game24_search(tmp_path: Path) -> None:
    data = imported(chains("propose1"), "tot_game24", tmp_path)
    assert data.info.kind == "search"
    assert data.correct.any(axis=1).sum() == 69
    assert data.correct[:, 0].sum() == 62
    assert pass_at_k(data.pool, [5]).mean() == pytest.approx(0.69)
    assert summarize(data)["search"] == {"first": 0.62, "any": 0.69}


def test_tot_game24_selection_is_a_stable_sort_by_value() -> None:
    steps = read_search(chains("propose1"))
    assert len(steps) == 400
    assert sum(step.ranked()[:5] == step.kept for step in steps) == 400


SUBSETS = ["gsm8k", "math", "olympiadbench", "omnimath"]


def stored(subset: str) -> dict[str, dict[str, dict[str, float]]]:
    import gzip

    path = DATA / "fover_prm_eval" / f"processbench_{subset}.json.gz"
    return {
        name: found["performance"] for name, found in json.loads(gzip.decompress(path.read_bytes())).items()
    }


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize(("level", "named"), [("solutions", "instance_level"), ("steps", "step_level")])
def test_fover_stored_measures(subset: str, level: str, named: str, tmp_path: Path) -> None:
    path = DATA / "fover_prm_eval" / f"processbench_{subset}.json.gz"
    data = imported(path, "fover_prm_eval", tmp_path, level=level)
    labels = data.correct[:, 0]
    published = stored(subset)
    assert list(data.scores) == list(published) and len(published) == 11
    for name, measures in published.items():
        scores = data.frame["scores"].struct.field(name).to_numpy()
        said = measures[named]
        assert auroc(scores, labels) == pytest.approx(said["auroc"], abs=1e-6)
        found = binary(scores, labels, np.float32(said["threshold"]))
        for what in ("accuracy", "precision", "recall", "f1"):
            assert getattr(found, what) == pytest.approx(said[what], abs=1e-9), (name, what)


def test_fover_named_figures(tmp_path: Path) -> None:
    path = DATA / "fover_prm_eval" / "processbench_math.json.gz"
    data = imported(path, "fover_prm_eval", tmp_path, level="steps")
    for name, expected in (("Qwen2.5-Math-PRM-7B", 0.953), ("Llama3.1-8B-PRM-Deepseek-Data", 0.772)):
        assert auroc(data.scores[name][:, 0], data.correct[:, 0]) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("subset", SUBSETS)
def test_fover_solution_scores_are_the_minimum_of_step_scores(subset: str, tmp_path: Path) -> None:
    """There is a way to cut the steps into the solutions, in order, where all 11 minima agree.

    Of a wrong solution only the steps up to the first error are there, so its score may be lower.
    """
    path = DATA / "fover_prm_eval" / f"processbench_{subset}.json.gz"
    steps = imported(path, "fover_prm_eval", tmp_path, level="steps")
    wholes = imported(path, "fover_prm_eval", tmp_path, level="solutions")
    values = np.stack([steps.scores[name][:, 0] for name in steps.scores])
    targets = np.stack([wholes.scores[name][:, 0] for name in wholes.scores])
    fine, whole_fine = steps.correct[:, 0], wholes.correct[:, 0]
    starts = {0}
    for at, right in enumerate(whole_fine):
        ends = set()
        for start in starts:
            low = np.full(len(values), np.inf)
            for end in range(start, len(fine)):
                low = np.minimum(low, values[:, end])
                if (low < targets[:, at]).any() or (right and not fine[end]):
                    break
                if right and (low == targets[:, at]).all():
                    ends.add(end + 1)
                if not right and not fine[end]:
                    ends.add(end + 1)
                    break
        starts = ends
        assert starts, f"solution {at} cannot be placed"
    assert len(fine) in starts


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_processbench(name: str, tmp_path: Path) -> None:
    path = DATA / "processbench" / f"{name}_first200.json"
    data = imported(path, "processbench", tmp_path)
    records = json.loads(path.read_text())
    assert data.names == tuple(record["id"] for record in records)
    large = read_pool(tmp_path / "pool.parquet", large=True).frame
    truth = [record["label"] for record in records]
    for row, record in zip(large.iter_rows(named=True), records, strict=True):
        assert row["steps"] == record["steps"] and row["correct"] == record["final_answer_correct"]
        labels = row["step_labels"]
        assert first_below([1.0 if v is None else v for v in labels], 0.5) == record["label"]
        assert labels.count(0.0) == (record["label"] >= 0) and labels[: record["label"] + 1].count(None) == 0
    # the measure itself, with the few solutions that have no error taken from nowhere but the labels
    mixed = [*truth, -1, -1]
    assert first_error(mixed, mixed).f1 == 1.0
    assert first_error([-1] * len(mixed), mixed).f1 == 0.0
    half = [label if at % 2 else label + 1 for at, label in enumerate(truth)] + [-1, -1]
    assert first_error(half, mixed).wrong == pytest.approx(0.5)
    assert first_error(half, mixed).f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("run", "trials", "first", "last"), [("reflexion_run_logs", 15, 84, 134), ("base_run_logs", 7, 84, 101)]
)
def test_reflexion(run: str, trials: int, first: int, last: int, tmp_path: Path) -> None:
    data = imported(DATA / "reflexion" / "alfworld_runs" / "root" / run, "reflexion", tmp_path)
    assert data.problems == 134 and data.info.kind == "trials"
    solved = summarize(data)["solved_by_trial"]
    assert (len(solved), solved[0], solved[-1]) == (trials, first, last)
    assert solved == sorted(solved)
    assert data.samples == 1 and any("trials in order" in w for w in summarize(data)["warnings"])


def test_reflexion_webshop_too(tmp_path: Path) -> None:
    runs = {file.parent for file in (DATA / "reflexion" / "webshop_runs").rglob("*.json.gz")}
    assert len(runs) == 4
    for run in runs:
        assert imported(run, "reflexion", tmp_path).problems == 100


STEPS = DATA / "openr_step_samples"


def steps_of(name: str, place: Path) -> pl.DataFrame:
    import_pool(Asked(STEPS / f"samples_{name}.jsonl"), "openr_step_samples", place / "pool.parquet")
    return pl.read_parquet(place / "pool.parquet")


def test_prm800k_records(tmp_path: Path) -> None:
    frame = steps_of("prm800k", tmp_path)
    records = [json.loads(line) for line in (STEPS / "samples_prm800k.jsonl").read_text().splitlines()]
    assert frame["problem"].n_unique() == len(records) == 6
    given = taken = 0
    for record in records:
        for step in record["label"]["steps"]:
            given += len(step["completions"] or [])
            taken += step["chosen_completion"] is not None
    assert frame.height == given - taken + 6  # every alternative, and every path taken
    paths = frame.filter(pl.col("finish").is_not_null())
    assert paths["finish"].to_list() == [record["label"]["finish_reason"] for record in records]
    first = paths.row(0, named=True)
    assert first["gold"] == "29" and first["step_labels"] == [1.0, None, 1.0, 1.0, 1.0, 1.0]
    assert first["steps"][1] == "We have $3p+e=1.24$ and $5p+e=1.82$."
    neutral = {}
    for how in ("right", "wrong", "unlabelled"):
        asked = Asked(STEPS / "samples_prm800k.jsonl", {}, {"neutral": how})
        import_pool(asked, "prm800k", tmp_path / f"{how}.parquet")
        neutral[how] = pl.read_parquet(tmp_path / f"{how}.parquet")["step_labels"].explode()
    assert neutral["unlabelled"].null_count() > neutral["right"].null_count()
    assert (neutral["wrong"] == 0).sum() > (neutral["right"] == 0).sum()


def test_math_shepherd_records(tmp_path: Path) -> None:
    frame = steps_of("math-shepherd", tmp_path)
    records = [json.loads(line) for line in (STEPS / "samples_math-shepherd.jsonl").read_text().splitlines()]
    assert frame.height == len(records) == 7
    for row, record in zip(frame.iter_rows(named=True), records, strict=True):
        assert record["input"].count("ки") == len(row["steps"]) == len(row["step_labels"])
        assert record["label"].startswith(row["prompt"])
        rebuilt = "\n".join(
            f"{s} {'+' if v else '-'}" for s, v in zip(row["steps"], row["step_labels"], strict=True)
        )
        assert record["label"].endswith(rebuilt)


def test_math_aps_records(tmp_path: Path) -> None:
    flat = steps_of("math-aps", tmp_path)
    records = [json.loads(line) for line in (STEPS / "samples_math-aps.jsonl").read_text().splitlines()]
    assert flat.height == sum(
        len(record["reasoning_steps"]) - 1 for record in records
    )  # less the bare question
    assert flat["gold"].unique(maintain_order=True).to_list() == [
        record["final_answer"] for record in records
    ]
    values = [
        e["mc_value"] for r in records for e in r["reasoning_steps"] if e["solution_prefix"] != r["question"]
    ]
    assert flat["step_labels"].explode().to_list() == pytest.approx(values)

    def leaves(node: dict) -> int:
        return sum(map(leaves, node["children"])) or 1

    tree = steps_of("math-aps-tree", tmp_path)
    roots = [json.loads(line) for line in (STEPS / "samples_math-aps-tree.jsonl").read_text().splitlines()]
    assert tree.height == sum(leaves(record["reasoning_steps"]) for record in roots)
    assert (tree["steps"].list.len() == tree["step_labels"].list.len()).all()


@pytest.mark.parametrize(
    ("name", "count"),
    [("problems/math500.jsonl", 500), ("problems/qwen_aime24.jsonl", 30), ("problems/qwen_amc23.jsonl", 40)],
)
def test_problem_sets(name: str, count: int) -> None:
    problems = load_problem_set(DATA / name)
    assert len(problems) == count
    assert all(problem.gold and problem.prompt for problem in problems)
    if "aime" in name:
        assert all(problem.gold.isdigit() for problem in problems)
    if "amc23" in name:
        assert problems[0].gold == "27"  # written 27.0
    if "math500" in name:
        assert problems[0].id == "test/precalculus/807.json"
        assert problems[0].gold == "\\left( 3, \\frac{\\pi}{2} \\right)"


def test_gsm8k() -> None:
    problems = load_problem_set(DATA / "gsm8k" / "test.jsonl")
    assert len(problems) == 1319
    assert problems[0].gold == "18" and problems[0].prompt.startswith("Janet")
    assert not any("," in problem.gold or "#" in problem.gold for problem in problems)


def test_a_folder_of_several_pools_is_refused_by_name(tmp_path: Path) -> None:
    from mull.errors import MullError

    for folder, form in (("boinf", "boinf"), ("tot_game24", "tot_game24"), ("reflexion", "reflexion")):
        with pytest.raises(MullError, match=r"holds \d+ (pools|runs); give the (path|folder) of one"):
            imported(DATA / folder, form, tmp_path)


def test_every_format_refuses_another_formats_file(tmp_path: Path) -> None:
    """A wrong --format is one line that says so, never a traceback and never a pool."""
    from mull.errors import MullError
    from mull.pools import adapters

    files = {
        "boinf": DATA / "boinf" / "analysis_aime2025_LIMO-v2.jsonl.gz",
        "qwen25math_rm8": DATA / "qwen25math_rm8" / "math_cot_100.jsonl.gz",
        "processbench": DATA / "processbench" / "gsm8k_first200.json",
        "math_shepherd": STEPS / "samples_math-shepherd.jsonl",
    }
    for form in adapters():
        for own, path in files.items():
            if form in (own, "openr_step_samples", "jsonl"):
                continue
            with pytest.raises(MullError):
                imported(path, form, tmp_path)
            assert not (tmp_path / "pool.parquet").exists()
