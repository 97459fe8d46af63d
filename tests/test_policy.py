"""The policy: choosing, cross-validation, the file, and the paper's own numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mull.difficulty import Bins, quantile_bins
from mull.errors import MullError
from mull.policy import (
    ArmTable,
    Policy,
    Provenance,
    choose,
    cross_validate,
    fit,
    halves,
    load,
    recombine,
    save,
    without_cv,
)
from mull.strategies.base import Arm

FIGURES = Path(__file__).parents[2] / "shared" / "paper" / "figures.json"
BUDGETS = (4, 16, 64, 256)
SOURCE = Provenance("tiny", "abc123", "scripted", "prm", 7)


def make_table(arms, accuracy, generations=None):
    accuracy = np.asarray(accuracy, np.float64)
    if generations is None:
        generations = np.broadcast_to(np.asarray([[a.budget] for a in arms], float), accuracy.shape)
    return ArmTable(tuple(arms), accuracy, generations, generations * 100.0, generations * 1e6)


def random_table(problems=100, seed=0, budgets=BUDGETS):
    rng = np.random.default_rng(seed)
    arms = [Arm(name, n) for n in budgets for name in ("majority", "best_of_n", "best_of_n_weighted")]
    return make_table(arms, rng.random((len(arms), problems))), quantile_bins(rng.random(problems))


def figures():
    if not FIGURES.exists():
        pytest.skip(f"the paper's digitised figures are not at {FIGURES}")
    return json.loads(FIGURES.read_text())


def paper_table(series, budgets, sizes):
    """Arms whose accuracy is the paper's bin value on every problem of the bin."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    arms = [Arm(name, n) for n in budgets for name in series]
    rows = [np.asarray(series[arm.strategy])[labels, budgets.index(arm.budget)] / 100 for arm in arms]
    return make_table(arms, rows), Bins(labels, (4.0, 3.0, 2.0, 1.0), tuple(sizes))


def test_the_papers_best_arm_by_bin_without_cross_validation():
    data = figures()
    right = data["fig3_right"]
    series = {"best_of_n_weighted": right["BoN_weighted"], "beam": right["beam_M4"]}
    table, bins = paper_table(series, right["budgets"], data["bin_sizes_oracle"])
    best = without_cv(table, bins)
    np.testing.assert_allclose(100 * best.accuracy, [27.2, 34.0, 34.9, 39.8], atol=0.05)
    # chosen on halves of bins that are uniform, held-out accuracy is the same
    np.testing.assert_allclose(cross_validate(table, bins).accuracy, best.accuracy)


