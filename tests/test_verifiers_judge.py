"""A chat model as the judge, on a real HTTP server that answers as the test says."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from mull.errors import MullError
from mull.problems import Problem
from mull.trace import Scores, Step, Trace
from mull.verifiers.base import Verdict
from mull.verifiers.judge import QUESTIONS, Judge, Question
from mull.verifiers.prm import build

pytest.importorskip("aiohttp", reason="judges over HTTP need aiohttp (extra 'http')")
from aiohttp import web

from prm_server import serving


@dataclass
class Chat:
    """Answers with what ``say`` makes of the user's message: a text, or tokens with their top choices."""

    say: Callable[[str], Any]
    model: str = "judge"
    requests: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.requests.append(asked)
        if self.status != 200:
            return web.json_response(
                {"error": {"message": "maximum context length is 9"}}, status=self.status
            )
        said = self.say(asked["messages"][-1]["content"])
        tokens = [(said, {})] if isinstance(said, str) else said
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice["message"] = {"role": "assistant", "content": "".join(token for token, _ in tokens)}
        if not isinstance(said, str) and asked.get("logprobs"):
            content = [
                {
                    "token": token,
                    "logprob": -0.1,
                    "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top.items()],
                }
                for token, top in tokens
            ]
            choice["logprobs"] = {"content": content}
        usage = {"prompt_tokens": 10, "completion_tokens": len(tokens)}
        return web.json_response({"model": self.model, "choices": [choice], "usage": usage})


def judged(chat: Chat, *traces: Trace, judge: str = "judge", **more: Any) -> list[Verdict]:
    async def run() -> list[Verdict]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat.answer)
        async with serving(app) as url:
            table = {"adapter": judge, "url": url, "model": "judge", "retries": 0, **more}
            return await build(table).score(traces)

    return asyncio.run(run())


def solution(*steps: str, prompt: str = "How many?") -> Trace:
    return Trace(Problem("p", prompt), tuple(Step(text, ()) for text in steps), "stop")


TRACE = solution("16 - 3 = 13\n", "so 13 {k}\n")


def test_the_value_is_the_chance_of_the_good_word() -> None:
    chat = Chat(lambda _: [("Yes", {"Yes": 0.5, " yes": 0.1, "No": 0.15, "Maybe": 0.2})])
    (found,) = judged(chat, TRACE)
    assert found.scores is not None and found.scores.steps == pytest.approx((0.8,))
    assert found.cost.verifier_tokens == 11
    (asked,) = chat.requests
    assert asked["temperature"] == 0 and asked["max_tokens"] == 4 and asked["top_logprobs"] == 20
    text = asked["messages"][0]["content"]
    assert "How many?" in text and "16 - 3 = 13\nso 13 {k}" in text and "Yes or No" in text


def test_the_verdict_itself_where_there_are_no_logprobs() -> None:
    for said, value in (("Yes.", 1.0), (" **No**", 0.0), ("yes, it is", 1.0)):
        assert judged(Chat(lambda _, said=said: said), TRACE)[0].scores == Scores((value,))


def test_a_token_that_is_no_verdict_still_has_the_words_beside_it() -> None:
    chat = Chat(lambda _: [("The", {"The": 0.6, "Yes": 0.1, "No": 0.3}), (" answer", {})])
    assert judged(chat, TRACE)[0].scores == Scores((pytest.approx(0.25),))


def test_no_verdict_is_no_value() -> None:
    (found,) = judged(Chat(lambda _: "It depends."), TRACE)
    assert found.scores is None and "gave no verdict: 'It depends.'" in found.error
    assert found.cost.verifier_tokens == 11
    (empty, blank) = judged(Chat(lambda _: "Yes"), solution(), solution("a", " "))
    assert "empty" in empty.error and "empty" in blank.error


def test_steps_are_judged_one_by_one_with_what_stands_before() -> None:
    def say(text: str) -> str:
        assert "How many?" in text
        return "No" if "step 2: so 13 {k}\n" in text else "Yes"

    chat = Chat(say)
    (found,) = judged(chat, solution("16 - 3 = 13\n", "so 13 {k}\n", "done"), judge="judge-steps")
    assert found.scores == Scores((1.0, 0.0, 1.0)) and found.cost.verifier_tokens == 33
    texts = sorted((r["messages"][0]["content"] for r in chat.requests), key=len)
    assert "done" not in texts[1] and "Step 1: 16 - 3 = 13\nStep 2: so 13 {k}\nStep 3: done" in texts[2]


