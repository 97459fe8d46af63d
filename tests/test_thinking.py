"""Thinking models: what they think is told apart, held to a budget, kept from answers and verifiers.

The server is real and its model made up: four thoughts, one more after every "Wait", then a solution.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mull.drive import Driver, Task
from mull.engines.base import Job
from mull.engines.prompts import FORMATS, RULES, Format, Marks, shots
from mull.errors import MullError
from mull.models import ModelSpec, digest_of
from mull.models import engine as engine_of
from mull.pools.record import Recording, record
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.trace import Step, Thinking, ThinkingBudget, Trace
from scripted import ScriptedEngine, ScriptedVerifier

pytest.importorskip("aiohttp")

from mull.engines.openai import OpenAIEngine
from openai_server import CLOSE, END, OPEN, Server, in_thread, thinking, written

PROBLEM = Problem("p", "What is asked?\n", "55")
MARKS = Marks()
TEXT = replace(FORMATS["text"], thinks=True)
CHAT = replace(FORMATS["chat"], rule=RULES["newline"], thinks=True)
FORMS = pytest.mark.parametrize(
    ("form", "where"),
    [(TEXT, "text"), (CHAT, "text"), (CHAT, "reasoning_content"), (CHAT, "reasoning")],
    ids=["text", "chat, in the text", "chat, reasoning_content", "chat, reasoning"],
)
THOUGHTS = "\n" + "".join(f"thought {k}\n" for k in range(1, 5))
#: Its tokens, the opening mark's left out: a newline, three a thought, the closing mark.
LONG = 1 + 12 + 1


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def solution(form: Format) -> str:
    prompt = PROBLEM.prompt if form.chat else "What is asked"
    return "".join(w for w in written(prompt, "", None, 0.0) if w != END)


def sample(
    form: Format,
    *,
    steps: int | None = None,
    budget: ThinkingBudget | None = None,
    limit: int = 200,
    **habits,
):
    """One greedy job on a server of such habits: the continuation, and the requests after the probe."""

    async def go():
        async with Server(**habits).up() as server:
            made = OpenAIEngine(server.url, server.model, form, timeout=10.0, retries=0)
            await made.capabilities()
            server.requests.clear()
            [found] = await made.sample([Job(Trace(PROBLEM), steps, 0.0, 1, limit, budget)])
            trace = found.trace
            while steps is not None and trace.open:
                [more] = await made.sample([Job(trace, steps, 0.0, 1, limit, budget)])
                trace = more.trace
            return replace(found, trace=trace), server.requests, made.name

    return asyncio.run(go())


@FORMS
@pytest.mark.parametrize("logprobs", [True, False])
def test_thinking_is_told_from_a_whole_answer(form: Format, where: str, logprobs: bool) -> None:
    found, requests, _ = sample(form, thinks=where, logprobs=logprobs)
    assert (found.trace.text, found.trace.finish, len(requests)) == (solution(form), "stop", 1)
    assert found.trace.thinking is not None
    # The opening mark is sampled too where no one has put it there.
    assert found.trace.thinking == Thinking(THOUGHTS, LONG + 1 if logprobs else None)
    prompt = PROBLEM.prompt if form.chat else "What is asked"
    assert found.cost.completion_tokens == len(thinking(prompt, "", None, 0.0))
    if logprobs:
        words = written(prompt, "", None, 0.0)
        assert found.trace.tokens == tuple(sum(map(ord, w)) for w in words)


@pytest.mark.parametrize("where", ["text", "reasoning_content"])
def test_a_server_may_count_the_thinking(where: str) -> None:
    found, _, _ = sample(CHAT, thinks=where, logprobs=False, tells_thinking=True)
    assert found.trace.thinking is not None and found.trace.thinking.tokens == LONG + 1


def test_a_chat_model_that_thinks_unasked_is_understood() -> None:
    for where in ("text", "reasoning"):
        found, _, _ = sample(replace(CHAT, thinks=False), thinks=where)
        assert (found.trace.text, found.trace.thinking) == (solution(CHAT), Thinking(THOUGHTS, LONG + 1))


@FORMS
def test_an_answer_cut_while_thinking_has_no_solution(form: Format, where: str) -> None:
    found, _, _ = sample(form, thinks=where, limit=6)
    trace = found.trace
    assert (trace.text, trace.steps, trace.finish) == ("", (), "length")
    assert trace.thinking is not None
    assert (trace.thinking.text, trace.thinking.tokens) == ("\nthought 1\nthought", 6)
    driver = Driver(Fixed(trace), seed=0)
    [result] = driver.run([Task(PROBLEM, Arm("single", 1))])
    assert result.selection.answer is None and "cut by length" in result.events[0]


class Fixed(ScriptedEngine):
    """An engine that answers with one trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def one(self, job: Job):
        found = super().one(job)
        return replace(found, trace=self.trace)


