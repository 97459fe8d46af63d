"""The engine for OpenAI-compatible servers, against the real programs with the small world's proposer.

Minutes long; ``real_servers.py`` says which environment variables name the programs. Each of

    MULL_VLLM_PYTHON=.../bin/python pytest -m slow tests/test_real_servers.py
    MULL_LLAMA_SERVER=.../llama-server pytest -m slow tests/test_real_servers.py

tests what it names and skips the rest. ``MULL_PROBLEMS`` (100) is the number of problems.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mull import select
from mull.drive import Driver, Task
from mull.engines.base import Engine, Job
from mull.engines.prompts import FORMATS, RULES, Marks
from mull.engines.small import SmallEngine
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.tiny.load import checkpoint, problems
from mull.trace import Thinking, ThinkingBudget, Trace
from mull.verifiers.small import SmallVerifier

pytest.importorskip("aiohttp")
from mull.engines.openai import OpenAIEngine, load
from real_servers import PROGRAMS, Running

pytestmark = pytest.mark.slow
SMALL = SmallEngine.load(checkpoint("proposer"))
PRM = SmallVerifier.load(checkpoint("prm"))
PROBLEMS = problems(count=int(os.environ.get("MULL_PROBLEMS", "100")))
MAX_TOKENS = 200
RECORDS = Path(__file__).parent.parent / "docs" / "engines"
#: It has no choices (and answers one request after the other: name fewer problems where that takes too long).
ALONE = ("transformers serve",)
TEXT, CHAT = FORMATS["text"], replace(FORMATS["chat"], rule=RULES["newline"])


@pytest.fixture(scope="module", params=PROGRAMS)
def server(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Running, Path]]:
    """A program that runs: its name, itself, and where what is probed is remembered."""
    with PROGRAMS[request.param](tmp_path_factory.mktemp("server")) as running:
        yield request.param, running, tmp_path_factory.mktemp("probed")


def built_in(count: int) -> list[Trace]:
    jobs = [Job(Trace(p), None, 0.0, 1, MAX_TOKENS) for p in PROBLEMS[:count]]
    return [c.trace for c in SMALL.sample_now(jobs)]


def greedy(engine: OpenAIEngine, count: int) -> tuple[list[Trace], list[Trace]]:
    """Greedy solutions whole, and step by step."""

    async def sample() -> tuple[list[Trace], list[Trace]]:
        traces = [Trace(problem) for problem in PROBLEMS[:count]]
        whole = [c.trace for c in await engine.sample([Job(t, None, 0.0, 1, MAX_TOKENS) for t in traces])]
        while any(trace.open for trace in traces):
            jobs = [Job(trace, 1, 0.0, 1, MAX_TOKENS) for trace in traces]
            traces = [c.trace for c in await engine.sample(jobs)]
        return whole, traces

    return asyncio.run(sample())


def test_the_probe_finds_what_the_documentation_shows(server):
    name, running, folder = server
    found = asyncio.run(running.engine(folder).capabilities())
    shown = load(RECORDS / f"{name.replace(' ', '-')}.json")
    for route in ("completions", "chat"):
        one, other = asdict(getattr(found, route)), asdict(getattr(shown, route))
        differ = {key: (one[key], other[key]) for key in one if one[key] != other[key] and key != "why"}
        assert not differ, f"{route}: now, and as documented: {differ}"
    assert found.checked == shown.checked


@pytest.mark.parametrize("form", [TEXT, CHAT], ids=["text", "chat"])
def test_greedy_equals_the_built_in_engine(server, form):
    name, running, folder = server
    engine = running.engine(folder, form=form)
    count = min(20, len(PROBLEMS))
    whole, stepped = greedy(engine, count)
    expected = built_in(count)
    for one in (whole, stepped):
        assert [(t.text, t.finish, t.error or "") for t in one] == [(t.text, t.finish, "") for t in expected]
        assert [[s.text for s in t.steps] for t in one] == [[s.text for s in t.steps] for t in expected]
    route = asyncio.run(engine.capabilities()).route(form.chat)
    values = [x for t in whole for s in t.steps for x in s.logprobs]
    same = [x for t in expected for s in t.steps for x in s.logprobs]
    print(f"{name}: {len(values)} log-probabilities of {len(same)} tokens", end="")
    if route.ids != "no":
        assert [t.tokens for t in whole] == [t.tokens for t in expected]
    if route.logprobs:
        # Some servers give the end token's, some do not.
        for one, other in zip(whole, expected, strict=True):
            for step, like in zip(one.steps, other.steps, strict=True):
                assert 0 <= len(like.logprobs) - len(step.logprobs) <= (like is other.steps[-1])
                assert np.allclose(step.logprobs, like.logprobs[: len(step.logprobs)], atol=2e-3)
        print(f", largest difference {largest(whole, expected):.1e}", end="")
    print()
    assert bool(values) == bool(route.logprobs)


def largest(one: list[Trace], other: list[Trace]) -> float:
    pairs = [(s, o) for t, u in zip(one, other, strict=True) for s, o in zip(t.steps, u.steps, strict=True)]
    return max(abs(x - y) for s, o in pairs for x, y in zip(s.logprobs, o.logprobs, strict=False))


@cache
def expected(strategy: str, count: int) -> list:
    return run(SMALL, strategy, count)


def run(engine: Engine, strategy: str, count: int) -> list:
    driver = Driver(engine, PRM, seed=5, max_tokens=MAX_TOKENS)
    return driver.run([Task(p, Arm(strategy, 16)) for p in PROBLEMS[:count]])


def right(results: list) -> np.ndarray:
    return np.array([bool(r.correct) for r in results])


@pytest.mark.parametrize("seeded", [True, False], ids=["seeds", "choices"])
def test_sampling_is_as_accurate(server, seeded: bool):
    """Best of 16, majority and single samples, all of the same solutions."""
    name, running, folder = server
    if name in ALONE and not seeded:
        pytest.skip("it has no choices")
    count = len(PROBLEMS)
    results = run(running.engine(folder, seeded=seeded), "best_of_n", count)
    other = expected("best_of_n", count)
    assert not any(event for r in results for event in r.events if "none of" not in event)
    for rule in (select.best_of_n, select.majority):
        told, like = (
            np.array([rule(r.task.problem.id, r.candidates).answer == r.task.problem.gold for r in each])
            for each in (results, other)
        )
        print(f"{name} {rule.__name__} 16: {told.sum()} of {count}, built-in {like.sum()}", flush=True)
        within(told, like)
    one, two = (
        np.array([np.mean([c.answer == r.task.problem.gold for c in r.candidates]) for r in each])
        for each in (results, other)
    )
    print(f"{name} one sample: {one.mean():.3f}, built-in {two.mean():.3f}", flush=True)
    # Shares of 16 each: the difference of two means over the problems, and its standard error.
    error = np.sqrt(np.sum(two * (1 - two)) * 2 / 16) / count
    assert abs(one.mean() - two.mean()) < 3.5 * error


def within(one: np.ndarray, other: np.ndarray) -> None:
    """Paired: as many problems are won as are lost, within 3.5 standard errors."""
    won, lost = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    assert abs(won - lost) <= 3.5 * np.sqrt(max(won + lost, 1)), (won, lost)


def test_beam_is_as_accurate(server):
    name, running, folder = server
    count = len(PROBLEMS)
    engine = running.engine(folder)
    results, other = run(engine, "beam", count), expected("beam", count)
    told, like = right(results), right(other)
    print(f"{name} beam: {told.sum()} of {count}, built-in {like.sum()}; notes {engine.notes}")
    assert not any(r.events for r in results)
    within(told, like)
    cost = sum((r.cost for r in results[1:]), results[0].cost)
    print(cost)
    route = asyncio.run(engine.capabilities()).completions
    if route.cached and route.step_by_stops:
        assert cost.cached_tokens > 0.3 * cost.prompt_tokens


#: The small model does not think; here all that it writes before its answer is taken for thinking.
MARKS = Marks(".", "Answer", "Ann")
THINKS = replace(TEXT, thinks=True, marks=MARKS)


def greedily(prompt: str, limit: int) -> Trace:
    return SMALL.sample_now([Job(Trace(Problem("p", prompt)), None, 0.0, 1, limit)])[0].trace


def thought(prompt: str, budget: ThinkingBudget) -> tuple[Thinking, str]:
    """Thinking within the budget, and the solution after it, by the built-in engine and by hand."""
    (end,) = SMALL.words.spelt(MARKS.close)
    text, count, waits = "\n", 0, 0
    while True:
        made = greedily(prompt + MARKS.open + text, budget.tokens - count)
        said, closed, _ = made.text.partition(MARKS.close)
        text += said
        count += made.tokens.index(end) + 1 if closed else len(made.tokens)
        cut = not closed and made.finish == "length"
        if cut or waits == budget.waits or count >= budget.tokens:
            break
        waits, text = waits + 1, text + ("" if text.endswith("\n") else "\n") + MARKS.wait
    text += "" if text.endswith("\n") else "\n"
    solution = greedily(f"{prompt}{MARKS.open}{text}{MARKS.close}\n\n", 40)
    return Thinking(text, count, waits, cut), solution.text


@pytest.mark.parametrize("budget", [ThinkingBudget(9), ThinkingBudget(150), ThinkingBudget(150, 2)], ids=str)
def test_thinking_keeps_its_budget(server, budget: ThinkingBudget):
    """Cut at the budget, closed by the model, and held back twice."""
    name, running, folder = server
    engine = running.engine(folder, form=THINKS)
    jobs = [Job(Trace(problem), None, 0.0, 1, 40, budget) for problem in PROBLEMS[:5]]
    found = [c.trace for c in asyncio.run(engine.sample(jobs))]
    expected = [thought(problem.prompt, budget) for problem in PROBLEMS[:5]]
    ways = [(t.thinking.cut, t.thinking.waits) for t in found if t.thinking is not None]
    print(f"{name}: {budget}: {sum(cut for cut, _ in ways)} of 5 cut, waits {[n for _, n in ways]}")
    told = asyncio.run(engine.capabilities()).completions.ids != "no"
    for trace, (thinking, solution) in zip(found, expected, strict=True):
        assert trace.thinking is not None and not trace.error
        assert trace.text == solution
        assert trace.thinking == (thinking if told else replace(thinking, tokens=trace.thinking.tokens))


def test_cancelling_ends_the_work(server):
    """The server has nothing to do soon after a call is cancelled."""
    name, running, folder = server
    if running.busy is None:
        pytest.skip(f"{name} does not tell how busy it is")
    busy = running.busy
    long = Problem("long", "1 + 1 = 2\n" * 10, "0")

    async def cancelled() -> tuple[float, float]:
        engine = running.engine(folder, seeded=True, form=replace(TEXT, ask="{problem}"))
        await engine.settings()
        jobs = [Job(Trace(long), None, 1.5, seed, 600) for seed in range(2000)]
        task = asyncio.create_task(engine.sample(jobs))
        for _ in range(200):
            await asyncio.sleep(0.05)
            most = await asyncio.to_thread(busy)
            if most >= 8:
                break
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        begun = time.monotonic()
        while await asyncio.to_thread(busy) and time.monotonic() - begun < 30:
            await asyncio.sleep(0.05)
        return most, time.monotonic() - begun

    most, after = asyncio.run(cancelled())
    print(f"{name}: {most:.0f} requests under way, none {after:.2f} s after cancelling")
    assert most >= 8 and after < 20


def test_killed_marks_the_traces(server):
    name, running, folder = server
    engine = running.engine(folder, retries=1)

    async def killed() -> list[str]:
        first = await engine.sample([Job(Trace(PROBLEMS[0]), None, 1.0, 1, MAX_TOKENS)])
        assert first[0].trace.finish == "stop"
        jobs = [Job(Trace(p), None, 1.0, seed, MAX_TOKENS) for p in PROBLEMS for seed in range(8)]
        task = asyncio.create_task(engine.sample(jobs))
        await asyncio.sleep(0.5)
        running.end()
        found = await task
        assert all(c.trace.finish in ("stop", "length", "error") for c in found)
        return [c.trace.error or "" for c in found if c.trace.finish == "error"]

    errors = asyncio.run(killed())
    print(f"{name}: {len(errors)} of {8 * len(PROBLEMS)} failed: {sorted(set(errors))}")
    assert errors and all("connect" in error for error in errors)
