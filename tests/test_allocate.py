"""The allocating policies: greedy on hulls is the linear programme; chosen and measured apart."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.difficulty import Bins
from mull.errors import MullError
from mull.policy import ArmTable, fit
from mull.policy_allocate import allocate, cross_validate_allocating, fit_allocating, shares
from mull.policy_allocate_charged import allot, cross_validate_allotment, fit_allotment
from mull.policy_charged import ChargedTable, Variant
from mull.policy_file import Policy, Provenance, choose, load, save
from mull.strategies import Arm


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4))
def test_allocating_is_the_linear_programmes_optimum(seed: int, groups: int, arms: int) -> None:
    rng = np.random.default_rng(seed)
    value, cost = rng.random((groups, arms)), rng.integers(1, 9, (groups, arms)).astype(float)
    weight = rng.dirichlet(np.ones(groups))
    budget = float((weight * cost.min(axis=1)).sum() + rng.random() * 5)
    share = allocate(value, cost, weight, budget)
    assert np.allclose(share.sum(axis=1), 1) and (share >= -1e-12).all()
    assert (weight[:, None] * share * cost).sum() <= budget + 1e-9
    # A basic optimum splits at most one group between two arms: try them all.
    best = -1.0
    for picks in itertools.product(range(arms), repeat=groups):
        fixed = sum(weight[g] * cost[g, a] for g, a in enumerate(picks))
        worth = sum(weight[g] * value[g, a] for g, a in enumerate(picks))
        if fixed <= budget + 1e-12:
            best = max(best, worth)
        for g in range(groups):
            for other in range(arms):
                more = weight[g] * (cost[g, other] - cost[g, picks[g]])
                if fixed <= budget < fixed + more:
                    part = (budget - fixed) / more
                    best = max(best, worth + part * weight[g] * (value[g, other] - value[g, picks[g]]))
    assert (weight[:, None] * share * value).sum() == pytest.approx(best)


def test_a_budget_below_the_cheapest_arms_is_refused() -> None:
    with pytest.raises(MullError, match="below what the cheapest arms cost"):
        allocate(np.ones((1, 1)), np.full((1, 1), 2.0), np.ones(1), 1.0)


def table(problems: int = 60) -> tuple[ArmTable, Bins]:
    """Easy problems need one sample, hopeless ones nothing helps, the middle wants eight."""
    labels = np.arange(problems) * 3 // problems
    accuracy = np.stack([labels == 0, labels == 0, labels <= 1]).astype(float)
    arms = tuple(Arm("majority", n) for n in (1, 4, 8))
    cost = np.repeat(np.array([[1.0], [4.0], [8.0]]), problems, axis=1)
    sizes = tuple(int(n) for n in np.bincount(labels))
    return ArmTable(arms, accuracy, cost, cost, cost), Bins(labels, (0.7, 0.3), sizes)


def test_easy_and_hopeless_problems_give_to_those_in_between() -> None:
    arms, bins = table()
    everyone = np.ones(arms.problems, bool)
    found = shares(arms, bins, [1, 2, 8], everyone, "generations", spread=0.0)
    assert found[0].argmax(axis=1).tolist() == [0, 0, 0]
    assert found[1, 1, 2] == pytest.approx(3 / 7) and found[1, (0, 2), 0].tolist() == [1.0, 1.0]
    measured = cross_validate_allocating(arms, bins, [1, 4], spread=0.0)
    assert measured.accuracy == pytest.approx([1 / 3, 2 / 3])
    assert measured.generations[1] == pytest.approx(10 / 3)  # what the middle does not need is not spent


def test_noise_that_is_the_same_for_all_arms_wins_nothing() -> None:
    rng = np.random.default_rng(0)
    arms = tuple(Arm("majority", 1 << n) for n in range(8))
    accuracy = (rng.random((8, 200)) < 0.5).astype(float)
    cost = np.repeat((2.0 ** np.arange(8))[:, None], 200, axis=1)
    labels = np.arange(200) // 20
    bins = Bins(labels, tuple(np.linspace(0.9, 0.1, 9)), (20,) * 10)
    measured = cross_validate_allocating(ArmTable(arms, accuracy, cost, cost, cost), bins, [128])
    assert abs(measured.accuracy[0] - 0.5) < 0.05


def charged(problems: int = 60, runs: int = 4) -> ChargedTable:
    labels = np.arange(problems) * 3 // problems
    right = [labels == 0, labels == 0, labels <= 1]
    variants, outcome = [], []
    for probe in (0, 1):
        for n, row in zip((1, 4, 8), right, strict=True):
            variants.append(Variant.pool(Arm("majority", n), probe))
            outcome.append(np.broadcast_to(row.astype(float), (runs, problems)))
    cost = np.repeat(np.array([[v.total] for v in variants], float), problems, axis=1)
    value = {1: np.broadcast_to(1 - labels / 2, (runs, problems)).astype(float)}
    return ChargedTable(tuple(variants), np.stack(outcome), cost, cost, cost, value)


def test_a_probe_is_taken_where_it_pays() -> None:
    ran = charged()
    everyone = np.ones(ran.problems, bool)
    (found,) = allot(ran, [4], everyone, count=3, spread=0.01)
    assert found.probe == 1 and found.expected == pytest.approx(2 / 3)
    measured = cross_validate_allotment(ran, [4], count=3, spread=0.01)
    # Halves are not balanced over bins, so a few problems fall on the wrong side of a threshold.
    assert 0.6 < measured.accuracy[0] <= 2 / 3 + 1e-9
    assert measured.generations[0] < 4.2


def test_a_fitted_allocation_is_a_policys_row_and_keeps_the_mean(tmp_path: Path) -> None:
    arms, bins = table()
    measured = cross_validate_allocating(arms, bins, [1, 2, 4], spread=0.0)
    rows = fit_allocating(arms, bins, [1, 2, 4], spread=0.0, held_out=measured)
    assert [row.held_out for row in rows] == pytest.approx(measured.accuracy.tolist())
    easy, middle, hopeless = rows[1].entries
    assert (easy.arm, easy.other, hopeless.arm.budget) == (Arm("majority", 1), None, 1)
    assert middle.other == Arm("majority", 8) and 1 - middle.share == pytest.approx(3 / 7)
    spent = [entry.generations * entry.problems for entry in rows[1].entries]
    assert sum(spent) / arms.problems == pytest.approx(2)
    policy = Policy({"oracle": fit(arms, bins)}, Provenance("s", "h", "e", "v", 0), {"oracle": rows})
    save(policy, tmp_path / "policy.json")
    again = load(tmp_path / "policy.json")
    assert again == policy
    got = [choose(again, 2, kind="oracle", bin=1, average=True, key=f"problem {i}") for i in range(2000)]
    assert np.mean([arm.budget == 8 for arm in got]) == pytest.approx(3 / 7, abs=0.04)
    with pytest.raises(MullError, match="no 'charged' difficulty with an average budget; it has: oracle"):
        choose(again, 2, kind="charged", bin=1, average=True)


def test_a_fitted_allotment_spends_its_mean_probes_included() -> None:
    rng = np.random.default_rng(3)
    runs, problems = 4, 80
    hard = np.arange(problems) >= 40
    variants = (Variant.pool(Arm("majority", 4), 2), Variant.pool(Arm("majority", 16), 2))
    outcome = np.stack([np.tile(~hard, (runs, 1)) * 0.9 + 0.05, np.full((runs, problems), 0.95)])
    ones = np.ones((2, problems))
    seen = {2: np.where(hard, 0.2, 0.8) + rng.random((runs, problems)) * 0.1}
    charged = ChargedTable(variants, outcome, ones, ones, ones, seen)
    (row,) = fit_allotment(charged, [10], count=4, spread=0.0)
    assert row.probe == 2 and len(row.entries) == 4
    assert [entry.arm.budget for entry in row.entries] == [4, 4, 16, 16]
    assert np.mean([entry.generations for entry in row.entries]) == pytest.approx(10)
    (row,) = fit_allotment(charged, [13], count=4, spread=0.0)
    mixed = [entry for entry in row.entries if entry.other is not None]
    assert len(mixed) <= 1 and np.mean([entry.generations for entry in row.entries]) <= 13 + 1e-9