@FORMS
def test_thinking_is_cut_at_its_budget(form: Format, where: str) -> None:
    found, requests, _ = sample(form, thinks=where, budget=ThinkingBudget(4))
    assert found.trace.thinking == Thinking("\nthought 1\nthought\n", 4, cut=True)
    assert (found.trace.text, found.trace.finish) == (solution(form), "stop")
    prompt = PROBLEM.prompt if form.chat else "What is asked"
    assert found.cost.completion_tokens == 4 + len(written(prompt, "", None, 0.0))
    assert [asked["max_tokens"] for asked in requests] == [4, 200]
    last = requests[-1]
    shown = last["messages"][-1]["content"] if form.chat else last["prompt"]
    assert shown.endswith("<think>\nthought 1\nthought\n</think>\n\n")
    assert found.cost.requests == 2


@FORMS
def test_the_end_of_thinking_is_held_back(form: Format, where: str) -> None:
    found, requests, _ = sample(form, thinks=where, budget=ThinkingBudget(100, 2))
    text = THOUGHTS + "Wait, once more\n" * 2
    # Each stretch ends in a closing mark that was sampled; the wait text was not.
    assert found.trace.thinking == Thinking(text, 12 + 1 + 5 + 5, waits=2)
    assert (found.trace.text, len(requests)) == (solution(form), 4)
    assert [asked["max_tokens"] for asked in requests] == [100, 87, 82, 200]
    assert len({asked.get("seed") for asked in requests}) == 4
    short, _, _ = sample(form, thinks=where, budget=ThinkingBudget(15, 2))
    assert short.trace.thinking == Thinking(THOUGHTS + "Wait, once\n", 15, waits=1, cut=True)


@pytest.mark.parametrize("habits", [{"stop": "kept"}, {"names_stop": False, "keeps_on_request": False}])
def test_stops_may_be_kept_or_unnamed(habits: dict) -> None:
    for form in (TEXT, CHAT):
        found, _, _ = sample(form, thinks="text", budget=ThinkingBudget(50, 1), **habits)
        assert found.trace.thinking is not None
        assert found.trace.thinking.text == THOUGHTS + "Wait, once more\n"
        assert found.trace.text == solution(form)


def test_a_server_that_heeds_no_stops_is_cut_short() -> None:
    found, _, _ = sample(TEXT, thinks="text", budget=ThinkingBudget(50, 1), stop="ignored")
    assert found.trace.thinking is not None
    assert (found.trace.thinking.text, found.trace.text) == (
        THOUGHTS + "Wait, once more\n",
        solution(TEXT),
    )


@FORMS
def test_step_search_begins_after_the_thinking(form: Format, where: str) -> None:
    found, _, _ = sample(form, thinks=where, steps=1)
    assert [step.text for step in found.trace.steps] == solution(form).splitlines(keepends=True)
    assert found.trace.thinking is not None and found.trace.thinking.text == THOUGHTS
    held, _, _ = sample(form, thinks=where, steps=1, budget=ThinkingBudget(4))
    assert held.trace.thinking == Thinking("\nthought 1\nthought\n", 4, cut=True)
    assert held.trace.steps == found.trace.steps


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(MullError, match=r"is not known to think.*thinking = "):
        sample(replace(CHAT, thinks=False), thinks="text", budget=ThinkingBudget(4))
    with pytest.raises(MullError, match=r"cannot have its thinking held to a budget.*'continues': no"):
        sample(CHAT, thinks="text", budget=ThinkingBudget(4), prefill="no")
    with pytest.raises(MullError, match="thinks before its solution"):
        sample(replace(CHAT, thinks=False), thinks="reasoning", steps=1)
    with pytest.raises(MullError, match="is not known to think"):
        asyncio.run(engine_of("tiny").sample([Job(Trace(PROBLEM), None, 0.0, 1, 9, ThinkingBudget(4))]))
    with pytest.raises(MullError, match="tokens is a whole number from 1 on, not 0"):
        ThinkingBudget(0)
    with pytest.raises(MullError, match="must be the marks"):
        Marks.named("think")


def test_marks_split_and_show() -> None:
    assert MARKS.split("<think>\na\n</think>\n\nb") == ("\na\n", "b")
    assert MARKS.split("a\n</think>b") == ("a\n", "b")  # the template opened it
    assert MARKS.split("b") == (None, "b")
    assert MARKS.split("<think>a") == ("a", "")
    assert MARKS.split("a", unclosed=True) == ("a", "")
    assert MARKS.split("b </think> c </think> d") == ("b ", "c </think> d")
    assert MARKS.split(MARKS.shown("\na\n") + "b") == ("\na\n", "b")
    other = Marks.named("[THINK]...[/THINK]")
    assert other.split("[THINK]a[/THINK]b") == ("a", "b")


def test_an_arm_sets_the_budget() -> None:
    for name in ("think", "think_weighted"):
        engine, verifier = ScriptedEngine(), ScriptedVerifier()
        arm = Arm(name, 3, (("tokens", 64), ("waits", 1)))
        Driver(engine, verifier, seed=0).run([Task(PROBLEM, arm)])
        asked = [job.thinking for call in engine.calls for job in call]
        assert asked == [ThinkingBudget(64, 1)] * 3
        assert bool(verifier.seen) == (name == "think_weighted")
    with pytest.raises(MullError, match="thinking: tokens"):
        Driver(ScriptedEngine(), seed=0).run([Task(PROBLEM, Arm("think", 1, (("tokens", 0),)))])