def test_a_growing_trace_costs_its_new_steps() -> None:
    chat = Chat(lambda _: "Yes")

    async def run() -> list[int]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat.answer)
        counts = []
        async with serving(app) as url:
            judge = Judge(QUESTIONS["judge-steps"], url, "judge", retries=0)
            for k in (1, 2, 3):
                traces = [solution(*"abc"[:k]), solution(*"abc"[:k]), solution("z", *"bc"[: k - 1])]
                verdicts = await judge.score(traces)
                assert [v.scores for v in verdicts] == [Scores((1.0,) * k)] * 3
                assert [v.cost.verifier_tokens for v in verdicts] == [11, 0, 11]
                counts.append(len(chat.requests))
        return counts

    assert asyncio.run(run()) == [2, 4, 6]


def test_a_failed_step_leaves_the_trace_unscored_and_is_asked_again() -> None:
    answers = iter(["Yes", "hm", "No"])
    chat = Chat(lambda _: next(answers))

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat.answer)
        async with serving(app) as url:
            judge = Judge(QUESTIONS["judge-steps"], url, "judge", retries=0, concurrency=1)
            (first,) = await judge.score([solution("a")])
            (second,) = await judge.score([solution("a", "b")])
            (third,) = await judge.score([solution("a", "b")])
        assert first.scores == Scores((1.0,))
        assert second.scores is None and second.error.startswith("step 2: the judge gave no verdict")
        assert third.scores == Scores((1.0, 0.0))

    asyncio.run(run())


def test_a_thought_out_verdict_is_read_where_it_stands() -> None:
    spelt = [
        ("No", {"No": 1.0}),
        (" doubt: 'Verdict: No' would be rash.\n", {}),
        ("Verdict:", {}),
        (" Yes", {" Yes": 0.75, " No": 0.25}),
    ]
    (found,) = judged(Chat(lambda _: spelt), TRACE, judge="judge-thought")
    assert found.scores is not None and found.scores.steps == pytest.approx((0.75,))
    (plain,) = judged(Chat(lambda _: "First... **Verdict: No**"), TRACE, judge="judge-thought")
    assert plain.scores == Scores((0.0,))
    (none,) = judged(Chat(lambda _: "Yes, I think so."), TRACE, judge="judge-thought")
    assert none.scores is None


def test_several_samples_are_averaged() -> None:
    answers = iter(["Verdict: Yes", "Verdict: No", "Verdict: Yes", "Verdict: Yes"])
    chat = Chat(lambda _: next(answers))
    (found,) = judged(chat, TRACE, judge="judge-steps-thought", samples=2, concurrency=1)
    assert found.scores is not None and sum(found.scores.steps) == pytest.approx(1.5)
    assert all(r["temperature"] == 1 and r["max_tokens"] == 2048 for r in chat.requests)


def test_words_and_wording_are_settings() -> None:
    chat = Chat(lambda text: "Incorrect" if text == "How many? / a" else "Correct")
    more = {"ask": "{problem} / {solution}", "good": "correct", "bad": "incorrect"}
    assert [v.scores for v in judged(chat, solution("a"), solution("b"), **more)] == [
        Scores((0.0,)),
        Scores((1.0,)),
    ]
    with pytest.raises(MullError, match=r"must hold \{problem\} and \{solution\}"):
        Question("mine", "solution", "Is it right?")


def test_braces_in_a_problem_are_left_alone() -> None:
    chat = Chat(lambda text: "Yes" if "\\frac{1}{2} {solution}" in text else "No")
    assert judged(chat, solution("x", prompt="\\frac{1}{2} {solution}"))[0].scores == Scores((1.0,))


def test_mistakes_are_raised_and_failures_marked() -> None:
    with pytest.raises(MullError, match="answered with model 'other'"):
        judged(Chat(lambda _: "Yes", model="other"), TRACE)
    with pytest.raises(MullError, match="401"):
        judged(Chat(lambda _: "Yes", status=401), TRACE)
    (found,) = judged(Chat(lambda _: "Yes", status=400), TRACE)
    assert found.scores is None and "context too long" in found.error
    (dated,) = judged(Chat(lambda _: "Yes", model="judge-2026-01-01"), TRACE)
    assert dated.scores == Scores((1.0,))
