"""The meter and the seeds: what a run may spend, and where its randomness comes from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mull.drive import Driver, Task
from mull.meter import BudgetExceeded, Meter
from mull.problems import Problem
from mull.seeds import seed_for
from mull.strategies import base
from mull.strategies.base import Arm, Plan, strategy
from mull.trace import Sample, Score, Step, Trace
from scripted import ScriptedEngine, ScriptedVerifier

PROBLEMS = [Problem(f"p{i}", "?", gold="1") for i in range(10)]
ROOT = Trace(PROBLEMS[0])


def deep(n: int, finish=None) -> Trace:
    return Trace(PROBLEMS[0], tuple(Step(f"{i}\n", (i,)) for i in range(n)), finish)


def tasks(arm: Arm, problems=PROBLEMS) -> list[Task]:
    return [Task(problem, arm) for problem in problems]


@pytest.fixture
def register() -> Iterator[None]:
    before = dict(base._REGISTRY)
    yield
    base._REGISTRY.clear()
    base._REGISTRY.update(before)


@pytest.mark.parametrize(
    ("requests", "generations"),
    [
        ([Sample((ROOT,), "end")], 1),
        ([Sample((ROOT,) * 8, "end")], 8),
        ([Sample((ROOT,) * 4, "end"), Sample((ROOT,) * 4, "end")], 8),
        ([Sample((ROOT,) * 8, "step"), Sample((deep(1),) * 8, "step"), Sample((deep(2),) * 4, "step")], 8),
        ([Sample((ROOT,) * 8, "step"), Sample((deep(1),) * 8, "end")], 8),  # the same beams, completed
        ([Sample((ROOT,) * 2, "step"), Sample((deep(1),) * 8, "end")], 8),  # the widest round
        ([Sample((ROOT,) * 4, "step"), Sample((ROOT,) * 4, "step")], 8),  # two searches
        ([Sample((ROOT,) * 4, "end"), Sample((ROOT,) * 4, "step"), Sample((deep(1),) * 4, "step")], 8),
        ([Sample((ROOT,) * 4, "step"), Score((deep(1),) * 4, 3), Sample((deep(1),) * 4, "step")], 16),
        ([Sample((ROOT,) * 4, "step"), Score((deep(1),) * 4), Sample((deep(1),) * 4, "step")], 4),
        # whole solutions pass every later position
        ([Sample((ROOT,) * 4, "end"), Sample((ROOT,) * 4, "step"), Sample((deep(1),) * 8, "step")], 12),
        ([Sample((ROOT,), "end"), Sample((deep(3),) * 2, "end")], 3),
        # closed ones are free
        ([Sample((deep(2, "stop"),) * 4, "step"), Score((deep(2, "stop"),) * 4, 3)], 0),
    ],
)
def test_the_counting_rule(requests: list[Sample | Score], generations: int) -> None:
    meter = Meter()
    for request in requests:
        meter.charge(request, 16, "x")
    assert meter.generations == generations


def test_an_overspending_strategy_is_stopped_before_it_spends(register: None) -> None:
    @strategy("greedy_for_budget", selector="majority")
    def plan(problem: Problem, *, budget: int) -> Plan:
        def go() -> Plan:
            traces = yield Sample((Trace(problem),) * budget, "step")
            traces = yield Sample((*traces, *traces), "step")
            return [(t, None) for t in traces]

        return go()

    engine = ScriptedEngine(least=3)
    with pytest.raises(BudgetExceeded, match=r"greedy_for_budget@4 on problem 'p0'.*8 gen.*budget of 4"):
        Driver(engine, seed=1).run(tasks(Arm("greedy_for_budget", 4), PROBLEMS[:1]))
    assert [len(call) for call in engine.calls] == [4]


def test_seeds_are_all_different_and_64_bits() -> None:
    engine = ScriptedEngine(least=3)
    Driver(engine, ScriptedVerifier(), seed=1).run(tasks(Arm("lookahead", 16)))
    found = [job.seed for call in engine.calls for job in call]
    assert len(set(found)) == len(found) and max(found).bit_length() > 56
    one = seed_for(1, "p", Arm("beam", 4), 2, 3)
    others = [
        seed_for(2, "p", Arm("beam", 4), 2, 3),
        seed_for(1, "q", Arm("beam", 4), 2, 3),
        seed_for(1, "p", Arm("beam", 8), 2, 3),
        seed_for(1, "p", Arm("beam", 4), 3, 3),
        seed_for(1, "p", Arm("beam", 4), 2, 4),
    ]
    assert len({one, *others}) == 6
    assert seed_for(1, "p", Arm("beam", 1), 0, 0) == seed_for(1, "p", Arm("single", 1), 0, 0)
    assert one == 3479217288748364412, "seeds are recorded in studies and must never change"
