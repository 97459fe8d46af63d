"""The exact vote of n samples, against enumeration and against drawing."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.study import plurality
from mull.study.estimators import Pool, best_of_n_weighted, draw, majority, outcomes


def pool_of(rows, right=(0,)):
    answers = np.asarray(rows)
    return Pool(answers, np.isin(answers, right), {}, np.ones(answers.shape, int))


def enumerated(answers, right, n):
    """The mean share of right ones among the most frequent answers, over every subset of n."""
    subsets = list(combinations(answers, n))
    total = Fraction(0)
    for subset in subsets:
        votes = {a: subset.count(a) for a in subset if a >= 0}
        winners = [a for a, count in votes.items() if count == max(votes.values())]
        total += Fraction(sum(a in right for a in winners), len(winners)) if winners else 0
    return float(total / len(subsets))


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-1, 5), min_size=9, max_size=9), min_size=1, max_size=3),
    right=st.sampled_from([(0,), (0, 3), (7,)]),
)
def test_equals_enumeration_with_ties_blanks_and_several_right_answers(rows, right):
    pool = pool_of(rows, right)
    ns = list(range(1, 9))
    expected = [[enumerated(row, right, n) for n in ns] for row in rows]
    np.testing.assert_allclose(plurality.chances(pool, pool.answers >= 0, ns), expected, atol=1e-12)
    np.testing.assert_allclose(majority(pool, ns), expected, atol=1e-12)


def test_only_the_voting_samples_vote():
    pool = pool_of([[0, 0, 0, 1, 1, 2, -1, 1]])
    voting = np.asarray([[True, False, True, True, True, True, False, False]])
    expected = enumerated([0, -1, 0, 1, 1, 2, -1, -1], (0,), 4)
    assert plurality.chances(pool, voting, [4])[0, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("samples", [256, 2048])
def test_the_chances_of_all_answers_add_up_in_large_pools(samples):
    """Somebody wins unless nobody votes: few answers, many, all different, and mostly blanks."""
    rng = np.random.default_rng(samples)
    rows = np.stack(
        [
            rng.integers(0, 2, samples),
            np.minimum(rng.geometric(0.05, samples), 40),
            np.arange(samples),
            np.where(rng.random(samples) < 0.99, -1, rng.integers(0, 3, samples)),
        ]
    )
    whole = pool_of(rows)
    tops = {row: [int(a) for a in np.unique(rows[row]) if a >= 0] for row in (0, 1, 3)}
    ns = [3, samples // 16, samples // 2, samples - 1]
    found = np.zeros((len(rows), len(ns)))
    for row, answers in tops.items():
        for answer in answers:
            one = pool_of(rows[row : row + 1], (answer,))
            found[row] += plurality.chances(one, one.answers >= 0, ns)[0]
    blanks = (rows < 0).sum(axis=1)
    nobody = [
        [np.prod((b - np.arange(n)) / (samples - np.arange(n))) if b >= n else 0.0 for n in ns]
        for b in blanks
    ]
    rest = [0, 1, 3]
    np.testing.assert_allclose(found[rest], 1 - np.asarray(nobody)[rest], atol=1e-10)
    different = plurality.chances(whole, whole.answers >= 0, ns)[2]
    np.testing.assert_allclose(different, 1 / samples, atol=1e-11)


def test_drawn_runs_average_to_the_exact_chance():
    rng = np.random.default_rng(1)
    pool = pool_of(np.minimum(rng.geometric(0.15, (200, 64)) - 1, 9), (1,))
    runs = outcomes(pool, "majority", [4, 16, 32], draw(64, 500, seed=2)).mean(axis=(1, 2))
    np.testing.assert_allclose(runs, majority(pool, [4, 16, 32]).mean(axis=0), atol=0.005)


def test_a_problem_whose_scores_are_all_the_same_is_a_majority_vote_beside_others_that_are_not():
    rng = np.random.default_rng(2)
    answers = rng.integers(-1, 5, (6, 40))
    scores = rng.random((6, 40)).astype(np.float32)
    scores[:3] = [[0.0], [0.25], [1.0]]
    pool = Pool(answers, answers == 0, {"v": scores}, np.ones(answers.shape, int))
    ns, draws = [1, 2, 4, 8, 16, 32, 40], draw(40, 50)
    weighted, plain = best_of_n_weighted(pool, "v", ns, draws), majority(pool, ns)
    np.testing.assert_allclose(weighted[:3], plain[:3], atol=1e-12)
    assert (weighted[3:] != plain[3:]).any(axis=1).all()