def test_arms_of_a_study_sweep_the_budget() -> None:
    with in_thread(Server(thinks="reasoning_content")) as server:
        spec = ModelSpec(url=server.url, format="chat", thinking="<think>...</think>")
        driver = Driver(engine_of(spec), seed=0)
        arms = [Arm("think", 2, (("tokens", n),)) for n in (4, 7, 100)]
        results = driver.run([Task(PROBLEM, arm) for arm in arms])
        thoughts = [[c.trace.thinking for c in r.candidates] for r in results]
        assert [[t.tokens for t in some if t] for some in thoughts] == [[4, 4], [7, 7], [13, 13]]
        assert all(r.selection.answer is not None for r in results)
        costs = [r.cost.completion_tokens for r in results]
        assert costs[0] < costs[1] < costs[2]


def test_the_engines_own_budget_and_its_name() -> None:
    form = replace(TEXT, budget=ThinkingBudget(4, 1))
    found, _, name = sample(form, thinks="text")
    assert found.trace.thinking == Thinking("\nthought 1\nthought\n", 4, cut=True)
    assert name.endswith("(text, newline, thinking 4 tokens, 1 waits)")
    found, _, _ = sample(form, thinks="text", budget=ThinkingBudget(7))
    assert found.trace.thinking is not None and found.trace.thinking.tokens == 7


def test_a_pool_keeps_the_thinking_apart(tmp_path: Path) -> None:
    import polars as pl

    with in_thread(Server(thinks="reasoning")) as server:
        engine = engine_of(ModelSpec(url=server.url, format="chat", thinking="<think>...</think>"))
        record(Recording((PROBLEM,), engine, 2), tmp_path / "pool.parquet")
    frame = pl.read_parquet(tmp_path / "pool.parquet")
    assert frame["thinking"].to_list() == [THOUGHTS] * 2
    assert frame["thinking_tokens"].to_list() == [LONG + 1] * 2
    assert all("thought" not in text and text.startswith("Ann: 1") for text in frame["text"])
    assert all(n > LONG + 1 for n in frame["tokens"])


def test_verifiers_are_shown_the_thinking_only_where_asked() -> None:
    from mull.verifiers.prm.adapter import Encoded
    from mull.verifiers.prm.scorer import RewardModel

    class Plain:
        name, kind = "plain", "process"

        def check(self, tokenizer) -> None: ...

        def encode(self, tokenizer, question, steps) -> Encoded:
            seen.append(list(steps))
            return Encoded((0,), (0,))

    class Nowhere:
        name, size = "nowhere", None

    seen: list[list[str]] = []
    trace = Trace(PROBLEM, (Step("a\n", ()), Step("b", ())), "stop", thinking=Thinking("\nhm\n"))
    for shown in (False, True):
        model = RewardModel(Plain(), SimpleNamespace(unknown=None), Nowhere(), thinking=shown)  # type: ignore[arg-type]
        model.encode(trace)
        assert ("shown the thinking" in model.name) == shown
    assert seen == [["a\n", "b"], ["hm\n\na\n", "b"]]


def test_worked_examples_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shots.jsonl"
    rows = [{"prompt": f"Q{k}?", "solution": f"S{k}"} for k in range(2)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = ModelSpec(url="http://x", shots=str(file), ask="Q: {problem}\nA: ")
    assert spec.form.shots == shots(file) == (("Q0?", "S0"), ("Q1?", "S1"))
    text = spec.form.prompt(Trace(Problem("p", "Now?"))).text
    assert text == "Q: Q0?\nA: S0</s>\n\nQ: Q1?\nA: S1</s>\n\nQ: Now?\nA: "
    chat = replace(spec, format="chat").form.prompt(Trace(Problem("p", "Now?"))).messages
    assert [m.role for m in chat] == ["user", "assistant"] * 2 + ["user"]
    moved = tmp_path / "moved.jsonl"
    moved.write_text(file.read_text())
    one, other = (digest_of(replace(spec, shots=str(f)), "proposer", "engine") for f in (file, moved))
    assert one == other
    moved.write_text(file.read_text().replace("S1", "S2"))
    assert digest_of(replace(spec, shots=str(moved)), "proposer", "engine") != one
    for text, wrong in (
        ("{", "not JSON"),
        ('{"prompt": "a"}', "needs an object"),
        ("", "no worked examples"),
    ):
        moved.write_text(text)
        with pytest.raises(MullError, match=wrong):
            ModelSpec(url="http://x", shots=str(moved))


def test_the_made_up_model_is_as_described() -> None:
    words = thinking("What", "", None, 0.0)
    assert words[0] == OPEN and "".join(words[1 : words.index(CLOSE)]) == THOUGHTS
    assert "".join(thinking("What", "<think>\nthought 1\nWait", None, 0.0)).startswith(
        ", once more\n</think>"
    )
