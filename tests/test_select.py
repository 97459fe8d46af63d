"""Selectors: votes, weights, ties; whatever the order of the candidates."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mull.errors import MullError
from mull.problems import Problem
from mull.select import AGGREGATIONS, SELECTORS, aggregate, agreement, best_of_n, best_of_n_weighted, majority
from mull.trace import Candidate, Scores, Step, Trace

PROBLEM = Problem("p", "?")


def candidate(answer: str | None, *values: float, text: str = "") -> Candidate:
    trace = Trace(PROBLEM, (Step(text or f"{answer}{values}", (1,)),), "stop")
    return Candidate(trace, answer, Scores(values) if values else None)


some = st.builds(
    lambda a, v: candidate(a, *v),
    st.sampled_from(["1", "2", "3", None]),
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0]), max_size=3),
)


@pytest.mark.parametrize("name", sorted(SELECTORS))
@given(data=st.data(), found=st.lists(some, max_size=9))
def test_order_never_matters(name: str, data: st.DataObject, found: list[Candidate]) -> None:
    shuffled = data.draw(st.permutations(found))
    here, there = SELECTORS[name]("p", found), SELECTORS[name]("p", shuffled)
    assert here.answer == there.answer
    assert list(here.weights.items()) == list(there.weights.items())
    if here.chosen is not None and there.chosen is not None:
        assert found[here.chosen] == shuffled[there.chosen]
        assert found[here.chosen].answer == here.answer


@given(
    st.lists(st.sampled_from(["1", "2", "3", None]), max_size=12),
    st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    st.text(),
)
def test_constant_verifier_makes_weighted_the_majority(
    answers: list[str | None], value: float, name: str
) -> None:
    found = [candidate(a, value) for a in answers]
    assert best_of_n_weighted(name, found).answer == majority(name, found).answer


def test_majority_and_weights() -> None:
    found = [candidate("1", 0.9), candidate("2", 0.5), candidate("2", 0.3), candidate(None, 1.0)]
    assert majority("p", found).answer == "2"
    assert majority("p", found).weights == {"2": 2.0, "1": 1.0}
    assert majority("p", found).chosen == 1  # the best-scored of those that say 2
    assert best_of_n("p", found).answer == "1"
    assert best_of_n("p", found).weights == {"1": 0.9, "2": 0.5}
    assert best_of_n_weighted("p", found).answer == "1"
    assert best_of_n_weighted("p", found).weights == {"1": 0.9, "2": 0.8}


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_nothing_to_choose_from(name: str) -> None:
    for found in ([], [candidate(None, 1.0)], [candidate(None)]):
        selection = SELECTORS[name]("p", found)
        assert (selection.answer, selection.chosen, dict(selection.weights)) == (None, None, {})


def test_unscored_drop_out_of_scored_selectors_only() -> None:
    found = [candidate("1"), candidate("1"), candidate("2", 0.0)]
    assert majority("p", found).answer == "1"
    assert best_of_n("p", found).answer == best_of_n_weighted("p", found).answer == "2"
    assert best_of_n("p", found[:2]).answer is best_of_n_weighted("p", found[:2]).answer is None


def test_aggregation() -> None:
    scores = Scores((0.5, 0.2, 0.8))
    values = {how: aggregate(scores, how) for how in AGGREGATIONS}  # type: ignore[arg-type]
    assert values == {"last": 0.8, "min": 0.2, "product": pytest.approx(0.08), "mean": 0.5}
    found = [candidate("1", 0.1, 0.9), candidate("2", 0.6, 0.6)]
    assert best_of_n("p", found).answer == "1"
    assert best_of_n("p", found, "min").answer == "2"
    with pytest.raises(MullError, match="known: last, min, product, mean"):
        aggregate(scores, "max")  # type: ignore[arg-type]


def test_ties_are_fair_over_problems() -> None:
    found = [candidate("1", 0.5), candidate("2", 0.5)]
    for name in SELECTORS:
        wins = Counter(SELECTORS[name](f"p{i}", found).answer for i in range(2000))
        assert abs(wins["1"] - 1000) < 120, (name, wins)  # 5 standard deviations


def test_best_of_n_ties_favour_no_candidate() -> None:
    found = [candidate("1", 0.5, text="a"), candidate("1", 0.5, text="a"), candidate("2", 0.5, text="b")]
    wins = Counter(best_of_n(f"p{i}", found).answer for i in range(3000))
    assert abs(wins["1"] - 2000) < 130, wins


@given(st.lists(some, max_size=9))
def test_agreement_is_between_votes_and_scores(found: list[Candidate]) -> None:
    chosen = agreement("p", found)
    held = [c for c in found if c.answer is not None and c.scores is not None]
    for answer, weight in chosen.weights.items():
        values = [c.scores.last for c in held if c.answer == answer]
        assert weight == pytest.approx(len(values) ** 0.5 * (sum(values) / len(values)))
    assert chosen.weights.keys() == {c.answer for c in held}
