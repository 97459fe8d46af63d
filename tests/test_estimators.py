"""Estimators against enumeration of every subset, and the bootstrap."""

from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mull.errors import MullError
from mull.study import bootstrap, tally
from mull.study.estimators import (
    Draws,
    Pool,
    accuracies,
    best_of_n,
    best_of_n_weighted,
    draw,
    majority,
    outcomes,
    pass_at_k,
    probe,
)

S = 5
NS = [1, 2, 3, 4, 5]
NAN = float("nan")


def pool_of(rows, scores=None, right=0):
    """A pool whose right answer is class ``right``."""
    answers = np.asarray(rows, np.int32)
    if scores is None:
        scores = np.full(answers.shape, 0.5)
    scored = {"v": np.asarray(scores, np.float32)}
    return Pool(answers, answers == right, scored, np.full(answers.shape, 10))


def every_order(samples=S):
    """All orders, so that an average over draws is exact."""
    return Draws(np.asarray(list(permutations(range(samples)))).T)


def reference(kind, answers, scores, n):
    """The expectation by enumeration, in exact arithmetic, straight from the definitions."""
    total, count = Fraction(0), 0
    for subset in combinations(range(len(answers)), n):
        count += 1
        held = [i for i in subset if answers[i] >= 0]
        if kind == "pass":
            total += any(answers[i] == 0 for i in subset)
            continue
        if kind != "majority":
            held = [i for i in held if not np.isnan(scores[i])]
        if not held:
            continue
        if kind == "best_of_n":
            top = max(scores[i] for i in held)
            best = [i for i in held if scores[i] == top]
            total += Fraction(sum(answers[i] == 0 for i in best), len(best))
            continue
        weight, votes = {}, {}
        for i in held:
            value = 1 if kind == "majority" else Fraction(float(scores[i]))
            weight[answers[i]] = weight.get(answers[i], 0) + value
            votes[answers[i]] = votes.get(answers[i], 0) + 1
        key = {a: (weight[a], votes[a]) for a in weight}
        winners = [a for a in key if key[a] == max(key.values())]
        total += Fraction(int(0 in winners), len(winners))
    return float(total / count)


def estimate(kind, pool, ns, draws):
    if kind == "pass":
        return pass_at_k(pool, ns)
    if kind == "majority":
        return majority(pool, ns)
    return {"best_of_n": best_of_n, "weighted": lambda *a: best_of_n_weighted(*a, draws)}[kind](pool, "v", ns)


