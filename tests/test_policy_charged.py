"""The charged policy, and compute ratios at equal accuracy."""

from dataclasses import replace

import numpy as np
import pytest

from mull.errors import MullError
from mull.policy import halves
from mull.policy_charged import ChargedTable, Variant, cross_validate_charged, fit_charged
from mull.policy_ratio import Curve, cost_at, equal_accuracy_ratio
from mull.strategies.base import Arm


def charged_table(problems=200, runs=6, seed=0):
    """Easy problems want majority, hard ones beam; the probe tells them apart but for noise."""
    rng = np.random.default_rng(seed)
    easy = rng.random(problems)
    variants, outcome = [], []
    for k in (0, 2, 4):
        pool, search = Arm("majority", 16), Arm("beam", 16 - k)
        for variant in (Variant.pool(pool, k), Variant.search(search, k)):
            variants.append(variant)
            good = easy if variant.arm.strategy == "majority" else 1 - easy
            outcome.append(np.broadcast_to(good, (runs, problems)))
    values = {k: np.clip(easy + rng.normal(0, 0.4 / k, (runs, problems)), 0, 1) for k in (2, 4)}
    total = np.asarray([[v.total * 50.0] for v in variants])
    cost = np.broadcast_to(total, (len(variants), problems))
    return ChargedTable(tuple(variants), np.asarray(outcome), cost, cost * 2, cost * 1e6, values)


def test_probes_are_among_a_pools_samples_and_on_top_of_a_search():
    assert Variant.pool(Arm("majority", 16), 4).total == 16
    assert Variant.search(Arm("beam", 12), 4).total == 16
    with pytest.raises(MullError, match="cannot take 8 probes"):
        Variant.pool(Arm("majority", 4), 8)


def test_the_charged_policy_buys_a_probe_that_pays_and_stays_in_its_budget():
    table = charged_table()
    found = cross_validate_charged(table, [16])
    assert found.accuracy[0] > 0.7  # the fixed arms get 0.5
    assert found.generations[0] == 16 and found.tokens[0] == pytest.approx(2400)
    assert found.per_problem_cost["completion_tokens"].mean() == pytest.approx(800)
    row = fit_charged(table, [16], held_out=found)[0]
    assert row.probe == 4 and len(row.entries) == 5 and row.held_out == found.accuracy[0]
    assert row.entries[0].arm.strategy == "majority" and row.entries[4].arm == Arm("beam", 12)
    assert all(e.generations <= 16 for e in row.entries)
    with pytest.raises(MullError, match="no charged variant fits a budget of 8"):
        cross_validate_charged(table, [8])


def test_a_useless_probe_is_not_bought():
    table = charged_table()
    blind = {k: np.full_like(v, 0.5) for k, v in table.probe_value.items()}
    row = fit_charged(replace(table, probe_value=blind), [16])[0]
    assert row.probe == 0 and row.thresholds == () and len(row.entries) == 1


def test_a_tie_goes_to_the_arm_that_reads_less():
    """At one sample the weighted vote and majority are one arm, but only one of them pays a verifier."""
    variants = tuple(Variant.pool(Arm(name, 1), 0) for name in ("best_of_n_weighted", "majority"))
    outcome, sampled = np.full((2, 3, 20), 0.5), np.full((2, 20), 50.0)
    read = np.asarray([[80.0] * 20, [0.0] * 20])
    table = ChargedTable(variants, outcome, sampled, read, sampled + read, {})
    assert fit_charged(table, [1])[0].entries[0].arm.strategy == "majority"
    found = cross_validate_charged(table, [1])
    assert found.tokens[0] == found.flops[0] == 50


def test_the_charged_policy_is_not_chosen_where_it_is_measured():
    # variant i is right on problem i alone: in-sample the policy looks good, held out it is worth nothing
    problems = 10
    variants = tuple(Variant.pool(Arm("majority", 4, (("i", i),)), 1) for i in range(problems))
    outcome = np.repeat(np.eye(problems)[:, None, :], 2, axis=1)
    values = {1: np.tile(np.linspace(1, 0, problems), (2, 1))}
    cost = np.ones((problems, problems))
    table = ChargedTable(variants, outcome, cost, cost, cost, values)
    assert max(e.accuracy for e in fit_charged(table, [4])[0].entries) == 0.5
    assert cross_validate_charged(table, [4]).accuracy[0] == 0.0


