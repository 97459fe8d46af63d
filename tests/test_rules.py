"""The stopping rules: their formulas against independent computations, and made-up samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mull.drive import Driver, Task
from mull.errors import MullError
from mull.problems import Problem
from mull.replay import Recorded, live
from mull.replay import replay as replayed
from mull.strategies import Arm, BudgetError, start
from mull.strategies.adaptive_consistency import lead_probability
from mull.strategies.bayes_stop import stays
from mull.strategies.confidence_vote import bar
from mull.strategies.marginal import gain
from mull.strategies.score_stop import GRAIN
from mull.strategies.score_stop import gain as score_gain
from mull.strategies.width_depth import knobs
from scripted import ScriptedEngine

COUNTS = some.integers(0, 30)


def recorded(
    answers: list[int], tokens: list[int] | None = None, scores: list[float] | None = None, step: int = 1
) -> Recorded:
    """One problem whose answer 0 is right, its samples in the given order."""
    size = max(answers) + 1
    texts = (tuple(map(str, range(size))),)
    right = np.arange(size)[None] == 0
    length = np.array([tokens or [10] * len(answers)])
    values = None if scores is None else np.array([scores])
    rank = np.arange(len(answers))[None]
    return Recorded(("p",), np.array([answers]), texts, right, length, values, None, None, rank, step)


def ran(arm: Arm, pool: Recorded) -> tuple[int, int, int]:
    """Answer, generations and tokens when the samples come in the pool's order."""
    orders = np.arange(pool.shape[1])[None, None]
    found = replayed(pool.drawn(orders), arm)
    return int(found.answer[0, 0]), int(found.generations[0, 0]), int(found.tokens[0, 0])


@given(COUNTS, COUNTS)
def test_lead_probability_is_the_beta_posterior(top: int, second: int) -> None:
    x = (np.arange(200_000) + 0.5) / 200_000
    density = np.exp(top * np.log(x) + second * np.log1p(-x))
    assert lead_probability(top, second) == pytest.approx(density[x > 0.5].sum() / density.sum(), abs=1e-4)
    assert lead_probability(top, second) + lead_probability(second, top) == pytest.approx(1)


@settings(deadline=None, max_examples=30)
@given(
    some.integers(0, 6), some.integers(1, 6), some.integers(0, 5), some.integers(0, 4), some.floats(0.2, 3)
)
def test_stays_is_the_dirichlet_multinomials_chance(
    left: int, top: int, less: int, others: int, rest: float
) -> None:
    second = max(top - less, 0)
    total = 0.0
    for draws in product(range(3), repeat=left):  # every order of what is still to come
        weight, counts = 1.0, [top + 1.0, second + 1.0, others + rest]
        for kind in draws:
            weight *= counts[kind] / sum(counts)
            counts[kind] += 1
        total += weight * (counts[0] > counts[1])
    assert stays(left, top + second + others, top, second, rest) == pytest.approx(total, abs=1e-9)


def test_a_lead_that_cannot_be_lost_ends_bayesian_stopping() -> None:
    arm = Arm("bayes_stop", 16, (("threshold", 1.0),))
    assert ran(arm, recorded([0] * 16))[1] == 9
    assert ran(arm, recorded([0, 1] * 8))[1] == 16


@given(some.lists(some.integers(0, GRAIN), min_size=2, max_size=20))
def test_expected_gain_of_the_best_score_is_that_of_a_normal(values: list[int]) -> None:
    found = score_gain(len(values), sum(values), sum(v * v for v in values), max(values))
    scores = np.array(values) / GRAIN
    sd = sqrt((scores.var() * len(values) + 0.01 * 2) / (len(values) + 2))
    x = scores.mean() + sd * np.linspace(-9, 9, 100_001)
    density = np.exp(-((x - scores.mean()) ** 2) / 2 / sd**2)
    assert found == pytest.approx((np.maximum(x - scores.max(), 0) * density).sum() / density.sum(), abs=1e-6)


def test_adaptive_consistency_stops_as_published() -> None:
    assert ran(Arm("adaptive_consistency", 16), recorded([0] * 16)) == (0, 4, 40)  # 1 - 2 ** -5 > .95
    assert ran(Arm("adaptive_consistency", 16, (("batch", 3),)), recorded([0] * 16))[1] == 6
    assert ran(Arm("adaptive_consistency", 8), recorded([0, 1] * 8))[1] == 8


def test_early_stopping_windows_do_not_overlap() -> None:
    arm = Arm("early_stopping", 9, (("window", 3),))
    assert ran(arm, recorded([1, 0, 0, 0, 0, 0, 0, 0, 0]))[1] == 6  # samples 2 to 4 agree, but are no window
    assert ran(arm, recorded([1, 0, 0, 0, 1, 0, 0, 1, 0]))[1] == 9


