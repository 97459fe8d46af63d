"""Difficulty values and bins: sizes, ties, new problems."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mull.difficulty import assign, charged, oracle, predicted, quantile_bins, thresholds_of
from mull.errors import MullError
from mull.study.estimators import Pool, draw, probe

NAN = float("nan")


def make_pool(seed=0):
    rng = np.random.default_rng(seed)
    answers = rng.integers(-1, 3, (12, 16))
    scores = rng.random((12, 16)).astype(np.float32)
    scores[answers < 0] = np.nan
    return Pool(answers, answers == 0, {"v": scores}, np.ones((12, 16), int))


def test_oracle_is_pass_at_1_and_predicted_reads_no_labels():
    pool = make_pool()
    np.testing.assert_allclose(oracle(pool), pool.correct.mean(axis=1))
    np.testing.assert_allclose(predicted(pool, "v"), np.nanmean(pool.scores["v"], axis=1), atol=1e-6)
    blind = Pool(pool.answers, np.zeros_like(pool.correct), pool.scores, pool.tokens)
    np.testing.assert_array_equal(predicted(pool, "v"), predicted(blind, "v"))


def test_charged_values_are_the_first_samples_of_the_same_draws():
    pool = make_pool()
    np.testing.assert_array_equal(
        charged(pool, "v", 4, runs=8, seed=3), probe(pool, "v", 4, draw(16, 8, seed=3))
    )


def test_bin_0_is_easiest_and_sizes_are_even():
    bins = quantile_bins(np.linspace(0, 1, 503))
    assert bins.sizes == (101, 100, 101, 100, 101) and sum(bins.sizes) == 503
    assert bins.labels[-1] == 0 and bins.labels[0] == 4 and bins.count == 5
    assert (np.diff(bins.labels) <= 0).all()


def test_boundary_ties_go_together_in_the_papers_oracle_sizes():
    values = np.concatenate([np.linspace(1, 0.3, 300), np.linspace(0.2, 0.1, 90), [0.05] * 15, [0.0] * 95])
    assert quantile_bins(values, ties="together").sizes == (100, 100, 100, 105, 95)
    assert quantile_bins(values).sizes == (100,) * 5


def test_split_ties_are_ordered_by_id_whatever_the_files_order():
    values, ids = np.zeros(50), [f"p{i}" for i in range(50)]
    turn = np.random.default_rng(0).permutation(50)
    one = quantile_bins(values, ids=ids)
    other = quantile_bins(values, ids=[ids[i] for i in turn])
    np.testing.assert_array_equal(one.labels[turn], other.labels)
    assert one.sizes == (10,) * 5
    assert list(one.labels) != sorted(one.labels)


@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), min_size=5, max_size=60))
def test_bins_are_ordered_and_agree_with_their_thresholds(listed):
    values = np.asarray(listed)
    together, split = quantile_bins(values, ties="together"), quantile_bins(values)
    for bins in (together, split):
        assert sum(bins.sizes) == len(values)
        assert np.isfinite(bins.thresholds).all()
        assert all(a >= b for a, b in zip(bins.thresholds, bins.thresholds[1:], strict=False))
    np.testing.assert_array_equal(together.labels, assign(values, together.thresholds))
    assert max(split.sizes) - min(split.sizes) <= 1
    if len(set(listed)) == len(listed) and not np.isnan(values).any():
        np.testing.assert_array_equal(split.labels, assign(values, split.thresholds))


def test_a_new_problem_gets_the_bin_of_its_value():
    bins = quantile_bins(np.arange(10.0))
    assert [bins.assign(v) for v in (99, 8, 7, 6, 0, -5, NAN)] == [0, 0, 1, 1, 4, 4, 4]
    assert bins.thresholds == thresholds_of(np.arange(10.0).reshape(2, 5))


def test_too_few_problems_and_missing_ids_are_refused():
    with pytest.raises(MullError, match="at least 5 problems; got 4"):
        quantile_bins(np.zeros(4))
    with pytest.raises(MullError, match="5 difficulty values but 1"):
        quantile_bins(np.zeros(5), ids=["a"])
    with pytest.raises(MullError, match="at least 5 values"):
        thresholds_of(np.zeros(3))