KINDS = ["pass", "majority", "best_of_n", "weighted"]
answer = st.integers(-1, 3)
#: Quarters, so that sums tie exactly; with zero and with unscored.
value = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, NAN])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(*[st.tuples(answer, value)] * S), min_size=1, max_size=4))
def test_equals_enumeration_with_ties_unanswered_and_unscored(kind, rows):
    answers = [[a for a, _ in row] for row in rows]
    scores = np.asarray([[v for _, v in row] for row in rows], np.float32)
    found = estimate(kind, pool_of(answers, scores), NS, every_order())
    expected = [[reference(kind, a, v, n) for n in NS] for a, v in zip(answers, scores, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["majority", "best_of_n:v", "best_of_n_weighted:v"])
def test_outcomes_average_to_the_estimate(kind):
    rng = np.random.default_rng(0)
    pool = pool_of(rng.integers(-1, 3, (6, S)), rng.choice([0.0, 0.25, 0.5, NAN], (6, S)))
    name = {"best_of_n_weighted:v": "weighted"}.get(kind, kind.split(":")[0])
    found = outcomes(pool, kind, NS, every_order()).mean(axis=1).T
    np.testing.assert_allclose(found, estimate(name, pool, NS, every_order()), atol=1e-5)


def test_one_sample_is_pass_at_1_for_every_selector():
    rng = np.random.default_rng(1)
    pool = pool_of(rng.integers(-1, 4, (20, 32)), rng.random((20, 32)))
    for name, found in accuracies(pool, [1]).items():
        np.testing.assert_allclose(found[:, 0], pool.correct.mean(axis=1), atol=1e-12, err_msg=name)


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_a_constant_verifier_makes_the_weighted_vote_the_majority(score):
    rng = np.random.default_rng(2)
    answers = rng.integers(-1, 6, (30, 64))
    pool = pool_of(answers, np.full(answers.shape, score))
    ns = [1, 2, 4, 8, 16, 32, 64]
    draws = draw(64, 200)
    np.testing.assert_allclose(best_of_n_weighted(pool, "v", ns, draws), majority(pool, ns), atol=1e-12)
    np.testing.assert_allclose(best_of_n(pool, "v", [1]), pass_at_k(pool, [1]), atol=1e-12)


def test_exact_estimates_do_not_depend_on_the_order_of_samples_or_classes():
    rng = np.random.default_rng(3)
    answers, scores = rng.integers(-1, 4, (10, 24)), rng.random((10, 24)).round(1)
    turn = rng.permutation(24)
    names = np.asarray([0, 3, 1, 2, -1])  # class 0 stays right; -1 stays -1
    pool, other = pool_of(answers, scores), pool_of(names[answers[:, turn]], scores[:, turn])
    for estimator in (lambda p: best_of_n(p, "v", [1, 3, 24]), lambda p: pass_at_k(p, [1, 3, 24])):
        np.testing.assert_allclose(estimator(pool), estimator(other), atol=1e-12)
    for ns in ([1, 2, 24],):
        np.testing.assert_allclose(majority(pool, ns), majority(other, ns), atol=1e-6)
        np.testing.assert_allclose(
            best_of_n_weighted(pool, "v", ns), best_of_n_weighted(other, "v", ns), atol=1e-6
        )


def test_a_problem_alone_scores_as_in_its_pool():
    rng = np.random.default_rng(4)
    answers, scores = rng.integers(-1, 4, (8, 32)), rng.random((8, 32))
    draws, ns = draw(32, 50), [4, 16]
    whole = best_of_n_weighted(pool_of(answers, scores), "v", ns, draws)
    for p in range(8):
        alone = best_of_n_weighted(pool_of(answers[p : p + 1], scores[p : p + 1]), "v", ns, draws)
        np.testing.assert_allclose(alone[0], whole[p], atol=1e-6)


def test_resampling_is_unbiased_on_a_middle_sized_pool():
    answers = np.asarray([[0] * 5 + [1] * 4 + [2, 3, -1]])
    exact = reference("majority", answers[0].tolist(), None, 4)
    found = outcomes(pool_of(answers), "majority", [4], draw(12, 20_000, seed=5)).mean()
    assert abs(found - exact) < 4 * np.sqrt(0.25 / 20_000)


def test_pass_at_k_is_stable_at_2048_samples():
    answers = np.ones((1, 2048), np.int32)
    answers[0, 0] = 0
    ks = [1, 2, 64, 1024, 2048]
    np.testing.assert_allclose(pass_at_k(pool_of(answers), ks)[0], np.asarray(ks) / 2048, rtol=1e-10)


@pytest.mark.parametrize("share", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("kind", ["majority", "best_of_n_weighted:v"])
def test_votes_are_the_same_however_they_are_added_up(monkeypatch, kind, share):
    """By a matrix product (0), by sums over a class's own samples (2), or some one way and some the other."""
    rng = np.random.default_rng(7)
    answers = np.minimum(rng.geometric(0.2, (12, 64)) - 2, 14)
    pool = pool_of(answers, rng.choice([0.0, 0.25, 0.5, 1.0, NAN], answers.shape))
    draws, ns = draw(64, 40), [3, 8, 64]
    usual = outcomes(pool, kind, ns, draws)
    monkeypatch.setattr(tally, "_LARGE", share)
    np.testing.assert_array_equal(outcomes(pool, kind, ns, draws), usual)


def test_nothing_answered_is_wrong_everywhere():
    for name, found in accuracies(pool_of(np.full((2, 8), -1)), [1, 2, 4, 8]).items():
        assert not found.any(), name


def test_probe_is_the_mean_of_the_scored_first_samples():
    pool = pool_of([[0, 1, 2]], [[0.5, NAN, 1.0]])
    assert probe(pool, "v", 1)[0, 0] == 0.5
    assert probe(pool, "v", 3)[0, 0] == 0.75
    orders = Draws(np.asarray([[1], [0], [2]]))  # the unscored sample comes first
    assert np.isnan(probe(pool, "v", 1, orders)[0, 0])
    assert probe(pool, "v", 2, orders)[0, 0] == 0.5
    assert pool.first(2).samples == 2
    np.testing.assert_allclose(pool.mean_tokens([1, 4])[0], [10, 40])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: majority(p, [9]), "n = 9 needs that many"),
        (lambda p: pass_at_k(p, [0]), "n = 0"),
        (lambda p: best_of_n(p, "x", [1]), "no score 'x'; it has: v"),
        (lambda p: outcomes(p, "mode", [1], draw(3, 2)), "no selector 'mode'"),
        (lambda p: best_of_n_weighted(p, "v", [3], draw(9, 2)), "the draws order 9 samples"),
        (lambda p: p.first(0), "no first 0"),
    ],
)
def test_what_cannot_be_estimated_is_refused(act, message):
    with pytest.raises(MullError, match=message):
        act(pool_of([[0, 1, 1, -1]]))


def test_a_pool_that_cannot_be_read_is_refused():
    answers = np.asarray([[0, 0]])
    fine = {"answers": answers, "correct": answers == 0, "scores": {}, "tokens": answers}
    for change, message in [
        ({"correct": np.asarray([[True, False]])}, "problem 0 has an answer class"),
        ({"answers": np.asarray([[0, -1]])}, "right without an answer"),
        ({"scores": {"v": np.asarray([[0.5, 1.5]], np.float32)}}, "problem 0, sample 1"),
        ({"tokens": np.zeros((1, 3), int)}, "'tokens' has shape"),
        ({"answers": np.zeros((0, 2), int)}, "at least one problem"),
    ]:
        with pytest.raises(MullError, match=message):
            Pool(**{**fine, **change})


def test_the_bootstrap_is_paired_seeded_and_about_as_wide_as_theory():
    rng = np.random.default_rng(6)
    first = rng.random(400)
    shares = bootstrap.weights(400, 2000, seed=1)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_array_equal(shares, bootstrap.weights(400, 2000, seed=1))
    found = bootstrap.mean_ci95(first, shares)
    half = 1.96 * first.std() / 20
    assert found.low < found.mean < found.high
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    shifted = bootstrap.difference_ci95(first + 0.25, first, shares)
    assert (shifted.low, shifted.mean, shifted.high) == pytest.approx((0.25, 0.25, 0.25))
    low, high = bootstrap.ci95(np.stack([first, first + 1], axis=1), shares)
    np.testing.assert_allclose(low[1] - low[0], 1.0)
    assert high.shape == (2,)
    with pytest.raises(MullError, match="do not fit"):
        bootstrap.mean_ci95(first[:3], shares)