def test_only_the_shortest_vote_and_the_rest_is_paid_until_then() -> None:
    pool = recorded([1, 1, 0, 0], [100, 30, 20, 10], step=1)
    assert ran(Arm("shortest_first", 4), pool) == (0, 4, 20 + 20 + 20 + 10)
    assert ran(Arm("shortest_first", 4, (("k", 1),)), pool) == (0, 4, 40)
    coarse = replace(pool, step=16)
    assert ran(Arm("shortest_first", 4), coarse) == (0, 4, 32 + 30 + 20 + 10)


def test_marginal_gives_up_where_samples_scatter() -> None:
    scattered = recorded([*range(12)] * 2)
    assert ran(Arm("marginal", 24), scattered)[1] == 24
    assert ran(Arm("marginal", 24, (("patience", 8),)), scattered)[1] == 8
    agreed = recorded([0, 0, 1] * 8)
    assert ran(Arm("marginal", 24, (("patience", 6),)), agreed) == ran(Arm("marginal", 24), agreed)


@given(some.integers(1, 60), COUNTS, COUNTS)
def test_marginal_gain_falls_with_the_lead_and_with_samples(drawn: int, one: int, two: int) -> None:
    top, second = max(one, two), min(one, two)
    assert 0 <= gain(drawn, top, second) <= 0.5
    assert gain(drawn, top + 1, second) < gain(drawn, top, second)
    assert gain(drawn + 1, top, second) < gain(drawn, top, second)


def test_marginal_drops_what_runs_beyond_its_cap() -> None:
    pool = recorded([1, 0, 0, 1], [500, 20, 20, 500], step=10)
    assert ran(Arm("marginal", 4, (("cap", 45), ("price", 0.0))), pool) == (0, 4, 50 + 20 + 20 + 50)


def test_score_stop_stops_once_nothing_better_is_expected() -> None:
    good = recorded([0, 1, 0, 1, 0, 1], scores=[0.5, 1.0, 0.5, 0.5, 0.5, 0.5])
    answer, generations, _ = ran(Arm("score_stop", 6, (("price", 0.05),)), good)
    assert answer == 1 and generations < 6
    assert ran(Arm("score_stop", 6, (("price", 0.0),)), good)[1] == 6


def test_width_depth_prunes_the_slowest_of_a_wave() -> None:
    params = (("effort", 1.0), ("width_high", 3.0), ("keep_high", 0.6), ("lead_high", 0.8))
    pool = recorded([0, 1, 0, 1, 1, 1], [10, 90, 10, 10, 10, 10])
    assert ran(Arm("width_depth", 6, params), pool) == (0, 3, 30)
    assert knobs(0.0).width == 1 and knobs(1.0).width == 4
    assert all(knobs(e / 10).lead < knobs((e + 1) / 10).lead for e in range(10))


def test_the_bar_is_the_warm_ups_quantile() -> None:
    assert bar([5, 1, 4, 2, 3], 0.0) == 1
    assert bar([5, 1, 4, 2, 3], 0.4) == 3
    assert bar([5, 1, 4, 2, 3], 1.0) == 5
    assert bar([], 0.5) == 0


def test_confidence_vote_says_so_where_there_are_no_log_probabilities() -> None:
    pool = recorded([0, 1, 0])
    orders = np.arange(3)[None, None]
    with pytest.raises(MullError, match="needs a log-probability"):
        live(pool, Arm("confidence_vote", 3), orders)
    with pytest.raises(MullError, match="the pool has none"):
        replayed(pool.drawn(orders), Arm("confidence_vote", 3))


@pytest.mark.parametrize(
    "name", ["adaptive_consistency", "bayes_stop", "early_stopping", "marginal", "width_depth"]
)
def test_rules_stop_early_where_a_model_agrees_with_itself(name: str) -> None:
    engine = ScriptedEngine(kinds=1)
    (result,) = Driver(engine, seed=1).run([Task(Problem("p", "?"), Arm(name, 64))])
    assert result.selection.answer == "0" and 1 <= result.cost.generations < 16


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (Arm("adaptive_consistency", 8, (("threshold", 1.5),)), "threshold is a number from 0 to 1"),
        (Arm("adaptive_consistency", 8, (("batch", 0),)), "batch is a whole number"),
        (Arm("early_stopping", 8, (("window", 0),)), "window is a whole number"),
        (Arm("bayes_stop", 8, (("rest", 0.0),)), "rest is a number"),
        (Arm("shortest_first", 8, (("k", -1),)), "k is a whole number"),
        (Arm("marginal", 8, (("price", "low"),)), "price is a number"),
        (Arm("width_depth", 8, (("effort", 2.0),)), "effort is a number"),
        (Arm("confidence_vote", 8, (("consensus", float("nan")),)), "consensus is a number"),
        (Arm("score_stop", 8, (("least", 0),)), "least is a whole number"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_at_once(arm: Arm, said: str) -> None:
    with pytest.raises(MullError, match=said):
        start(arm, Problem("p", "?"))
    with pytest.raises(BudgetError):
        start(Arm(arm.strategy, 0), Problem("p", "?"))
