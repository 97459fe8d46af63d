"""The driver: batching, budget, ledger, failures, the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mull.drive import Driver, Result, Task
from mull.engines.base import Continuation
from mull.errors import MullError
from mull.problems import Problem
from mull.strategies import base
from mull.strategies.base import Arm, Plan, strategy
from mull.trace import Sample, Score, Scores, Step, Trace
from mull.tree import tree
from mull.verifiers.base import Verdict
from scripted import ScriptedEngine, ScriptedVerifier

PROBLEMS = [Problem(f"p{i}", "?", gold="1") for i in range(10)]


def tasks(arm: Arm, problems=PROBLEMS) -> list[Task]:
    return [Task(problem, arm) for problem in problems]


@pytest.fixture
def register() -> Iterator[None]:
    before = dict(base._REGISTRY)
    yield
    base._REGISTRY.clear()
    base._REGISTRY.update(before)


# -- batching


def test_together_makes_one_call_a_round_for_all_in_flight() -> None:
    engine = ScriptedEngine()
    Driver(engine, ScriptedVerifier(), seed=1).run(tasks(Arm("best_of_n", 4)))
    assert [len(call) for call in engine.calls] == [40]
    engine = ScriptedEngine()
    Driver(engine, seed=1, concurrency=4).run(tasks(Arm("majority", 4)))
    assert [len(call) for call in engine.calls] == [16, 16, 8]


def test_finished_tasks_are_replaced_at_once() -> None:
    engine = ScriptedEngine(least=3)
    mixed = [Task(p, Arm("beam", 4) if i == 0 else Arm("single", 1)) for i, p in enumerate(PROBLEMS)]
    Driver(engine, ScriptedVerifier(), seed=1, concurrency=2).run(mixed)
    assert [len(call) for call in engine.calls[:2]] == [5, 1]  # the beam is being scored in the second
    assert len({job.trace.problem.id for call in engine.calls[:3] for job in call}) >= 3


def test_apart_makes_one_call_a_request_at_most_concurrency_at_a_time() -> None:
    now = peak = 0

    class Counting(ScriptedEngine):
        async def sample(self, jobs):
            nonlocal now, peak
            now, peak = now + 1, max(peak, now + 1)
            await asyncio.sleep(0.001)
            now -= 1
            return await super().sample(jobs)

    engine = Counting("apart")
    Driver(engine, seed=1, concurrency=3).run(tasks(Arm("majority", 4)))
    assert [len(call) for call in engine.calls] == [4] * 10 and peak == 3


def test_drives_at_the_same_time_share_batches() -> None:
    engine = ScriptedEngine()
    driver = Driver(engine, ScriptedVerifier(), seed=1)

    async def both() -> list[list[Result]]:
        return await asyncio.gather(*(driver.drive(tasks(Arm("majority", 2), [p])) for p in PROBLEMS))

    assert [r for found in asyncio.run(both()) for r in found] == driver.run(tasks(Arm("majority", 2)))
    assert [len(call) for call in engine.calls] == [20, 20]


def test_results_come_in_task_order_and_are_told_as_they_finish() -> None:
    told: list[Result] = []
    mixed = [Task(p, Arm("beam", 8) if i % 2 else Arm("single", 1)) for i, p in enumerate(PROBLEMS)]
    results = Driver(ScriptedEngine(least=2), ScriptedVerifier(), seed=1).run(mixed, told.append)
    assert [r.task for r in results] == mixed
    assert len(told) == 10 and {r.task.arm.strategy for r in told[:5]} == {"single"}
    assert Driver(ScriptedEngine(), seed=1).run([]) == []


def test_an_error_in_on_result_ends_the_run_and_leaves_the_driver_usable() -> None:
    driver = Driver(ScriptedEngine(), ScriptedVerifier(), seed=1, concurrency=4)

    def broken(result: Result) -> None:
        raise KeyError("disk full")

    async def twice() -> list[Result]:
        with pytest.raises(KeyError):
            await driver.drive(tasks(Arm("beam", 8)), broken)
        return await asyncio.wait_for(driver.drive(tasks(Arm("beam", 8))), 5)

    assert len(asyncio.run(twice())) == 10


# -- what goes wrong


def test_a_missing_verifier_is_said_before_anything_runs() -> None:
    engine = ScriptedEngine()
    for verifier, arm, need in [
        (None, Arm("beam", 4), "process"),
        (None, Arm("best_of_n", 4), "outcome"),
        ({"outcome": ScriptedVerifier()}, Arm("beam", 4), "process"),
    ]:
        with pytest.raises(MullError, match=rf"{arm.strategy}.*needs a verifier \({need}\)"):
            Driver(engine, verifier, seed=1).run([*tasks(Arm("single", 1)), *tasks(arm)])
    assert engine.calls == []
    assert Driver(engine, seed=1).run(tasks(Arm("majority", 4)))


def test_verifiers_by_need() -> None:
    outcome, process = ScriptedVerifier(name="orm"), ScriptedVerifier(name="prm")
    driver = Driver(ScriptedEngine(), {"outcome": outcome, "process": process}, seed=1)
    driver.run(tasks(Arm("best_of_n", 4)))
    assert outcome.seen and not process.seen
    seen = len(outcome.seen)
    driver.run(tasks(Arm("beam", 4)))
    assert process.seen and len(outcome.seen) == seen
    Driver(ScriptedEngine(), {"process": process}, seed=1).run(tasks(Arm("best_of_n", 4)))


def test_a_mistake_of_the_users_ends_the_run() -> None:
    for batching in ("together", "apart"):
        engine = ScriptedEngine(batching, fails=lambda job: MullError("no such model"))
        with pytest.raises(MullError, match="no such model"):
            Driver(engine, seed=1).run(tasks(Arm("majority", 2)))


@pytest.mark.parametrize(
    ("meddle", "why"),
    [
        (lambda job, t: replace(t, steps=(Step("x", (9,)), *t.steps[1:])), "another trace"),
        (lambda job, t: t.then((Step("x", (9,)),) * 2, None), "steps where 1 were asked"),
        (lambda job, t: replace(job.trace, finish="stop") if not job.trace.steps else t, "empty completion"),
        (lambda job, t: job.trace, "empty completion"),
    ],
)
def test_an_engine_that_breaks_its_contract_is_an_error(meddle, why: str) -> None:
    class Meddling(ScriptedEngine):
        def one(self, job):
            made = super().one(job)
            if job.trace.steps or "another" not in why:
                made = Continuation(meddle(job, made.trace), made.cost)
            return made

    results = Driver(Meddling(least=2), ScriptedVerifier(), seed=1).run(tasks(Arm("beam", 4)))
    assert all(any(why in event for event in r.events) for r in results)
    assert all(c.trace.finish == "error" and c.answer is None for r in results for c in r.candidates)


def test_an_engine_that_leaves_solutions_open_or_miscounts_is_an_error() -> None:
    class Open(ScriptedEngine):
        def one(self, job):
            made = super().one(job)
            return replace(made, trace=replace(made.trace, finish=None))

    class Short(ScriptedEngine):
        async def sample(self, jobs):
            return (await super().sample(jobs))[1:]

    for engine, why in [(Open(), "left a solution open"), (Short(), "ValueError: 1 results for 2 traces")]:
        for r in Driver(engine, seed=1).run(tasks(Arm("majority", 2))):
            assert why in r.events[0] and r.selection.answer is None


def test_a_trace_that_ends_without_another_step_is_complete() -> None:
    class Ending(ScriptedEngine):
        def one(self, job):
            made = super().one(job)
            if len(job.trace.steps) == 2:
                return replace(made, trace=job.trace.then((), "stop"))
            return replace(made, trace=replace(made.trace, finish=None))

    results = Driver(Ending(least=9), ScriptedVerifier(), seed=1, record=True).run(tasks(Arm("beam", 4)))
    assert all(
        c.trace.complete and c.scores and len(c.scores.steps) == 2 for r in results for c in r.candidates
    )
    assert not any("empty" in event for r in results for event in r.events)
    assert tree(results[0])["nodes"]


def test_max_tokens_caps_a_solution_however_many_steps_it_has() -> None:
    for arm in (Arm("majority", 4), Arm("beam", 4)):
        results = Driver(ScriptedEngine(least=50), ScriptedVerifier(), seed=1, max_tokens=10).run(tasks(arm))
        for r in results:
            assert all(len(c.trace.tokens) <= 10 for c in r.candidates)
            assert {c.trace.finish for c in r.candidates} == {"length"}
            assert any("cut by length (limit 10 tokens)" in event for event in r.events)


@pytest.mark.parametrize(
    ("text", "answer"), [("Answer: 12\nand so", "12"), ("so\nAnswer: 1", None), ("Answer: 1", None)]
)
def test_a_cut_solution_answers_from_its_whole_lines_only(text: str, answer: str | None) -> None:
    class Cut(ScriptedEngine):
        def one(self, job):
            return replace(super().one(job), trace=job.trace.then((Step(text, (1, 2)),), "length"))

    result = Driver(Cut(), seed=1).run(tasks(Arm("single", 1), PROBLEMS[:1]))[0]
    assert result.selection.answer == answer


@pytest.mark.parametrize("count", [2, 9])
def test_a_wrong_number_of_values_is_unscored_and_one_value_is_fine(count: int) -> None:
    class Miscounting(ScriptedVerifier):
        def one(self, trace):
            made = super().one(trace)
            return replace(made, scores=Scores((0.5,) * (1 if len(trace.steps) < 4 else count)))

    arm = Arm("best_of_n", 4)
    results = Driver(ScriptedEngine(least=2), Miscounting(), seed=1).run(tasks(arm))
    for r in results:
        for c in r.candidates:
            assert (c.scores is None) == (len(c.trace.steps) >= 4 and len(c.trace.steps) != count)
        if any(c.scores is None for c in r.candidates):
            assert any(f"gave {count} values for" in event for event in r.events)


def test_a_verifier_that_raises_for_one_problem_leaves_the_others_alone() -> None:
    bad = PROBLEMS[2]
    verifier = ScriptedVerifier(lambda t, v: RuntimeError("out of memory") if t.problem == bad else v)
    results = Driver(ScriptedEngine(), verifier, seed=1).run(tasks(Arm("beam", 8)))
    usual = Driver(ScriptedEngine(), ScriptedVerifier(), seed=1).run(tasks(Arm("beam", 8)))
    for r, u in zip(results, usual, strict=True):
        if r.task.problem == bad:
            assert "RuntimeError: out of memory" in r.events[0] and r.selection.answer is None
        else:
            assert r == u


def test_a_slow_verifier_times_out_where_calls_go_apart() -> None:
    class Slow(ScriptedVerifier):
        async def score(self, traces):
            await asyncio.sleep(5)
            return await super().score(traces)

    result = Driver(ScriptedEngine("apart"), Slow(), seed=1, timeout=0.02).run(tasks(Arm("best_of_n", 2)))[0]
    assert "unscored: TimeoutError: no answer within 0.02 s" in result.events[0]


def test_failed_traces_are_not_shown_to_the_verifier() -> None:
    verifier = ScriptedVerifier()
    engine = ScriptedEngine(fails=lambda job: "error" if job.seed % 2 else None)
    for arm in (Arm("best_of_n", 8), Arm("beam", 8), Arm("lookahead", 16)):
        Driver(engine, verifier, seed=1).run(tasks(arm))
    assert verifier.seen and all(t.finish != "error" and t.steps for t in verifier.seen)


def test_a_failed_rollout_leaves_its_trace_unscored_and_alive() -> None:
    engine = ScriptedEngine(least=2, fails=lambda job: "error" if job.temperature == 0 else None)
    results = Driver(engine, ScriptedVerifier(), seed=1).run(tasks(Arm("lookahead", 16)))
    for r in results:
        assert all(c.trace.complete and c.scores for c in r.candidates) and r.selection.answer
        assert any("unscored: the rollout failed: scripted failure" in event for event in r.events)


# -- the record


def test_the_tree_holds_every_sampled_step() -> None:
    engine = ScriptedEngine(kinds=100)
    for arm in (Arm("beam", 16), Arm("dvts", 8), Arm("best_of_n", 4), Arm("majority", 4)):
        for r in Driver(engine, ScriptedVerifier(), seed=1, record=True).run(tasks(arm)):
            nodes = tree(r)["nodes"]
            json.dumps(nodes)
            assert [n["id"] for n in nodes] == list(range(len(nodes)))
            assert nodes[0]["parent"] is None and all(n["parent"] < n["id"] for n in nodes[1:])
            finals = [n for n in nodes if n["answer"] is not None]
            assert sorted(n["answer"] for n in finals) == sorted(c.answer for c in r.candidates if c.answer)
            texts = []
            for node in finals:
                text, here = "", node
                while here["parent"] is not None:
                    assert here["kept"]
                    if r.task.arm.strategy != "majority":
                        assert 0 <= here["score"] <= 1
                    text, here = here["text"] + text, nodes[here["parent"]]
                texts.append(text)
            assert sorted(texts) == sorted(c.trace.text for c in r.candidates)
            parents = {n["parent"] for n in nodes}
            for n in nodes:
                assert n["kept"] == (n["id"] in parents or n["answer"] is not None)


def test_nothing_is_recorded_unless_asked() -> None:
    result = Driver(ScriptedEngine(), ScriptedVerifier(), seed=1).run(tasks(Arm("beam", 4)))[0]
    assert result.rounds == () and tree(result) == {"nodes": []}


def test_correct_is_unknown_without_a_gold_answer() -> None:
    result = Driver(ScriptedEngine(), seed=1).run([Task(Problem("x", "?"), Arm("single", 1))])[0]
    assert result.correct is None


def test_a_strategy_that_scores_without_declaring_it_is_told_so(register: None) -> None:
    @strategy("undeclared", selector="majority")
    def plan(problem: Problem, *, budget: int) -> Plan:
        def go() -> Plan:
            traces = yield Sample((Trace(problem),), "end")
            scores = yield Score(tuple(traces))
            return list(zip(traces, scores, strict=True))

        return go()

    with pytest.raises(MullError, match="registered as needing no verifier"):
        Driver(ScriptedEngine(), ScriptedVerifier(), seed=1).run(tasks(Arm("undeclared", 1)))


def test_verdict_reasons_reach_the_events() -> None:
    class Reasoned(ScriptedVerifier):
        def one(self, trace):
            return Verdict(None, error="no step tag in the prompt")

    result = Driver(ScriptedEngine(), Reasoned(), seed=1).run(tasks(Arm("best_of_n", 3)))[0]
    assert result.events[0] == "request 2, trace 1, 2, 3 of 3: unscored: no step tag in the prompt"