@pytest.mark.parametrize(
    ("panel", "expected"), [("search", [33.26, 34.22, 39.41]), ("revisions", [36.28, 41.28, 44.0])]
)
def test_the_papers_compute_optimal_points_are_its_bins_recombined(panel, expected):
    data = figures()
    at = [data["fig9"][f"{panel}_x"].index(n) for n in (16, 64, 256)]
    values = np.asarray(data["fig9"][panel])[:, at]
    np.testing.assert_allclose(recombine(values, data["bin_sizes_oracle"]), expected, atol=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_without_cv_is_at_least_every_fixed_strategy_and_cv_is_below_it(seed):
    table, bins = random_table(seed=seed)
    best = without_cv(table, bins)
    for arm, accuracy in zip(table.arms, table.accuracy, strict=True):
        assert best.accuracy[best.budgets.index(arm.budget)] >= accuracy.mean() - 1e-12
    held_out = cross_validate(table, bins, seed=seed)
    assert (held_out.accuracy <= best.accuracy + 1e-12).all()
    for found in (best, held_out):
        np.testing.assert_allclose(recombine(found.bin_accuracy, bins.sizes), found.accuracy)
        np.testing.assert_allclose(found.per_problem.mean(axis=0), found.accuracy)
        np.testing.assert_allclose(found.chosen.sum(axis=2), 1.0)
        np.testing.assert_allclose(found.generations, found.budgets)
        np.testing.assert_allclose(found.tokens, 100.0 * found.generations)
    assert (held_out.sd > 0).all() and not best.sd.any()


def test_cross_validation_never_measures_where_it_chose():
    # arm i is right on problem i alone; two problems a bin: choosing on one says nothing of the other
    problems = 10
    arms = [Arm("majority", 4, (("i", i),)) for i in range(problems)]
    table = make_table(arms, np.eye(problems))
    bins = Bins(np.repeat(np.arange(5), 2), (4.0, 3.0, 2.0, 1.0), (2,) * 5)
    assert without_cv(table, bins).accuracy[0] == 0.5
    assert cross_validate(table, bins).accuracy[0] == 0.0


def test_halves_split_every_bin_evenly_and_differ_between_splits():
    labels, rng = np.repeat([0, 1, 2], [10, 7, 1]), np.random.default_rng(0)
    folds = [halves(labels, rng) for _ in range(20)]
    for fold in folds:
        for b in range(3):
            assert abs(2 * fold[labels == b].sum() - (labels == b).sum()) <= 1
    assert len({tuple(fold) for fold in folds}) == 20


def test_cross_validation_is_seeded():
    table, bins = random_table()
    one, same, other = (cross_validate(table, bins, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.per_problem, same.per_problem)
    assert (one.per_problem != other.per_problem).any()


def test_a_bin_with_one_or_no_problem_takes_the_overall_best():
    arms = [Arm("majority", 4), Arm("best_of_n", 4)]
    table = make_table(arms, [[0.0] * 5, [1.0] * 5])
    bins = Bins(np.asarray([0, 0, 0, 0, 1]), (4.0, 3.0), (4, 1, 0))
    assert cross_validate(table, bins).accuracy[0] == 1.0
    rows = fit(table, bins)
    assert [e.arm.strategy for e in rows[0].entries] == ["best_of_n"] * 3
    assert [e.problems for e in rows[0].entries] == [4, 1, 0]
    assert np.isnan(without_cv(table, bins).bin_accuracy[2, 0])


def test_candidates_are_at_the_budget_unless_cheaper_ones_are_allowed():
    arms = [Arm("majority", 4), Arm("best_of_n", 16)]
    table = make_table(arms, [[0.9] * 10, [0.5] * 10])
    bins = quantile_bins(np.arange(10.0))
    assert {e.arm for e in fit(table, bins, [16])[0].entries} == {arms[1]}
    assert {e.arm for e in fit(table, bins, [16], allow_cheaper=True)[0].entries} == {arms[0]}
    assert cross_validate(table, bins, [16], allow_cheaper=True).generations[0] == 4
    with pytest.raises(MullError, match="no arm was measured at a budget of 8; measured: 4, 16"):
        fit(table, bins, [8])
    with pytest.raises(MullError, match="no arm was measured at a budget of 2"):
        fit(table, bins, [2], allow_cheaper=True)


def test_ties_go_to_the_cheaper_arm():
    arms = [Arm("best_of_n", 4), Arm("majority", 4), Arm("best_of_n_weighted", 4)]
    table = make_table(arms, np.full((3, 10), 0.3), np.repeat([[4.0], [3.0], [4.0]], 10, axis=1))
    bins = quantile_bins(np.arange(10.0))
    assert {e.arm.strategy for e in fit(table, bins)[0].entries} == {"majority"}


def test_entries_carry_costs_intervals_and_the_held_out_accuracy():
    table, bins = random_table()
    held_out = cross_validate(table, bins)
    rows = fit(table, bins, held_out=held_out)
    assert [row.held_out for row in rows] == pytest.approx(list(held_out.accuracy))
    for row in rows:
        for entry in row.entries:
            assert 0 <= entry.ci95[0] <= entry.accuracy <= entry.ci95[1] <= 1
            assert entry.generations == row.budget and entry.problems == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": np.full((12, 100), np.nan)}, "one is not, or is missing"),
        ({"accuracy": np.zeros((3, 100))}, "12 arms need accuracies"),
        ({"tokens": np.zeros((12, 3))}, "needs its tokens"),
        ({"arms": (Arm("majority", 4),) * 12}, "names an arm twice"),
    ],
)
def test_a_bad_arm_table_is_refused(change, message):
    with pytest.raises(MullError, match=message):
        replace(random_table()[0], **change)


# -- the object and its file ---------------------------------------------------------------


@pytest.fixture
def policy():
    table, bins = random_table()
    beams = [Arm("beam", n, (("width", 4),)) for n in BUDGETS]
    table = ArmTable(
        table.arms + tuple(beams),
        *(np.concatenate([part, part[[0, 3, 6, 9]]]) for part in (table.accuracy, *table.costs().values())),
    )
    table.accuracy[-4:] = 0.9
    rows = fit(table, bins, held_out=cross_validate(table, bins))
    probed = tuple(replace(row, probe=2, held_out=None) for row in rows[1:])
    return Policy({"oracle": rows, "charged": probed}, SOURCE)


