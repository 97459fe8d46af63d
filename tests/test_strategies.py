"""Properties of every registered strategy, on a scripted engine; and of the searches."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations

import pytest

from mull import seeds
from mull.drive import Driver, Result, Task
from mull.errors import MullError
from mull.problems import Problem
from mull.select import SELECTORS
from mull.strategies import Arm, BudgetError, find, start, strategies, valid_budgets
from mull.strategies.rounds import Beam, children, survivors
from mull.trace import Sample, Score, Scores, Step, Trace
from scripted import ScriptedEngine, ScriptedVerifier

PROBLEMS = [Problem(f"p{i}", "?", gold="1") for i in range(5)]
VARIANTS: dict[str, list[dict[str, int | str]]] = {
    "beam": [{"width": 4}, {"width": "sqrt"}, {"width": 1}, {"width": 2, "max_rounds": 2}],
    "dvts": [{"width": 4}, {"width": 2, "max_rounds": 2}],
    "revise": [{"chains": 1}, {"chains": 2}, {"chains": 4, "length": 2}],
    "revise_majority": [{"chains": 2}],
    "beam_revise": [{"width": 2, "chains": 2}, {"width": 4, "chains": 4}],
    "score_stop": [{"price": 0.0}],  # an early stop is no test of the budget
    "shortest_first": [{}, {"k": 2}],
    "width_depth": [{}, {"effort": 1.0, "keep_high": 0.5}],
    "marginal": [{}, {"cap": 1000}],
    "lookahead": [{"k": 0}, {"k": 1}, {"k": 3}, {"k": 1, "width": "sqrt"}],
}
ARMS = [
    Arm(name, budget, tuple(params.items()))
    for name in strategies()
    for params in VARIANTS.get(name, [{}])
    for budget in (lambda b: sorted({*b[:2], b[-1]}))(valid_budgets(find(name), params, upto=16))
]
LARGE = [arm for arm in ARMS if arm.budget == max(a.budget for a in ARMS if a.label == arm.label)]
arms = pytest.mark.parametrize("arm", ARMS, ids=str)
large = pytest.mark.parametrize("arm", LARGE, ids=str)


def solve(arm: Arm, problems=PROBLEMS, engine=None, verifier=None, seed=7, **settings) -> list[Result]:
    driver = Driver(
        engine or ScriptedEngine(), verifier or ScriptedVerifier(), seed=seed, **{"record": True, **settings}
    )
    return driver.run([Task(problem, arm) for problem in problems])


@cache
def usual(arm: Arm) -> list[Result]:
    """What comes of the arm on all problems when nothing goes wrong."""
    return solve(arm)


@arms
def test_budget_is_kept_and_tokens_are_conserved(arm: Arm) -> None:
    engine, verifier = ScriptedEngine(), ScriptedVerifier()
    results = solve(arm, engine=engine, verifier=verifier)
    assert all(1 <= r.cost.generations <= arm.budget for r in results)
    assert sum(r.cost.completion_tokens for r in results) == engine.tokens > 0
    assert sum(r.cost.verifier_tokens for r in results) == verifier.tokens
    assert sum(r.cost.requests for r in results) == sum(map(len, engine.calls))
    assert all(r.candidates and len(r.candidates) <= arm.budget and not r.events for r in results)


@large
def test_generations_are_the_papers(arm: Arm) -> None:
    results = solve(arm, engine=ScriptedEngine(least=5, kinds=1000))
    assert [r.cost.generations for r in results] == [arm.budget] * len(PROBLEMS)


@arms
def test_batch_mates_order_and_batching_change_nothing(arm: Arm) -> None:
    expected = usual(arm)
    assert solve(arm) == expected
    assert solve(arm, PROBLEMS[::-1]) == expected[::-1]
    assert solve(arm, concurrency=3) == expected
    assert solve(arm, engine=ScriptedEngine(batching="apart")) == expected
    assert [solve(arm, [problem])[0] for problem in PROBLEMS] == expected
    mixed = [Task(p, a) for p in PROBLEMS for a in (arm, Arm("beam", 8), Arm("majority", 3))]
    driver = Driver(ScriptedEngine(), ScriptedVerifier(), seed=7, record=True, concurrency=5)
    assert driver.run(mixed)[::3] == expected


@large
def test_seeds_matter(arm: Arm) -> None:
    same = solve(arm, seed=8) == usual(arm)
    assert same == (arm.strategy == "greedy")


def test_one_generation_is_the_same_for_all() -> None:
    single = usual(Arm("single", 1))
    for arm in ARMS:
        if arm.budget == 1 and arm.strategy != "greedy":
            for here, there in zip(usual(arm), single, strict=True):
                assert [c.trace for c in here.candidates] == [c.trace for c in there.candidates]
                assert here.selection.answer == there.selection.answer
                assert here.cost.generations == 1


@large
def test_votes_do_not_depend_on_the_candidates_order(arm: Arm) -> None:
    select = SELECTORS[find(arm.strategy).selector]
    for result in usual(arm):
        flipped = select(result.task.problem.id, result.candidates[::-1])
        assert (flipped.answer, flipped.weights) == (result.selection.answer, result.selection.weights)


@large
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_constant_verifier_makes_weighted_the_majority(arm: Arm, value: float) -> None:
    if find(arm.strategy).selector == "best_of_n_weighted":
        for r in solve(arm, verifier=ScriptedVerifier(lambda prefix, _: value)):
            assert r.selection.answer == SELECTORS["majority"](r.task.problem.id, r.candidates).answer


@large
def test_no_candidate_votes_twice(arm: Arm) -> None:
    for r in solve(arm, engine=ScriptedEngine(kinds=2)):
        for one, other in combinations(r.candidates, 2):
            assert one.trace is not other.trace
        finals = [branch.node for branch in r.rounds[-1].branches]
        assert len(set(finals)) == len(finals)


FAULTS = {"error": "scripted failure", "empty": "empty completion", "length": "cut by length"}


@large
@pytest.mark.parametrize("fault", [*FAULTS, "raise", "timeout"])
def test_one_failing_problem_is_marked_and_stays_alone(arm: Arm, fault: str) -> None:
    bad = PROBLEMS[3]
    answer = {"raise": RuntimeError("boom"), "timeout": 30.0}.get(fault, fault)
    batching = "apart" if fault == "timeout" else "together"
    engine = ScriptedEngine(batching, fails=lambda job: answer if job.trace.problem == bad else None)
    results = solve(arm, engine=engine, timeout=0.02 if fault == "timeout" else None)
    for result, fine in zip(results, usual(arm), strict=True):
        if result.task.problem != bad:
            assert result == fine
            continue
        assert result.events and result.candidates
        why = {"raise": "RuntimeError: boom", "timeout": "no answer within"}.get(fault) or FAULTS[fault]
        assert why in result.events[0]
        finish = "length" if fault == "length" else "error"
        assert {c.trace.finish for c in result.candidates} == {finish}
        if finish == "error":
            assert result.selection.answer is None and result.correct is False
            assert {c.answer for c in result.candidates} == {c.scores for c in result.candidates} == {None}


@large
def test_some_failing_traces_cost_nothing_but_themselves(arm: Arm) -> None:
    engine = ScriptedEngine(fails=lambda job: "error" if job.seed % 3 == 0 else None)
    results = solve(arm, engine=engine)
    assert sum(r.cost.completion_tokens for r in results) == engine.tokens
    for r in results:
        assert r.cost.generations <= arm.budget
        assert bool(r.events) or arm.budget == 1 or all(c.trace.complete for c in r.candidates)
        for c in r.candidates:
            assert c.trace.finish in ("stop", "error")
            if c.trace.finish == "error":
                assert c.answer is None and c.scores is None


def test_beams_never_keep_failed_ones() -> None:
    engine = ScriptedEngine(least=3, fails=lambda job: "error" if job.seed % 2 else None)
    for arm in (Arm("beam", 16), Arm("dvts", 16)):
        for r in solve(arm, engine=engine):
            assert any("scripted failure" in event for event in r.events)
            for before, after in zip(r.rounds, r.rounds[1:], strict=False):
                if after.kind == "sample" and before.kind == "score":
                    failed = {b.node for b in before.branches if b.finish == "error"}
                    assert not failed & {b.parent for b in after.branches}


@large
@pytest.mark.parametrize("said", [None, float("nan"), 1.5, -0.1, RuntimeError("no verifier")], ids=repr)
def test_broken_verifier_leaves_unscored_candidates_and_says_so(arm: Arm, said: object) -> None:
    if find(arm.strategy).verifier == "none":
        return
    for r in solve(arm, verifier=ScriptedVerifier(lambda prefix, _: said)):
        assert all(c.scores is None for c in r.candidates)
        assert r.selection.answer is None and r.correct is False
        assert any("unscored" in event for event in r.events)
        assert any("is verifier 'scripted' broken?" in event for event in r.events)


@pytest.mark.parametrize("budget", [4, 8, 16])
def test_lookahead_of_none_is_beam(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "scope", lambda arm: "")
    beam, ahead = solve(Arm("beam", budget)), solve(Arm("lookahead", budget, (("k", 0),)))
    for one, other in zip(beam, ahead, strict=True):
        assert (one.candidates, one.cost, one.rounds) == (other.candidates, other.cost, other.rounds)


def test_lookahead_changes_what_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "scope", lambda arm: "")
    engine = ScriptedEngine(least=4, kinds=50)
    ahead, beam = ScriptedVerifier(), ScriptedVerifier()
    deep = solve(Arm("lookahead", 48, (("k", 2),)), PROBLEMS[:1], engine, ahead)[0]
    flat = solve(Arm("beam", 16), PROBLEMS[:1], engine, beam)[0]
    assert deep.rounds[0] == flat.rounds[0]  # the same first steps
    assert {len(trace.steps) for trace in ahead.seen[:16]} == {3}
    assert {len(trace.steps) for trace in beam.seen[:16]} == {1}
    last = [[b.scores and b.scores[-1] for b in r.rounds[1].branches] for r in (deep, flat)]
    assert last[0] != last[1]
    sampled = {b.node for round_ in deep.rounds if round_.kind == "sample" for b in round_.branches}
    assert {b.node for b in deep.rounds[-1].branches} <= sampled  # rollouts are never candidates


def test_beam_of_width_one_prunes_nothing() -> None:
    for r in solve(Arm("beam", 8, (("width", 1),)), engine=ScriptedEngine(kinds=2)):
        assert len(r.candidates) == 8
        parents = [b.parent for round_ in r.rounds if round_.kind == "sample" for b in round_.branches]
        assert all(n == 1 for parent, n in Counter(parents).items() if parent)
        assert [round_.kind for round_ in r.rounds[-2:]] == ["score", "finals"]
        assert sum(round_.kind == "score" for round_ in r.rounds) == 1


def test_beam_of_width_one_is_distributed_as_sampling() -> None:
    many = [Problem(f"q{i}", "?") for i in range(1200)]

    def count(arm: Arm) -> Counter[object]:
        finals = [c for r in solve(arm, many, record=False) for c in r.candidates]
        return Counter(c.answer for c in finals) + Counter(len(c.trace.steps) for c in finals)

    here, there = count(Arm("beam", 2, (("width", 1),))), count(Arm("best_of_n_weighted", 2))
    for key in here.keys() | there.keys():
        spread = 5 * (here[key] + there[key]) ** 0.5 + 1
        assert abs(here[key] - there[key]) < spread, (key, here, there)


@pytest.mark.parametrize(
    ("budget", "width", "kept"), [(4, 4, 1), (16, 4, 4), (16, "sqrt", 4), (16, 8, 2), (9, "sqrt", 3)]
)
def test_beam_keeps_n_over_m_of_the_best(budget: int, width: int | str, kept: int) -> None:
    # Distinct steps and no early end: every round keeps exactly N/M and samples N.
    engine = ScriptedEngine(least=4, kinds=10_000)
    for r in solve(Arm("beam", budget, (("width", width),)), engine=engine):
        rounds = [round_ for round_ in r.rounds if round_.kind == "sample"]
        assert {len(round_.branches) for round_ in rounds[:5]} == {budget}
        scored = [round_ for round_ in r.rounds if round_.kind == "score"]
        for n in range(1, 4):
            parents = Counter(b.parent for b in rounds[n].branches)
            assert len(parents) == kept and set(parents.values()) == {budget // kept}
            values = {b.node: (b.scores or (0.0,))[-1] for b in scored[n - 1].branches}
            assert min(values[p] for p in parents) >= max((v for p, v in values.items() if p not in parents))


def test_finished_beams_are_carried_once_and_hold_a_slot() -> None:
    done, one, two = (
        Trace(PROBLEMS[0], (Step(text, (n,)),), finish)
        for n, (text, finish) in enumerate([("done", "stop"), ("one", None), ("two", None)])
    )
    pool = (Beam(done), Beam(one), Beam(two))

    def places(pool: tuple[Beam, ...], slots: int, width: int) -> Counter[str]:
        return Counter(trace.text for trace in children(pool, slots, width))

    assert places(pool, 4, 4) == {"one": 6, "two": 6}  # three slots of four, shared by two
    assert places(pool, 3, 4) == {"one": 4, "two": 4}
    assert places((Beam(one), Beam(two)), 3, 3) == {"one": 5, "two": 4}
    assert children((Beam(done),), 4, 4) == ()
    for r in solve(Arm("beam", 16), engine=ScriptedEngine(kinds=10_000)):
        scored = Counter(b.node for round_ in r.rounds if round_.kind == "score" for b in round_.branches)
        assert set(scored.values()) == {1}  # nothing is scored, or paid for, twice
        for round_ in r.rounds:
            assert round_.kind != "sample" or len(round_.branches) in (16, 12, 8, 4)


def test_identical_prefixes_are_beams_like_any_other() -> None:
    def beam(text: str, value: float) -> Beam:
        return Beam(Trace(PROBLEMS[0], (Step(text, (len(text),)),)), Scores((value,)), True)

    pool = (beam("one", 0.9), beam("four", 0.2), beam("one", 0.9), beam("seven", 0.5))
    assert [b.trace.text for b in survivors(pool, 2)] == ["one", "one"]
    assert [b.trace.text for b in survivors(pool, 3)] == ["one", "one", "seven"]
    for r in solve(Arm("beam", 16), engine=ScriptedEngine(least=4, kinds=1)):
        second = [round_ for round_ in r.rounds if round_.kind == "sample"][1]
        assert len(second.branches) == 16


def test_round_cap_completes_the_same_beams() -> None:
    for strategy in ("beam", "dvts"):
        arm = Arm(strategy, 16, (("max_rounds", 2),))
        for r in solve(arm, engine=ScriptedEngine(least=5, kinds=10_000)):
            kinds = [round_.kind for round_ in r.rounds]
            assert kinds == ["sample", "score", "sample", "sample", "score", "finals"]
            assert len(r.candidates) == r.cost.generations == 16
            assert {b.parent for b in r.rounds[3].branches} == {b.node for b in r.rounds[2].branches}


def test_dvts_subtrees_never_mix() -> None:
    for r in solve(Arm("dvts", 16), engine=ScriptedEngine(least=4, kinds=10_000)):
        group = {0: -1} | {b.node: i // 4 for i, b in enumerate(r.rounds[0].branches)}
        rounds = [round_ for round_ in r.rounds if round_.kind == "sample"][1:]
        for round_ in rounds[:3]:
            parents = Counter(b.parent for b in round_.branches)
            assert Counter(group[p] for p in parents) == {0: 1, 1: 1, 2: 1, 3: 1}
            group |= {b.node: group[b.parent] for b in round_.branches}


def test_unscored_and_failed_rank_last() -> None:
    def beam(n: int, value: float | None, finish=None) -> Beam:
        return Beam(Trace(PROBLEMS[0], (Step(str(n), (n,)),), finish), value and Scores((value,)), True)

    pool = (
        beam(1, None),
        beam(2, 0.2),
        beam(3, None, "error"),
        beam(4, 0.9),
        beam(4, 0.9),
        beam(5, 0.1, "stop"),
    )
    assert [b.trace.text for b in survivors(pool, 9)] == ["4", "4", "2", "5", "1"]
    assert [b.trace.text for b in survivors(pool, 3)] == ["4", "4", "2"]
    nought = Beam(Trace(PROBLEMS[0], (Step("0", (0,)),)), Scores((0.0,)), True)
    assert survivors((beam(1, None), nought), 1) == (nought,)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (Arm("greedy", 2), "allowed: 1 "),
        (Arm("single", 4), "allowed: 1 "),
        (Arm("beam", 6), r"allowed: 1, 4, 8, 12, 16, 20, \.\.\. \(nearest: 4 and 8\)"),
        (Arm("beam", 8, (("width", "sqrt"),)), "allowed: 1, 4, 9, 16.*nearest: 4 and 9"),
        (Arm("lookahead", 4, (("k", 3),)), "allowed: 1, 16, 32.*nearest: 1 and 16"),
        (Arm("lookahead", 12), "nearest: 8 and 16"),
        (Arm("dvts", 3), "nearest: 1 and 4"),
        (Arm("majority", 0), "at least 1"),
    ],
    ids=str,
)
def test_impossible_budgets_name_the_possible_ones(arm: Arm, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        start(arm, PROBLEMS[0])


@pytest.mark.parametrize(
    "params", [{"width": 0}, {"width": "two"}, {"width": True}, {"max_rounds": 0}, {"k": -1}]
)
def test_bad_hyperparameters(params: dict[str, int | str]) -> None:
    with pytest.raises(MullError, match="whole number"):
        start(Arm("lookahead", 16, tuple(params.items())), PROBLEMS[0])


def test_strategies_do_no_work_before_they_are_asked() -> None:
    for arm in LARGE:
        request = next(start(arm, PROBLEMS[0]))
        assert isinstance(request, Sample) and not isinstance(request, Score)
        assert {len(t.steps) for t in request.traces} == {0}
