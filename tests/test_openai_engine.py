"""The engine for OpenAI-compatible servers, against a small real server with the habits of many.

``test_real_servers.py`` holds it against the real programs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mull.cli.main import main
from mull.cost import Cost, ModelSize
from mull.drive import Driver, Task
from mull.engines.base import Continuation, Job
from mull.engines.prompts import FORMATS, RULES, Format, Message, format_named
from mull.errors import MullError
from mull.problems import Problem
from mull.strategies.base import Arm
from mull.trace import Step, Trace

pytest.importorskip("aiohttp")

from mull.engines.openai import OpenAIEngine, load, recall, remember, rows, side_by_side
from mull.engines.openai.capabilities import Capabilities, Route
from mull.engines.openai.pace import Pace
from mull.engines.openai.reply import Choice
from mull.engines.openai.sampling import ended
from mull.engines.openai.wire import Failed
from openai_server import Server, hang, reset, rubbish, status, written

PROBLEM = Problem("p", "What is asked?\n", "55")
OTHER = Problem("q", "What else is asked, then?\n", "56")
TEXT, CHAT = FORMATS["text"], replace(FORMATS["chat"], rule=RULES["newline"])
CONFIG = '{"do_sample": true, "top_k": 0, "repetition_penalty": 1.0}'
#: The habits of servers, and whether steps can be sampled by stop texts there.
HABITS = {
    "plain": ({}, True),
    "keeps stops": ({"stop": "kept", "names_stop": False, "keeps_on_request": False}, True),
    "keeps on request": ({"names_stop": False}, True),
    "names stops": ({"keeps_on_request": False}, True),
    "cuts and says nothing": ({"names_stop": False, "keeps_on_request": False}, False),
    "ignores stops": ({"stop": "ignored"}, False),
    "no usage": ({"usage": False}, True),
    "no ids": ({"ids": False}, True),
    "no logprobs": ({"logprobs": False}, True),
    "no choices": ({"choices": False}, True),
    "no seeds": ({"seeds": False}, True),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test recalls what another has probed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def job(
    problem: Problem = PROBLEM, steps: int | None = None, seed: int = 1, temperature: float = 0.0, **how
) -> Job:
    return Job(Trace(problem), steps, temperature, seed, how.get("max_tokens", 100))


def engine(server: Server, form: Format = TEXT, folder: Path | None = None, **how) -> OpenAIEngine:
    how = {"timeout": 10.0, "retries": 2} | how
    return OpenAIEngine(server.url, how.pop("model", server.model), form, cache=folder, **how)


async def stepped(made: OpenAIEngine, trace: Trace, temperature: float = 0.0) -> Trace:
    while trace.open:
        [found] = await made.sample([Job(trace, 1, temperature, 1, 100)])
        assert len(found.trace.steps) - len(trace.steps) <= 1
        trace = found.trace
    return trace


# --- what is sampled ---


@pytest.mark.parametrize("form", [TEXT, CHAT], ids=["text", "chat"])
@pytest.mark.parametrize("habit", HABITS)
def test_steps_one_by_one_equal_the_whole(habit: str, form: Format):
    habits, by_stops = HABITS[habit]

    async def check():
        async with Server(**habits).up() as server:
            made = engine(server, form)
            [whole] = await made.sample([job()])
            expected = "".join(written("What is asked", "", None, 0.0)[:-1])
            if form.chat:
                expected = "".join(written(PROBLEM.prompt, "", None, 0.0)[:-1])
            assert (whole.trace.text, whole.trace.finish) == (expected, "stop")
            assert [step.text for step in whole.trace.steps] == expected.splitlines(keepends=True)
            route = (await made.capabilities()).route(form.chat)
            assert route.step_by_stops == by_stops
            trace = await stepped(made, Trace(PROBLEM))
            assert (trace.text, trace.finish, len(trace.steps)) == (expected, "stop", 4)
            [some] = await made.sample([job(steps=2)])
            assert (some.trace.steps, some.trace.finish) == (trace.steps[:2], None)

    asyncio.run(check())


@pytest.mark.parametrize("prefill", ["last message", "echo"])
@pytest.mark.parametrize("trims", [False, True])
def test_a_chat_is_continued_as_the_server_does_it(prefill: str, trims: bool):
    async def check():
        async with Server(prefill=prefill, trims=trims).up() as server:
            made = engine(server, CHAT)
            [whole] = await made.sample([job()])
            route = (await made.capabilities()).chat
            assert (route.echoes, route.trims) == (prefill == "echo", trims or prefill == "echo")
            trace = await stepped(made, Trace(PROBLEM))
            assert trace.text == whole.trace.text

    asyncio.run(check())


def test_a_chat_that_cannot_be_continued_says_what_is_missing():
    async def check():
        async with Server(prefill="no").up() as server:
            made = engine(server, CHAT)
            [whole] = await made.sample([job()])
            assert whole.trace.finish == "stop"
            with pytest.raises(MullError, match=r"cannot do step search.*capability 'continues': no"):
                await made.sample([job(steps=1)])

    asyncio.run(check())


@pytest.mark.parametrize("habit", ["taken", "dropped", "refused"])
def test_a_template_without_a_system_role_is_named(habit: str):
    async def check():
        async with Server(system=habit).up() as server:
            made = engine(server, replace(CHAT, system="Work in steps."))
            assert (await made.capabilities()).chat.system == habit
            if habit == "taken":
                [found] = await made.sample([job()])
                assert found.trace.finish == "stop"
            else:
                with pytest.raises(MullError, match=f"has no system role .a system message is {habit}."):
                    await made.sample([job()])
            assert (await engine(server, CHAT).sample([job()]))[0].trace.finish == "stop"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("refuses", "whole", "sent"),
    [
        ((), "all", {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}),
        (("min_p",), "top_p", {"top_p": 1.0}),
        (("top_k",), "generation_config", {"top_p": 1.0, "generation_config": CONFIG}),
        (("top_p",), "no", {}),
    ],
)
def test_the_whole_distribution_is_asked_for(refuses, whole: str, sent: dict[str, Any]):
    async def check():
        async with Server(refuses=refuses, reads_config=whole == "generation_config").up() as server:
            made = engine(server)
            route = (await made.capabilities()).completions
            assert (route.whole, route.temperature, route.greedy) == (whole, True, True)
            for temperature in (1.0, 0.0):
                await made.sample([job(temperature=temperature)])
                names = ("top_p", "top_k", "min_p", "repetition_penalty", "generation_config")
                body = server.requests[-1]
                assert {k: body[k] for k in names if k in body} == (sent if temperature else {})

    asyncio.run(check())


def test_a_missing_route_is_named():
    async def check():
        async with Server(chat=False).up() as server:
            with pytest.raises(MullError, match=r"does not answer chat requests .*no chat here"):
                await engine(server, CHAT).sample([job()])

    asyncio.run(check())


def test_ids_and_logprobs_belong_to_their_steps():
    async def check():
        async with Server().up() as server:
            [whole] = await engine(server).sample([job()])
            words = written("What is asked", "", None, 0.0)
            assert whole.trace.tokens == tuple(sum(map(ord, word)) for word in words)
            assert whole.trace.logprob == pytest.approx(-sum(map(len, words)) / 8)
            for step in whole.trace.steps[:-1]:
                assert sum(step.tokens) == sum(map(ord, step.text))

    asyncio.run(check())


def test_cut_by_length_is_length():
    async def check():
        async with Server().up() as server:
            [found] = await engine(server).sample([job(max_tokens=7)])
            assert found.trace.finish == "length"
            assert found.cost.completion_tokens == 7
            [found] = await engine(server).sample([job(steps=1, max_tokens=2)])
            assert (found.trace.finish, found.cost.completion_tokens) == ("length", 2)

    asyncio.run(check())


@pytest.mark.parametrize("seeds", [True, False])
def test_jobs_share_a_request_only_where_no_seed_is_lost(seeds: bool):
    async def check():
        async with Server(seeds=seeds).up() as server:
            for wanted in (True, False):
                made = engine(server, seeded=wanted)
                await made.capabilities()
                server.requests.clear()
                jobs = [job(p, temperature=1.0, seed=s) for s in range(4) for p in (PROBLEM, OTHER)]
                found = await made.sample(jobs)
                shared = not (seeds and wanted)
                assert len(server.requests) == (2 if shared else 8)
                prompts = [asked["prompt"] for asked in server.requests]
                assert sum(a != b for a, b in pairwise(prompts)) == 1  # one prefix after the other
                assert [f.trace.problem.id for f in found] == ["p", "q"] * 4
                words = [f.cost.completion_tokens for f in found]
                assert words == [len(f.trace.tokens) for f in found]
                assert sum(f.cost.requests for f in found) == len(server.requests)
                if not shared:
                    again = await made.sample(list(reversed(jobs)))
                    assert [f.trace for f in again] == [f.trace for f in reversed(found)]

    asyncio.run(check())


def test_greedy_jobs_do_not_share():
    async def check():
        async with Server(seeds=False).up() as server:
            made = engine(server)
            await made.capabilities()
            server.requests.clear()
            await made.sample([job(), job()])
            assert [asked.get("n", 1) for asked in server.requests] == [1, 1]

    asyncio.run(check())


def test_costs_are_the_servers_counts():
    async def check():
        size = ModelSize(1000, 10)
        async with Server().up() as server:
            [found] = await engine(server, size=size).sample([job()])
            words = len(written("What is asked", "", None, 0.0))
            flops = size.flops(3 - 1 + words, 0)
            assert found.cost == Cost(requests=1, prompt_tokens=3, completion_tokens=words, flops=flops)
        async with Server(usage=False).up() as server:
            made = engine(server)
            [found] = await made.sample([job()])
            assert found.cost == Cost(requests=1, completion_tokens=words)  # counted by their pieces
            assert "answers without usage: their prompt tokens are not counted (1)" in made.notes
            assert any("FLOPs are 0" in note for note in made.notes)

    asyncio.run(check())


def test_jobs_without_work_cost_nothing():
    async def check():
        async with Server().up() as server:
            made = engine(server)
            ended = Trace(PROBLEM).then((Step("x", ()),), "stop")
            jobs = [Job(ended, None, 0.0, 1, 5), job(max_tokens=0), job(temperature=-1.0), job(steps=0)]
            closed, full, cold, none = await made.sample(jobs)
            assert closed == Continuation(ended, Cost())
            assert (full.trace.finish, cold.trace.finish, none.trace.finish) == ("length", "error", None)

    asyncio.run(check())


# --- what goes wrong ---


@pytest.mark.parametrize("fault", [status(429, **{"Retry-After": "0.1"}), status(503), status(500), reset])
def test_what_passes_is_tried_again(fault):
    async def check():
        async with Server().up() as server:
            made = engine(server)
            await made.capabilities()
            server.faults = [fault, fault]
            [found] = await made.sample([job()])
            assert found.trace.finish == "stop"
            server.faults = [fault] * 3
            [found] = await made.sample([job()])
            assert found.trace.finish == "error" and found.cost.requests == 1
            assert "tried 3 times" in found.trace.error

    asyncio.run(check())


def test_another_try_takes_no_kept_connection():
    async def check():
        async with Server().up() as server:
            made = engine(server, retries=1)
            await made.capabilities()
            ports: set[int] = set()

            def known(request):
                """A fault: connections are closed where they are used again."""
                port = request.transport.get_extra_info("peername")[1]
                return reset(request) if port in ports else ports.add(port)

            server.faults, server.delay = [known] * 100, 0.02
            both = await asyncio.gather(*(made.sample([job(seed=seed)]) for seed in range(8)))
            assert len(ports) > 1  # so many are kept
            asked = len(server.requests)
            [found] = await made.sample([job()])
            assert {c.trace.finish for [c] in both} == {found.trace.finish} == {"stop"}
            assert len(server.requests) == asked + 2

    asyncio.run(check())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (rubbish("<html>busy</html>"), "not JSON: <html>busy</html>"),
        (rubbish("[1]"), "no JSON object"),
        (rubbish('{"result": 1}'), "no choices; its fields are ['result']"),
        (rubbish('{"choices": [{"index": 0, "finish_reason": "stop"}]}'), "no text in choices"),
        (rubbish('{"choices": [{"text": "x", "finish_reason": "content_filter"}]}'), "'content_filter'"),
        (status(400, '{"error": {"message": "maximum context length is 10"}}'), "context too long: maximum"),
        (status(422, '{"detail": "unexpected field"}'), "refused the request (422): unexpected field"),
        (status(429, **{"Retry-After": "3600"}), "asks to wait 3600 s, which is too long"),
        (hang, "no answer within 0.3 s"),
    ],
)
def test_what_does_not_pass_marks_the_trace(fault, words: str):
    async def check():
        async with Server().up() as server:
            found = await engine(server).capabilities()
            made = engine(server, capabilities=found, timeout=0.3)
            server.faults = [fault]
            bad, good = await asyncio.gather(made.sample([job()]), made.sample([job(OTHER)]))
            assert (bad[0].trace.finish, good[0].trace.finish) == ("error", "stop")
            assert words in bad[0].trace.error

    asyncio.run(check())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(401, '{"error": "bad key"}'), "wants another key"),
        (status(404, '{"error": "no such model"}'), "no such model or path"),
        (
            rubbish(json.dumps({"model": "else", "choices": [{"text": "x", "finish_reason": "stop"}]})),
            "model 'else'",
        ),
    ],
)
def test_a_mistake_to_put_right_ends_the_run(fault, words: str):
    async def check():
        async with Server().up() as server:
            made = engine(server)
            await made.capabilities()
            server.faults = [fault]
            with pytest.raises(MullError, match=words):
                await made.sample([job(), job(OTHER)])

    asyncio.run(check())


def test_a_model_that_is_not_served_is_named():
    async def check():
        async with Server().up() as server:
            with pytest.raises(MullError, match="does not serve 'other'; it serves made-up"):
                await engine(server, model="other").sample([job()])

    asyncio.run(check())


def test_a_server_that_is_not_there_is_told(tmp_path: Path):
    async def check():
        async with Server().up() as server:
            made = engine(server)
            await made.capabilities()
        [found] = await made.sample([job()])
        assert found.trace.finish == "error" and "cannot connect" in found.trace.error
        fresh = engine(server, retries=0, folder=tmp_path / "fresh")
        with pytest.raises(MullError, match=r"cannot connect to .*start the server"):
            await fresh.sample([job()])

    asyncio.run(check())


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://"])
def test_bad_addresses(url: str):
    with pytest.raises(MullError, match="is no address of a server"):
        OpenAIEngine(url)


def test_cancelling_reaches_the_server():
    async def check():
        async with Server().up() as server:
            made = engine(server)
            await made.capabilities()
            server.delay = 30.0
            task = asyncio.create_task(made.sample([job(), job(OTHER)]))
            while server.in_flight < 2:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(200):
                if server.dropped == 2:
                    break
                await asyncio.sleep(0.01)
            assert (server.dropped, server.in_flight) == (2, 0)

    asyncio.run(check())


def test_cutting_the_stream_closes_the_connection():
    async def check():
        async with Server(stop="ignored").up() as server:
            made = engine(server)
            [found] = await made.sample([job(steps=1)])
            assert found.trace.open and len(found.trace.steps) == 1
            assert found.cost.completion_tokens == len(written("What is asked", "", None, 0.0)[:5])

    asyncio.run(check())


@pytest.mark.parametrize("way", ["continuous_usage_stats", "timings_per_token", ""])
def test_a_stream_that_is_cut_is_counted_where_the_server_tells_with_every_part(way: str):
    async def check():
        async with Server(stop="ignored", part_counts=way).up() as server:
            made = engine(server)
            assert (await made.capabilities()).completions.stream_counts == (way or "no")
            [found] = await made.sample([job(steps=1)])
            cost = found.cost
            assert cost.completion_tokens == 5
            assert cost.prompt_tokens == (3 if way else 0)
            assert cost.cached_tokens == (2 if way == "timings_per_token" else 0)
            assert any("without usage" in note for note in made.notes) == (not way)

    asyncio.run(check())


def test_the_documentation_shows_what_was_probed():
    docs = Path(__file__).parent.parent / "docs"
    text = (docs / "engines.md").read_text()
    found = [load(file) for file in sorted((docs / "engines").glob("*.json"))]
    assert len(found) == 4
    for chat in (False, True):
        assert side_by_side(found, chat) in text, "run 'mull engine table' and put its tables there"


# --- pace, memory, formats, driver, command ---


def test_concurrency_is_bounded_and_halves_when_refused():
    async def check():
        async with Server(delay=0.02).up() as server:
            made = engine(server, concurrency=5, seeded=True)
            await made.capabilities()
            server.most_in_flight = 0
            await made.sample([job(temperature=1.0, seed=s) for s in range(40)])
            assert server.most_in_flight == 5
            server.faults = [status(429)] * 3
            found = await made.sample([job(temperature=1.0, seed=s) for s in range(4)])
            assert all(f.trace.finish == "stop" for f in found)
            assert made.wire.pace.limit < 5

    asyncio.run(check())


def test_pace_serves_in_order_and_shrinks_when_answers_slow_down():
    async def check():
        pace = Pace(100)
        for _ in range(200):
            pace.answered(0.1, 10)
        assert pace.limit == 100
        for _ in range(200):
            pace.answered(10.0, 10)
        assert 1 <= pace.limit < 100
        small, came = Pace(1), []

        async def one(i: int) -> None:
            await small.enter()
            came.append(i)
            small.leave()

        await asyncio.gather(*(one(i) for i in range(20)))
        assert came == list(range(20)) and small.in_flight == 0

    asyncio.run(check())


def test_a_probe_is_remembered(tmp_path: Path):
    async def check():
        async with Server().up() as server:
            first = await engine(server, folder=tmp_path).capabilities()
            count = len(server.requests)
            assert count > 20
            assert await engine(server, folder=tmp_path).capabilities() == first
            assert len(server.requests) == count
            assert recall(first.url, first.model, tmp_path) == first
            assert recall(first.url, "another", tmp_path) is None

    asyncio.run(check())


def test_a_damaged_record_is_no_record(tmp_path: Path):
    found = Capabilities("http://x/v1", "m", Route(True), Route(False, "why"))
    file = remember(found, tmp_path)
    assert file is not None and recall("http://x/v1", "m", tmp_path) == found
    assert all(len(row) == 3 for row in rows(found))
    file.write_text(file.read_text()[:40])
    assert recall("http://x/v1", "m", tmp_path) is None


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@given(text=st.text(alphabet="ab .!?\n#Step", max_size=60))
def test_steps_spell_the_text_and_are_never_blank(rule, text: str):
    steps = rule.steps(text)
    assert text.startswith("".join(steps)) and not text[len("".join(steps)) :].strip()
    assert all(step.strip() for step in steps)
    rest = text  # cutting one step at a time is the same
    for step in steps:
        at = rule.end(rest)
        assert at == len(step) or (at is None and step == rest)
        rest = rest[len(step) :]


@pytest.mark.parametrize("habit", ["cut and named", "kept", "overrun"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@given(text=st.lists(st.sampled_from(["a", " ", ".", "\n", "## Step", "? "]), max_size=16).map("".join))
def test_any_rule_by_stops_gives_the_same_steps(rule, habit: str, text: str):
    form, found, fragment, at = replace(TEXT, rule=rule), [], "", 0
    for _ in range(60):
        rest = text[at:]
        places = [(rest.find(stop) + len(stop), stop) for stop in rule.stops if stop in rest]
        end, stop = min(places, default=(len(rest), None))
        if habit == "cut and named":
            choice = Choice(rest[: end - len(stop or "")], "stop", stop)
        else:
            choice = Choice(rest[: end + (2 if habit == "overrun" else 0)], "stop")
        choice, ending = ended(choice, fragment, form, stepwise=True)
        at, fragment = at + len(choice.text), fragment + choice.text
        if ending == "step":
            found.append(fragment)
            fragment = ""
        elif ending != "blank":
            break
    assert ([*found, fragment] if fragment.strip() else found) == rule.steps(text)


def test_headings_begin_the_next_step():
    text = "## Step 1: add\n1 + 1 = 2\n\n## Step 2: end\nIt is 2."
    assert RULES["heading"].steps(text) == ["## Step 1: add\n1 + 1 = 2\n\n", "## Step 2: end\nIt is 2."]


def test_revisions_are_shown_in_either_format():
    trace = Trace(PROBLEM, earlier=("first\n", "second\n"))
    assert TEXT.prompt(trace).text == "What is asked?\nfirst\n</s>second\n</s>"
    chat = FORMATS["chat-steps"]
    roles = [message.role for message in chat.prompt(trace).messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert chat.prompt(trace).messages[-1] == Message("user", chat.revise)
    with pytest.raises(MullError, match="set 'close'"):
        replace(TEXT, close="").prompt(trace)


def test_shots_come_first():
    shots = (("One?\n", "1"),)
    assert replace(TEXT, shots=shots).prompt(Trace(PROBLEM)).text == "One?\n1</s>\n\nWhat is asked?\n"
    assert len(replace(CHAT, shots=shots).prompt(Trace(PROBLEM)).messages) == 3


@pytest.mark.parametrize("names", [("other", None), ("text", "other")])
def test_unknown_formats_and_rules(names):
    with pytest.raises(MullError, match="there is no"):
        format_named(*names)


def test_strategies_run_on_it():
    async def check():
        async with Server().up() as server:
            driver = Driver(engine(server), seed=3, max_tokens=100)
            tasks = [Task(p, Arm("majority", 8)) for p in (PROBLEM, OTHER)]
            first = await driver.drive(tasks)
            assert [len(r.candidates) for r in first] == [8, 8] and not any(r.events for r in first)
            assert await driver.drive(list(reversed(tasks))) == list(reversed(first))

    asyncio.run(check())


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MullError, match=r"need the extra 'http': pip install"):
        asyncio.run(OpenAIEngine("http://127.0.0.1:1", "m").sample([job()]))


def test_one_engine_serves_several_event_loops_and_closes_its_connections():
    sessions = []

    server = Server()

    async def once() -> OpenAIEngine:
        async with server.up():
            made = engine(server, retries=0)
            await made.wire.get("/models")
            sessions.append(made.wire._lines[asyncio.get_running_loop()].session)
            assert not sessions[-1].closed
            return made

    made = asyncio.run(once())
    assert sessions[0].closed

    async def again() -> None:
        with pytest.raises(Failed):
            await made.wire.get("/models")
        sessions.append(made.wire._lines[asyncio.get_running_loop()].session)

    asyncio.run(again())
    assert sessions[1].closed and sessions[1] is not sessions[0]


def test_probe_command(tmp_path: Path, capsys):
    async def check(*more: str) -> int:
        async with Server().up() as server:
            return await asyncio.to_thread(main, ["engine", "probe", server.url, *more])

    assert asyncio.run(check()) == 0
    told = capsys.readouterr().out
    assert "continue_final_message" in told and "remembered in" in told
    assert asyncio.run(check("--json")) == 0
    assert json.loads(capsys.readouterr().out)["chat"]["seed"] is True
    file = tmp_path / "probe.json"
    assert asyncio.run(check("--name", "made up", "--save", str(file))) == 0
    capsys.readouterr()
    assert main(["engine", "table", str(file), str(file)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "| a step ends by | stop texts | stop texts |" in told
    assert "| another model's name | refused | refused |" in told
    file.write_text("{}")
    assert main(["engine", "table", str(file)]) == 1
    assert "holds no probe" in capsys.readouterr().err
    assert main(["engine", "table", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert asyncio.run(check("--key-env", "NOT_SET_ANYWHERE")) == 1
    assert "NOT_SET_ANYWHERE is not set" in capsys.readouterr().err