def test_choosing_takes_the_largest_fitted_budget_within_what_is_asked(policy):
    row = policy.rows["oracle"][1]
    assert choose(policy, 16, kind="oracle", bin=2) == row.entries[2].arm
    assert choose(policy, 63, kind="oracle", value=9.0) == row.entries[0].arm
    assert choose(policy, 63, kind="oracle", value=-9.0) == row.entries[4].arm
    assert choose(policy, 63, kind="oracle", value=float("nan")) == row.entries[4].arm
    assert choose(policy, 10_000, kind="oracle", bin=0).budget == 256
    for act, message in [
        (lambda: choose(policy, 3, kind="oracle", bin=0), "below the policy's smallest, 4 generations"),
        (lambda: choose(policy, 16, bin=0), "no 'predicted' difficulty; it has: charged, oracle"),
        (lambda: choose(policy, 16, kind="oracle", bin=5), "no difficulty bin 5"),
        (lambda: choose(policy, 16, kind="oracle"), "one of the two"),
    ]:
        with pytest.raises(MullError, match=message):
            act()


def test_a_saved_policy_comes_back_the_same_and_leaves_nothing_else(policy, tmp_path):
    path = tmp_path / "policy.json"
    save(policy, path)
    assert load(path) == policy
    assert [p.name for p in tmp_path.iterdir()] == ["policy.json"]
    text = path.read_text()
    save(load(path), path)
    assert path.read_text() == text and text.count("\n") > 50


def edited(body, where, value):
    *path, last = where
    for key in path:
        body = body[key]
    if value is ...:
        del body[last]
    else:
        body[last] = value


ROW = ("rows", "oracle", 0)
ENTRY = (*ROW, "entries", 0)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("version",), 99, "'version' is 99"),
        (("version",), ..., "'version' is missing"),
        (("provenance", "seed"), "x", "'provenance.seed' must be a whole number"),
        (("provenance", "engine"), ..., "'provenance.engine' is missing"),
        (("rows",), {}, "'rows' is empty"),
        (("rows", "oracle"), [], "'rows.oracle' must be a list"),
        ((*ROW,), 3, r"'rows.oracle\[0\]' must be an object"),
        ((*ROW, "budget"), 64, "in order of budget"),
        ((*ROW, "budget"), True, "'rows.oracle.0..budget' must be a whole number"),
        ((*ROW, "probe"), 9, "probe' must be within the budget"),
        ((*ROW, "held_out"), ..., "held_out' is missing"),
        ((*ROW, "thresholds"), [1, 2, 3, 4], "thresholds' must not increase"),
        ((*ROW, "thresholds"), [1, 0], "entries' must hold one entry a bin, 3"),
        ((*ROW, "thresholds", 1), None, "thresholds.1' must be a finite number"),
        ((*ENTRY, "accuracy"), 1.2, "accuracy' must be in"),
        ((*ENTRY, "ci95"), [0.5], "ci95' must be two numbers"),
        ((*ENTRY, "tokens"), -1, "tokens' must not be negative"),
        ((*ENTRY, "problems"), ..., "problems' is missing"),
        ((*ENTRY, "arm", "strategy"), "oracle", "arm.strategy': there is no strategy 'oracle'"),
        ((*ENTRY, "arm", "params", "depth"), 2, "arm.params.depth' is no parameter of"),
        ((*ENTRY, "arm", "budget"), 0, "arm.budget' must be at least 1"),
        ((*ENTRY, "arm", "params"), {"width": 3}, "arm': .*cannot spend"),
        ((*ENTRY, "arm"), ..., "arm' is missing"),
    ],
)
def test_a_bad_file_is_refused_by_file_and_field(policy, tmp_path, where, value, message):
    path = tmp_path / "policy.json"
    save(policy, path)
    body = json.loads(path.read_text())
    edited(body, where, value)
    path.write_text(json.dumps(body))
    with pytest.raises(MullError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    path = tmp_path / "policy.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(MullError, match=r"policy\.json"):
        load(path)
    with pytest.raises(MullError, match="cannot read"):
        load(tmp_path / "none.json")