def test_charged_thresholds_come_from_the_training_half_alone():
    table = charged_table(problems=40)
    one = cross_validate_charged(table, [16], splits=1, seed=3)
    fold = halves(np.zeros(40, np.int64), np.random.default_rng(3))
    at = int(np.nonzero(fold == 0)[0][0])
    outcome = table.outcome.copy()
    outcome[:, :, at] = 1.0  # changes what is fitted for fold 1, nothing else in fold 0
    other = cross_validate_charged(replace(table, outcome=outcome), [16], splits=1, seed=3)
    others = (fold == 0) & (np.arange(40) != at)
    np.testing.assert_array_equal(one.per_problem[others], other.per_problem[others])
    assert other.per_problem[at, 0] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe_value": {}}, "values of its 2-sample probes"),
        ({"outcome": np.full((6, 6, 200), 2.0)}, r"in \[0, 1\]"),
        ({"outcome": np.zeros((6, 200))}, r"\[variants, runs, problems\]"),
        ({"verifier_tokens": np.zeros((6, 3))}, r"\[variants, problems\]"),
    ],
)
def test_a_bad_charged_table_is_refused(change, message):
    with pytest.raises(MullError, match=message):
        replace(charged_table(), **change)


def flat(accuracies, problems=50):
    return np.repeat(np.asarray([accuracies], float), problems, axis=0)


def test_cost_is_log_linear_on_the_running_maximum():
    cost, accuracy = np.asarray([1.0, 4.0, 16.0, 64.0]), np.asarray([0.1, 0.3, 0.2, 0.5])
    assert cost_at(cost, accuracy, 0.3) == 4
    assert cost_at(cost, accuracy, 0.2) == pytest.approx(2)
    assert cost_at(cost, accuracy, 0.4) == pytest.approx(32)
    assert cost_at(cost, accuracy, 0.05) == 1
    assert cost_at(cost, accuracy, 0.51) == float("inf")


def test_the_ratio_of_a_curve_with_itself_is_one_and_of_a_quarter_four():
    rng = np.random.default_rng(0)
    accuracy = np.sort(rng.random((50, 4)), axis=1)
    cost = np.asarray([4.0, 16.0, 64.0, 256.0])
    same = equal_accuracy_ratio(Curve(cost, accuracy), Curve(cost, accuracy))
    assert (same.ratio, same.low, same.high, same.reached) == pytest.approx((1, 1, 1, 1))
    for where in ({}, {"at": 2}, {"target": float(accuracy[:, 1].mean())}):
        found = equal_accuracy_ratio(Curve(cost, accuracy), Curve(cost / 4, accuracy), **where)
        assert found.ratio == pytest.approx(4)
    per_problem = np.broadcast_to(cost / 4, accuracy.shape)
    assert equal_accuracy_ratio(Curve(cost, accuracy), Curve(per_problem, accuracy)).ratio == pytest.approx(4)


def test_a_target_that_is_never_reached_has_no_ratio_but_a_reason():
    low, high = (
        Curve(np.asarray([1.0, 2.0]), flat([0.1, 0.2])),
        Curve(np.asarray([1.0, 2.0]), flat([0.1, 0.4])),
    )
    found = equal_accuracy_ratio(high, low, at=1)
    assert found.ratio is None and found.reason == "the policy never reaches 40.0%" and found.reached == 0
    assert equal_accuracy_ratio(low, high, target=0.3).reason == "the baseline never reaches 30.0%"
    assert equal_accuracy_ratio(low, high).target == pytest.approx(0.2)


def test_draws_in_which_the_policy_falls_short_pull_the_interval_to_zero():
    rng = np.random.default_rng(1)
    theirs = (rng.random((60, 1)) < [[0.2, 0.50]]).astype(float)
    ours = (rng.random((60, 1)) < [[0.3, 0.52]]).astype(float)
    cost = np.asarray([1.0, 8.0])
    found = equal_accuracy_ratio(Curve(cost, theirs), Curve(cost, ours), at=1, draws=400)
    if found.ratio is not None and found.reached < 0.97:
        assert found.low == 0.0
    noisy = rng.permutation(theirs)
    short = equal_accuracy_ratio(Curve(cost, theirs), Curve(cost, noisy), at=1, draws=400)
    assert short.reached < 0.97 and short.ratio is not None and short.low == 0.0


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda c: Curve(np.zeros(2), flat([0.1, 0.2])), "above 0"),
        (lambda c: Curve(np.ones(3), flat([0.1, 0.2])), "does not fit"),
        (lambda c: equal_accuracy_ratio(c, Curve(np.ones(2), flat([0.1, 0.2], 3))), "different problems"),
        (lambda c: equal_accuracy_ratio(c, c, at=0, target=0.1), "not both"),
        (lambda c: equal_accuracy_ratio(c, c, at=2), "2 points"),
    ],
)
def test_bad_curves_are_refused(act, message):
    with pytest.raises(MullError, match=message):
        act(Curve(np.asarray([1.0, 2.0]), flat([0.1, 0.2])))
