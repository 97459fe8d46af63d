"""The exchange: matching formulae, comparisons, break-even points and prices."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mull.errors import MullError
from mull.exchange import (
    CONVENTIONS,
    Account,
    Model,
    compare,
    inference_ratio,
    measured_account,
    multiplier,
    paper_account,
    paper_volumes,
    read,
    relative_improvement,
    requests_of,
)
from mull.exchange_curve import (
    Price,
    Tokens,
    bill,
    break_even,
    break_even_curve,
    price_account,
    volumes_around,
)
from mull.policy_ratio import Curve

FIGURES = Path("../shared/paper/figures.json")
#: The size ratio by which the paper's budgets and its printed R agree.
PAPER_SIZE = 14.18
SIZES = st.floats(1.01, 200)
RATIOS = st.floats(1e-3, 1e3)
NAMES = st.sampled_from(sorted(CONVENTIONS))


def means(budgets: list[float], accuracy: list[float]) -> Curve:
    return Curve(np.asarray(budgets, np.float64), np.asarray([accuracy], np.float64))


# matching


@given(SIZES, RATIOS, NAMES)
def test_the_multiplier_and_its_inverse(size: float, r: float, name: str) -> None:
    assert inference_ratio(size, multiplier(size, r, name), name) == pytest.approx(r, rel=1e-6)


@given(SIZES, RATIOS)
def test_the_conventions_are_the_papers(size: float, r: float) -> None:
    assert multiplier(size, r, "v1") == pytest.approx(size + 3 * (size - 1) / r)
    assert multiplier(size, r, "iclr") == pytest.approx(size + 1.5 * (size - 1) / r)
    assert multiplier(size, r, "sensitivity") == pytest.approx(size / 2 + 1.5 * (size - 1) / r)
    assert multiplier(size, r, "v1") == pytest.approx(multiplier(size, r / 2, "iclr"))


@given(SIZES, RATIOS, st.floats(1.01, 10), NAMES)
def test_the_multiplier_falls_with_r_and_grows_with_size(size: float, r: float, by: float, name: str) -> None:
    assert multiplier(size, r * by, name) < multiplier(size, r, name) < multiplier(size * by, r, name)


@given(SIZES, RATIOS, NAMES)
def test_totals_are_equal_at_the_multiplier(size: float, r: float, name: str) -> None:
    found = CONVENTIONS[name]
    pretraining, inference = 6.0, found.small * r  # of the small model, over N D_pre
    larger = size * pretraining + found.large * size * r
    assert pretraining + multiplier(size, r, name) * inference == pytest.approx(larger)
    assert paper_account(size, name).budget(r) == pytest.approx(multiplier(size, r, name))


@given(SIZES, RATIOS, st.floats(1e3, 1e12), st.floats(1e6, 1e13), st.floats(1, 1e4))
def test_measured_totals_are_equal(
    size: float, r: float, parameters: float, trained: float, tokens: float
) -> None:
    small, large = Model(parameters, trained), Model(parameters * size, trained * 1.7)
    account = measured_account(small, large, tokens, each=2 * size * parameters * tokens)
    requests = requests_of(r, small, tokens)
    ours = small.training + requests * account.budget(r)
    assert ours == pytest.approx(large.training + requests * account.each)


def test_measured_is_the_papers_where_its_assumptions_hold() -> None:
    small, large = Model(1e6, 1e9), Model(14e6, 1e9)
    account = measured_account(small, large, 40, each=2 * 14e6 * 40)
    assert account.budget(0.79) / (2 * 1e6 * 40) == pytest.approx(multiplier(14, 0.79))


def test_the_papers_ratios_stand_for_its_budgets() -> None:
    for name in ("v1", "iclr"):
        found = paper_volumes(PAPER_SIZE, name)
        assert [multiplier(PAPER_SIZE, r, name) for r in found] == pytest.approx([256, 64, 16])
    assert paper_volumes(3.0) == (0.16, 0.79, 22)  # another size: the printed numbers as they are
    assert paper_volumes(40.0, "iclr") == (0.08, 0.4, 11)


@pytest.mark.parametrize("size", [1.0, 0.5, -3.0, math.inf, math.nan])
def test_a_larger_model_must_be_larger(size: float) -> None:
    for call in (lambda: multiplier(size, 1.0), lambda: inference_ratio(size, 99.0)):
        with pytest.raises(MullError, match="must be larger"):
            call()
    with pytest.raises(MullError, match="must be larger"):
        measured_account(Model(1e6, 1), Model(1e6, 9), 40, 1.0)


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(MullError, match="R = D_inf / D_pre must be above 0"):
        multiplier(14, 0.0)
    with pytest.raises(MullError, match="always above 14"):
        inference_ratio(14, 14)
    with pytest.raises(MullError, match="no convention 'v2'"):
        multiplier(14, 1.0, "v2")
    with pytest.raises(MullError, match="pretraining tokens must be above 0"):
        Model(1e6, 0)


# comparisons


@pytest.mark.parametrize("mechanism", ["revisions", "search"])
@pytest.mark.parametrize("convention", ["v1", "iclr"])
def test_the_papers_bars_follow_from_its_lines(mechanism: str, convention: str) -> None:
    """Figure 1's eighteen printed labels, from figure 9's lines and stars."""
    if not FIGURES.exists():
        pytest.skip(f"{FIGURES} is not here")
    figures = json.loads(FIGURES.read_text())
    lines, printed = figures["fig9"][mechanism], figures["fig1_right"][mechanism]
    account = paper_account(PAPER_SIZE, convention)
    volumes = paper_volumes(PAPER_SIZE, convention)
    labels = 0
    for place, difficulty in ((1, "easy"), (2, "medium"), (3, "hard")):
        curve = means(figures["fig9"][f"{mechanism}_x"], [y / 100 for y in lines[place]])
        star = figures["fig9"]["stars_by_bin"][place] / 100
        for row, label in zip(compare(curve, star, account, volumes), printed[difficulty], strict=True):
            assert row.relative == pytest.approx(label, abs=0.1)
            assert row.relative_ci95 is None  # means alone
            labels += 1
    assert labels == 9


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=9),
    st.floats(0.01, 1),
    st.floats(1, 8),
)
def test_the_curve_is_read_between_its_points_alone(accuracy: list[float], star: float, at: float) -> None:
    assume(abs(at - round(at)) > 1e-6)  # at a measured budget either side of it is right
    budgets = [2.0**i for i in range(len(accuracy))]
    account = Account("", "generations", "R", 0.0, 2.0**at)
    row = compare(means(budgets, accuracy), star, account, [1.0])[0]
    if at > len(accuracy) - 1:
        assert row.small is None and row.relative is None and "beyond the measured" in row.note
        assert row.at_least == pytest.approx(accuracy[-1])
        assert row.ahead == ("small" if round(accuracy[-1], 12) > round(star, 12) else None)
    else:
        left, right = accuracy[int(at)], accuracy[min(int(at) + 1, len(accuracy) - 1)]
        assert row.small == pytest.approx(left + (at - int(at)) * (right - left), abs=1e-9)
        assert row.note == ""


def test_a_budget_below_the_measured_ones_has_no_value() -> None:
    curve = means([4.0, 8.0], [0.3, 0.4])
    row = compare(curve, 0.2, Account("", "generations", "R", 0.0, 3.9), [1.0])[0]
    assert (row.small, row.at_least, row.ahead) == (None, None, None) and "below the measured" in row.note
    left = compare(curve, 0.2, Account("", "dollars", "requests", -100.0, 5.0), [10.0])[0]
    assert left.budget == -5 and left.small is None and "nothing is left" in left.note


def test_a_line_above_the_star_is_ahead() -> None:
    curve, account = means([1.0, 4.0], [0.2, 0.6]), Account("", "generations", "R", 0.0, 2.0)
    ahead = [compare(curve, star, account, [1.0])[0] for star in (0.3, 0.5)]
    assert [row.ahead for row in ahead] == ["small", "large"]
    assert ahead[0].relative == pytest.approx(100 * 0.1 / 0.3)
    tie = compare(means([1.0, 4.0], [0.5, 0.5]), 0.5, account, [1.0])[0]
    assert tie.ahead == "undecided" and tie.relative == 0


def test_relative_to_nothing_is_nothing() -> None:
    assert relative_improvement(0.3, 0.0) is None
    account = Account("", "generations", "R", 0.0, 1.0)
    row = compare(means([1.0, 2.0], [0.1, 0.2]), 0.0, account, [1.0])[0]
    assert row.relative is None and row.ahead == "small" and "solves nothing" in row.note


def test_intervals_are_paired() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    line = (rng.random((400, 2)) < np.sqrt(hard)[:, None]).astype(np.float64)
    curve = Curve(np.asarray([1.0, 4.0]), line)
    account = Account("", "generations", "R", 0.0, 4.0)
    same = compare(curve, line[:, 1], account, [1.0])[0]
    assert same.relative == 0 and same.relative_ci95 == (0.0, 0.0)  # nothing to tell apart
    assert same.difference_ci95 == (0.0, 0.0) and same.ahead == "undecided"
    fixed = compare(curve, float(line[:, 1].mean()), account, [1.0])[0]
    assert fixed.difference_ci95 is not None and fixed.difference_ci95[0] < 0 < fixed.difference_ci95[1]
    assert fixed.ahead == "undecided"
    worse = np.maximum(line[:, 1] - (rng.random(400) < 0.3), 0)
    found = compare(curve, worse, account, [1.0])[0]
    assert found.relative_ci95 is not None and found.relative is not None
    low, high = found.relative_ci95
    assert low is not None and high is not None and 0 < low < found.relative < high
    assert found.ahead == "small"
    assert compare(curve, worse, account, [1.0]) == compare(curve, worse, account, [1.0])


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    account = Account("", "generations", "R", 0.0, 2.0)
    held = 0
    for seed in range(100):
        line, star = (rng.random((150, 1)) < 0.6).astype(float), (rng.random(150) < 0.5).astype(float)
        row = compare(Curve(np.asarray([2.0]), line), star, account, [1.0], draws=300, seed=seed)[0]
        assert row.relative_ci95 is not None
        low, high = row.relative_ci95
        held += low is not None and high is not None and low <= 20 <= high
    assert 85 <= held <= 100


def test_an_interval_without_an_end_says_so() -> None:
    star = np.zeros(40)
    star[0] = 1.0  # in over a third of the draws the larger model solves nothing
    curve = Curve(np.asarray([1.0]), np.ones((40, 1)))
    row = compare(curve, star, Account("", "generations", "R", 0.0, 1.0), [1.0])[0]
    assert row.relative_ci95 is not None and row.relative_ci95[0] is not None
    assert row.relative_ci95[1] is None


def test_shapes_that_do_not_fit_are_refused() -> None:
    curve = Curve(np.asarray([1.0, 2.0]), np.full((5, 2), 0.5))
    account = Account("", "generations", "R", 0.0, 1.0)
    with pytest.raises(MullError, match="5 problems need as many accuracies"):
        compare(curve, np.full(4, 0.5), account, [1.0])
    with pytest.raises(MullError, match=r"must be in \[0, 1\]"):
        compare(curve, 70.0, account, [1.0])
    with pytest.raises(MullError, match="R must be above 0"):
        compare(curve, 0.7, account, [0.0])
    with pytest.raises(MullError, match="cost a request must be above 0"):
        Account("", "generations", "R", 0.0, 0.0)


def test_a_curve_is_read_in_order_of_cost() -> None:
    found = read(np.asarray([[4.0, 1.0]]), np.asarray([[0.8, 0.2]]), np.asarray([1.0, 2.0, 4.0, 9.0]))
    assert found[0] == pytest.approx([0.2, 0.5, 0.8, 0.8])


# break-even


@settings(max_examples=200)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(0.05, 0.95),
    st.floats(-50, 50).filter(lambda fixed: abs(fixed) > 1e-3),
    st.floats(0.1, 60),
)
def test_totals_and_accuracies_are_equal_at_the_break_even(
    accuracy: list[float], star: float, fixed: float, each: float
) -> None:
    curve = means([2.0**i for i in range(len(accuracy))], accuracy)
    account = Account("", "generations", "R", fixed, each)
    even = break_even(curve, star, account)
    assert (even.budget is None) == (max(accuracy) < star - 1e-12) == (even.where == "never")
    if even.budget is None:
        assert even.volume is None and even.ratio is None and even.best == max(accuracy)
        return
    assert even.ratio == pytest.approx(even.budget / each)
    for volume in (1e-3, 1e-1, 1.0, 10.0, 1e3):
        cheaper = even.budget < account.budget(volume)
        if even.where == "everywhere":
            assert cheaper or math.isclose(even.budget, account.budget(volume))
        elif even.where == "nowhere":
            assert not cheaper
        else:
            assert even.volume is not None and even.volume > 0
            assert account.budget(even.volume) == pytest.approx(even.budget)
            if not math.isclose(volume, even.volume, rel_tol=1e-6):
                assert cheaper == ((volume < even.volume) == (even.where == "below"))


def test_the_crossing_is_where_the_comparison_turns() -> None:
    curve = means([1.0, 4.0, 16.0, 64.0, 256.0], [0.1, 0.3, 0.5, 0.6, 0.65])
    account = paper_account(14.0)
    even = break_even(curve, 0.55, account)
    assert even.budget == pytest.approx(32) and even.where == "below" and even.volume is not None
    assert even.volume == pytest.approx(inference_ratio(14, 32))
    before, after = compare(curve, 0.55, account, [even.volume * 0.9, even.volume * 1.1])
    assert (before.ahead, after.ahead) == ("small", "large")
    assert break_even(curve, 0.4, account).where == "everywhere"  # at 8 samples: below M
    assert break_even(curve, 0.7, account).where == "never"


def test_a_curve_over_volumes_holds_the_crossing() -> None:
    curve = means([2.0**i for i in range(12)], [0.05 * i for i in range(12)])
    account = paper_account(14.0)
    rows = break_even_curve(curve, 0.32, account)
    volumes = volumes_around(account)
    assert [row.volume for row in rows] == list(volumes) and len(volumes) == 41
    assert volumes[-1] / volumes[0] == pytest.approx(1e4)
    shown = [row.small for row in rows if row.small is not None]
    assert shown == sorted(shown, reverse=True)
    even = break_even(curve, 0.32, account)
    assert even.volume is not None
    for row in rows:
        if row.small is not None:
            assert (row.small > 0.32) == (row.volume < even.volume)
    assert volumes_around(price_account(1.0)) == ()


def test_the_break_evens_interval_is_over_problems() -> None:
    rng = np.random.default_rng(2)
    chance = np.asarray([0.2, 0.4, 0.6])
    accuracy = (rng.random((300, 3)) < chance).astype(np.float64)
    curve = Curve(np.asarray([1.0, 4.0, 16.0]), accuracy)
    account = Account("", "generations", "R", 30.0, 5.0)
    even = break_even(curve, 0.4, account)
    assert even.budget is not None and even.budget_ci95 is not None and even.reached == 1.0
    low, high = even.budget_ci95
    assert low is not None and high is not None and low < even.budget < high
    close = break_even(curve, float(accuracy[:, 2].mean()), account)  # half the draws do not reach it
    assert close.reached is not None and 0.3 < close.reached < 0.7
    assert close.budget_ci95 is not None and close.budget_ci95[1] is None
    assert break_even(means([1.0, 2.0], [0.1, 0.5]), 0.3, account).budget_ci95 is None


# prices


def test_a_bill_is_tokens_by_prices() -> None:
    tokens = Tokens(np.asarray([1e6, 2e6]), np.asarray([3e6, 0.0]), 4e6, 5e6)
    assert bill(tokens, Price(1.0, 10.0)).tolist() == [1 + 30 + 4, 2 + 4]
    assert bill(tokens, Price(1.0, 10.0, 0.5), Price(2.0, 99.0)).tolist() == [1 + 30 + 2 + 10, 2 + 2 + 10]
    for wrong in ((-1.0, 1.0), (0.0, 0.0), (math.nan, 1.0)):
        with pytest.raises(MullError, match="a price is dollars"):
            Price(*wrong)
    with pytest.raises(MullError, match="a fixed cost must be 0 dollars or more"):
        price_account(1.0, large_fixed=-1.0)


def test_prices_break_even_by_hand() -> None:
    # An answer of the larger model costs 6 dollars; the small one reaches its accuracy at 8 dollars.
    curve = means([2.0, 8.0, 32.0], [0.2, 0.5, 0.6])
    hosted = price_account(6.0, large_fixed=100.0)
    even = break_even(curve, 0.5, hosted)
    assert (even.where, even.volume) == ("below", pytest.approx(50.0))
    assert even.ratio == pytest.approx(8 / 6)
    assert break_even(curve, 0.5, price_account(6.0)).where == "nowhere"
    assert break_even(curve, 0.5, price_account(6.0, small_fixed=1.0)).where == "nowhere"
    own = price_account(10.0, small_fixed=100.0)
    even = break_even(curve, 0.5, own)
    assert (even.where, even.volume) == ("above", pytest.approx(50.0))
    assert break_even(curve, 0.5, price_account(10.0)).where == "everywhere"
    assert break_even(curve, 0.61, hosted).where == "never"


def test_fine_tuning_counts_as_training_does() -> None:
    plain, tuned = Model(14e6, 1e9), Model(14e6, 1e9, 2e8)
    small = Model(1e6, 1e9)
    before, after = (measured_account(small, large, 40, each=1e9) for large in (plain, tuned))
    assert after.fixed - before.fixed == pytest.approx(6 * 14e6 * 2e8 * 40 / 1e9)
    with pytest.raises(MullError, match="fine-tuning tokens"):
        Model(1e6, 1e9, -1)
