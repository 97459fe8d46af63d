"""Allocation measured: held-out comparisons, ``mull allocate``, and what is foretold on real pools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mull.allocation import bins, measure, text
from mull.allocation.held import RULES
from mull.allocation.paths import Paths
from mull.allocation.report import histogram, read_costs
from mull.cli import main
from mull.pools import Asked, import_pool, read_pool, write_pool
from mull.replay import Recorded
from mull.study import bootstrap
from test_allocation import pool_file

BOINF = Path(__file__).parent.parent.parent / "shared" / "data" / "boinf"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pool_file(tmp_path_factory.mktemp("pool") / "pool.parquet", problems=14)


def command(*words: object) -> int:
    return main(["allocate", *map(str, words)])


def test_every_rule_is_measured_within_its_budget(pool: Path) -> None:
    data = read_pool(pool, large=True)
    recorded = Recorded.of(data)
    texts = data.frame["prompt"].gather_every(data.samples).to_list()
    unit = float(recorded.tokens.mean())
    budgets = [2 * unit, 5 * unit]
    costs = np.linspace(1, 3, 14)
    held = measure(recorded, budgets, costs=costs, texts=texts, most=16, runs=6, count=3)
    assert set(held.lines) == set(RULES)
    for rule in ("posterior", "text", "consequence", "stream"):
        for at, budget in enumerate(budgets):
            values = held.at(rule, at, budget)
            assert values is not None and (values.right >= 0).all() and (values.right <= 1).all()
            assert values.tokens.mean() <= budget + 1e-9
            assert held.got[rule][at].sum() == pytest.approx(1.0)
    assert len(held.models) == 6 and held.foretold.shape[1] == 5
    again = measure(recorded, budgets, rules=["posterior"], most=16, runs=6, count=3)
    np.testing.assert_array_equal(again.lines["posterior"][0].right, held.lines["posterior"][0].right)
    same = measure(
        recorded,
        budgets,
        rules=["posterior", "consequence"],
        costs=np.full(14, 0.1),
        most=16,
        runs=6,
        count=2,
    )
    for plain, aware in zip(same.lines["posterior"], same.lines["consequence"], strict=True):
        np.testing.assert_array_equal(plain.right, aware.right)
        np.testing.assert_array_equal(plain.tokens, aware.tokens)


def test_held_out_labels_and_unseen_samples_change_no_allocation(pool: Path) -> None:
    from dataclasses import replace

    recorded = Recorded.of(read_pool(pool))
    budget = [3 * float(recorded.tokens.mean())]
    held = measure(recorded, budget, rules=["posterior"], most=16, runs=4, count=1)
    from mull.replay.ledger import splits

    test = ~next(iter(splits(14, 1)))
    wrong = recorded.right.copy()
    wrong[test] = ~wrong[test]
    other = measure(replace(recorded, right=wrong), budget, rules=["posterior"], most=16, runs=4, count=1)
    before, after = held.lines["posterior"][0].tokens, other.lines["posterior"][0].tokens
    np.testing.assert_array_equal(before[test], after[test])


def test_bins_spend_the_training_budget(pool: Path) -> None:
    recorded = Recorded.of(read_pool(pool))
    paths = Paths.of(recorded.draw(30, 16, seed=0), 0, 16)
    unit = float(recorded.tokens.mean())
    budgets = [1.2 * unit, 3 * unit, 8 * unit]
    found = bins.fit(paths, budgets)
    for budget, binned in zip(budgets, found, strict=True):
        np.testing.assert_allclose(binned.shares.sum(axis=1), 1.0)
        assert bins.measure(binned, paths)[1].mean() <= budget * 1.1
    reached = [one.expected for one in found]
    assert reached == sorted(reached)


def test_a_texts_hint_never_uses_the_problem_itself() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(60) < 0.5
    texts = [
        f"{'prove the lemma' if h else 'add two numbers'} number {i} {rng.integers(100)}"
        for i, h in enumerate(hard)
    ]
    tokens = np.where(hard[:, None], 900, 90) + rng.integers(0, 30, (60, 8))
    train = np.arange(60) < 40
    words = text.features(texts)
    found = text.expected(words, tokens, train)
    assert np.corrcoef(found[~train], hard[~train])[0, 1] > 0.9
    changed = tokens.copy()
    changed[~train] = 7
    np.testing.assert_array_equal(text.expected(words, changed, train), found)
    changed = tokens.copy()
    changed[0] *= 50
    assert abs(text.expected(words, changed, train)[0] - found[0]) < 1.0


def test_the_command_prints_rules_intervals_and_who_got_what(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("problem,cost\n" + "\n".join(f"q{i},{i % 3}" for i in range(14)))
    few = ("--splits", 2, "--runs", 4, "--most", 16, "--draws", 50)
    assert command(pool, "--budget", 3, "--costs", costs, "--json", *few) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 14 and found["splits"] == 2
    by_rule = {row["rule"]: row for row in found["rules"]}
    assert set(by_rule) == set(RULES) - {"text"}
    own = by_rule["posterior"]
    low, high = own["ci95"]
    assert low <= own["accuracy"] <= high and own["tokens"] <= found["budget"]
    assert sum(own["got"].values()) == pytest.approx(1.0) and "loss" in own and "against_uniform" in own
    assert command(pool, "--tokens", 200, "--rules", "uniform,posterior,text", *few) == 0
    said = capsys.readouterr().out
    assert "share of problems" in said and "text" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", 3, "--rules", "nonsense"), "no allocation rule 'nonsense'"),
        (("--budget", 3, "--rules", " , "), "no rule was named"),
        (("--budget", 3, "--rules", "consequence"), "needs costs of being wrong"),
        (("--tokens", 1), "below one sample"),
        (("--budget", 3, "--costs", "{missing}"), "cannot read the costs"),
        (("--budget", 3, "--costs", "{short}"), "no cost for problem"),
        (("--budget", 3, "--costs", "{negative}"), "at least 0"),
        (("--budget", 3, "--costs", "{columns}"), "columns 'problem' and 'cost'"),
    ],
)
def test_wrong_input_is_one_line(
    pool: Path, tmp_path: Path, words: tuple[object, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short").write_text('{"q0": 1}')
    (tmp_path / "negative").write_text(json.dumps({f"q{i}": -1 for i in range(14)}))
    (tmp_path / "columns").write_text("a,b\n1,2\n")
    filled = [str(word).replace("{", f"{tmp_path}/").replace("}", "") for word in words]
    assert command(pool, *filled) == 1
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize("words", [(), ("--budget", 0), ("--budget", 2, "--tokens", 5), ("--tokens", "few")])
def test_a_budget_that_is_none_is_a_usage_error(
    pool: Path, words: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        command(pool, *words)
    assert left.value.code == 2 and "usage: mull allocate" in capsys.readouterr().err


def test_a_pool_that_cannot_be_allocated_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, silent = tmp_path / "one.parquet", tmp_path / "silent.parquet"
    write_pool(pl.DataFrame({"problem": ["a"] * 3, "answer": ["1"] * 3, "correct": [True] * 3}), one)
    write_pool(pl.DataFrame({"problem": ["a", "b"], "correct": [True, False]}), silent)
    for path, said in (
        (tmp_path / "none.parquet", "there is no pool"),
        (one, "at least 2"),
        (silent, "the pool has no answers"),
    ):
        assert command(path, "--budget", 2) == 1
        shown = capsys.readouterr().err
        assert said in shown and shown.count("\n") == 1


def test_a_pool_without_token_counts_is_spent_in_samples(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.parquet"
    write_pool(pl.read_parquet(pool).drop("tokens"), plain)
    few = ("--splits", 1, "--runs", 2, "--most", 8, "--draws", 20)
    assert command(plain, "--budget", 2, "--json", *few) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens_known"] is False and found["budget"] == 2
    assert all(row["tokens"] <= 2 + 1e-9 for row in found["rules"] if row["rule"] in ("posterior", "stream"))
    assert command(plain, "--budget", 2, "--text", *few) == 1
    assert "no token counts" in capsys.readouterr().err


def test_costs_are_read_from_json_and_csv(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": 2, "y": 0.5}')
    (tmp_path / "a.csv").write_text("problem,cost\ny,0.5\nx,2\n")
    for name in ("a.json", "a.csv"):
        np.testing.assert_array_equal(read_costs(tmp_path / name, ["x", "y"]), [2.0, 0.5])
    assert histogram(np.array([0.5, 0.25, 0.25])) == {"0": 0.5, "1": 0.25, "2": 0.25}


@pytest.mark.skipif(not BOINF.is_dir(), reason="needs the recorded samples of ../shared/data/boinf")
def test_on_a_real_pool_it_beats_the_same_number_for_all_and_foretells_what_comes(tmp_path: Path) -> None:
    import_pool(
        Asked(BOINF / "analysis_math500_Phi-4-reasoning.jsonl.gz"), "boinf", tmp_path / "pool.parquet"
    )
    recorded = Recorded.of(read_pool(tmp_path / "pool.parquet"))
    unit = float(recorded.tokens.mean())
    held = measure(recorded, [2 * unit, 4 * unit], rules=["uniform", "posterior"], runs=4, count=1)
    shares = bootstrap.weights(500, 400, seed=0)
    for at, budget in enumerate((2, 4)):
        own, base = held.lines["posterior"][at], held.at("uniform", at, budget * unit)
        assert base is not None
        assert bootstrap.difference_ci95(own.right, base.right, shares).low > 0
    _, said, right, gain, came = held.foretold.T
    for low, high in ((0.0, 0.6), (0.6, 0.9), (0.9, 1.01)):
        group = (said >= low) & (said < high)
        # the lowest group holds some 40 different problems: its standard error is near 0.06
        assert abs(said[group].mean() - right[group].mean()) < (0.15 if low == 0.0 else 0.06)
    for low, high in ((-1.0, 0.001), (0.001, 0.03), (0.03, 0.1)):
        group = (gain >= low) & (gain < high)
        assert abs(gain[group].mean() - came[group].mean()) < 0.03
