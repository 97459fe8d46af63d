"""Revisions: chains, what the reviser is shown, hierarchical votes, and the engine's longer heads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mull.drive import Driver, Task
from mull.engines.base import Job
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.problems import Problem
from mull.select import best_of_n_weighted, hierarchical
from mull.strategies import Arm, BudgetError, start
from mull.strategies.revisions import WINDOW
from mull.tiny.load import checkpoint, problems
from mull.trace import Candidate, Scores, Step, Trace
from mull.verifiers.small import SmallVerifier
from scripted import ScriptedEngine, ScriptedVerifier

PROBLEM = Problem("p", "?", gold="1")


def arm(budget: int, chains: int = 1, name: str = "revise") -> Arm:
    return Arm(name, budget, (("chains", chains),))


def run(which: Arm, **settings):
    reviser = settings.pop("reviser", ScriptedEngine(name="reviser"))
    driver = Driver(ScriptedEngine(), ScriptedVerifier(), seed=3, reviser=reviser, **settings)
    return driver.run([Task(PROBLEM, which)])[0], reviser


def test_each_attempt_is_shown_the_last_four_of_its_own_chain() -> None:
    result, reviser = run(arm(14, chains=2))
    texts = {chain: [c.trace.text for c in result.candidates if c.trace.chain == chain] for chain in (0, 1)}
    assert len(result.candidates) == 14
    for position, call in enumerate(reviser.calls):
        for job in call:
            chain = job.trace.chain
            assert job.trace.earlier == tuple(texts[chain][max(0, position - WINDOW) : position])


def test_the_reviser_samples_and_the_proposer_does_not() -> None:
    proposer, reviser = ScriptedEngine(), ScriptedEngine(name="reviser")
    driver = Driver(proposer, ScriptedVerifier(), seed=3, reviser=reviser)
    driver.run([Task(PROBLEM, arm(8, 2))])
    assert not proposer.calls and len(reviser.calls) == 4
    driver.run([Task(PROBLEM, Arm("beam_revise", 8, (("width", 2), ("chains", 2))))])
    assert proposer.calls and len(reviser.calls) > 4


@pytest.mark.parametrize("fault", ["error", "empty", "length"])
def test_failed_attempts_are_marked_and_not_shown_on(fault: str) -> None:
    fails = {"n": 0}

    def second(job: Job) -> object:
        return fault if len(job.trace.earlier) == 1 and fails["n"] < 1 else None

    result, reviser = run(arm(4), reviser=ScriptedEngine(fails=second))
    assert result.events and len(result.candidates) == 4
    assert all(len(job.trace.earlier) <= 1 for call in reviser.calls for job in call)


def candidates(rows: list[tuple[str | None, float | None, int | None]]) -> list[Candidate]:
    made = []
    for i, (answer, score, chain) in enumerate(rows):
        trace = Trace(PROBLEM, (Step(f"{i} {answer}", (i,)),), "stop", chain=chain)
        made.append(Candidate(trace, answer, None if score is None else Scores((score,))))
    return made


def test_hierarchical_votes_within_chains_and_then_over_them() -> None:
    rows = [("a", 0.9, 0), ("b", 0.5, 0), ("b", 0.5, 0), ("c", 0.4, 1), ("a", 0.3, 1)]
    found = hierarchical("p", candidates(rows))
    assert found.weights == {"b": 0.5, "c": 0.4} and found.answer == "b"
    assert found.chosen in (1, 2)


def test_chains_of_one_and_no_chains_are_best_of_n_weighted() -> None:
    rows = [("a", 0.9, 0), ("b", 0.5, 1), ("b", 0.5, 2), (None, 0.8, 3), ("c", None, 4)]
    plain = best_of_n_weighted("p", candidates(rows))
    assert hierarchical("p", candidates(rows)) == plain
    assert hierarchical("p", candidates([(a, s, None) for a, s, _ in rows])) == plain


def test_one_chain_is_the_choice_within_it() -> None:
    rows = [("a", 0.9, 0), ("b", 0.5, 0), ("b", 0.5, 0)]
    found = hierarchical("p", candidates(rows))
    assert (found.answer, dict(found.weights)) == ("b", {"b": 0.5})


def test_budgets_that_do_not_divide_are_refused() -> None:
    with pytest.raises(BudgetError, match="allowed: 4, 8, 12"):
        start(arm(6, 4), PROBLEM)
    with pytest.raises(BudgetError, match="allowed: 6 "):
        start(Arm("revise", 8, (("chains", 2), ("length", 3))), PROBLEM)
    with pytest.raises(MullError, match="whole number"):
        start(arm(4, 0), PROBLEM)


def test_the_small_engine_reads_earlier_attempts_as_part_of_the_prompt() -> None:
    engine = SmallEngine.load(checkpoint("proposer"))
    problem = problems(count=1)[0]
    first, second = (
        c.trace for c in engine.sample_now([Job(Trace(problem), None, 1.0, seed, 200) for seed in (1, 2)])
    )
    shown = Trace(problem, earlier=(first.text, second.text))
    name, head = engine.words.head(shown)
    assert head == (*engine.words.prompt(problem.prompt), *first.tokens, *second.tokens)
    assert engine.words.head(shown, 1)[1] == (*engine.words.prompt(problem.prompt), *second.tokens)
    assert name != engine.words.head(Trace(problem))[0]
    alone = engine.sample_now([Job(shown, None, 1.0, 5, 200)])[0]
    fresh = SmallEngine.load(checkpoint("proposer"))
    mates = [Job(Trace(problem), None, 1.0, 9, 200), Job(shown, None, 1.0, 5, 200)]
    assert fresh.sample_now(mates)[1].trace == alone.trace
    assert alone.cost.prompt_tokens == len(head)
    assert alone.trace.earlier == shown.earlier


def test_a_verifier_reads_as_much_history_as_it_is_told_to() -> None:
    problem = problems(count=1)[0]
    engine = SmallEngine.load(checkpoint("proposer"))
    first, second = (
        c.trace for c in engine.sample_now([Job(Trace(problem), None, 1.0, seed, 200) for seed in (1, 2)])
    )
    revised = replace(second, earlier=(first.text,))
    blind, seeing = (SmallVerifier.load(checkpoint("orm"), history=n) for n in (0, 4))
    assert blind.score_now([revised])[0].scores == blind.score_now([second])[0].scores
    assert seeing.score_now([second])[0].scores == blind.score_now([second])[0].scores
    assert seeing.score_now([revised])[0].scores != blind.score_now([revised])[0].scores
