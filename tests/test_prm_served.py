"""Reward models behind vLLM's routes and behind the protocol: the same values as in process, and bad news."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mull.errors import MullError
from mull.trace import Trace
from mull.verifiers.base import Verdict
from mull.verifiers.prm import build
from mull.verifiers.prm.backend import Ask
from mull.verifiers.remote import RemoteVerifier
from mull.verifiers.serve import application

pytest.importorskip("aiohttp", reason="verifiers over HTTP need aiohttp (extra 'http')")
pytest.importorskip("torch", reason="reward models in process need torch (extra 'local')")
pytest.importorskip("transformers", reason="reward models need transformers (extra 'local')")
from prm_server import PoolingServer, serving
from test_prm import CASES, CLOSE, TRACES, trace, values

NAMES = [
    "qwen2.5-math-prm",
    "math-shepherd",
    "rlhflow-prm-deepseek",
    "skywork-o1-open-prm",
    "qwen2.5-math-rm",
]
NAMES += ["reward-model", "rlhflow-orm"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        CASES[name][0](folder)
        found[name] = build({"adapter": name, "path": str(folder), "device": "cpu"}), str(folder)
    return found


def server(verifier: Any, **how: Any) -> PoolingServer:
    """One that computes with the checkpoint; two tokens' logits as the difference, as vLLM serves them."""

    async def logits(ids: Sequence[int]) -> list[list[float]]:
        (told,) = await verifier.backend.run([Ask(tuple(ids), tuple(range(len(ids))))])
        if verifier.adapter.head == "tokens":
            return [[good - bad] for bad, good in told.rows]
        return [list(row) for row in told.rows]

    return PoolingServer(logits, **how)


def ask(made: PoolingServer, name: str, tokenizer: str, *traces: Trace, **more: object) -> list[Verdict]:
    async def run() -> list[Verdict]:
        async with made.up():
            table = {"adapter": name, "url": made.url, "model": "prm", "tokenizer": tokenizer, "retries": 0}
            return await build({**table, **more}).score(traces)

    return asyncio.run(run())


@pytest.mark.parametrize("name", NAMES)
def test_values_equal_the_in_process_models(local, name: str) -> None:
    verifier, folder = local[name]
    expected = asyncio.run(verifier.score(TRACES))
    found = ask(server(verifier), name, folder, *TRACES)
    for one, other in zip(found, expected, strict=True):
        assert values(one) == pytest.approx(values(other), abs=CLOSE)
        assert one.cost.verifier_tokens == other.cost.verifier_tokens > 0


def test_a_server_that_answers_step_tags_alone(local) -> None:
    verifier, folder = local["qwen2.5-math-prm"]
    tag = verifier.tokenizer.token("<extra_0>", "")
    expected = asyncio.run(verifier.score(TRACES))
    for one, other in zip(
        ask(server(verifier, tag=tag), verifier.adapter.name, folder, *TRACES), expected, strict=True
    ):
        assert values(one) == pytest.approx(values(other), abs=CLOSE)
    (wrong, *_) = ask(server(verifier, tag=5), verifier.adapter.name, folder, TRACES[0])
    assert wrong.scores is None and "wrong number of scores" in wrong.error and "step_tag_id" in wrong.error


def test_a_sequence_classifier_is_asked_at_classify(local) -> None:
    verifier, folder = local["reward-model"]
    made = server(verifier, classifier=True)
    found = ask(made, "reward-model", folder, *TRACES)
    for one, other in zip(found, asyncio.run(verifier.score(TRACES)), strict=True):
        assert values(one) == pytest.approx(values(other), abs=CLOSE)
    assert {path for path, _ in made.requests} == {"/classify"}
    short = server(verifier, classifier=True, limit=120)
    for traces in ([TRACES[4]], [TRACES[1], TRACES[4]]):  # before and after the first good answer
        told = ask(short, "reward-model", folder, *traces, max_tokens=500)
        assert "context too long: This model's maximum context length is 120" in told[-1].error


def test_flops_are_counted_where_the_size_is_known(local) -> None:
    verifier, folder = local["qwen2.5-math-prm"]
    (found,) = ask(server(verifier), "qwen2.5-math-prm", folder, TRACES[0], parameters=1000, attention=10)
    tokens = found.cost.verifier_tokens
    assert found.cost.verifier_flops == 2 * 1000 * tokens + 4 * 10 * tokens * (tokens + 1) / 2


def edit(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda answer: answer | fields


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit(data=[]), "has no scores; its fields are"),
        (edit(data=[{"data": "base64"}]), "has no scores"),
        (edit(data=[{"data": [["x"]]}]), "has no scores"),
        (edit(data=[{"data": [[0.0, 1.0]] * 7}]), "wrong number of scores: 7 for 3 step tags"),
        (edit(usage={"prompt_tokens": 9}), "tokenizer mismatch: the server read 9 tokens of"),
        (lambda answer: ["what"], "no JSON object"),
    ],
)
def test_answers_that_are_no_scores_leave_the_trace_unscored(local, change, said: str) -> None:
    verifier, folder = local["qwen2.5-math-prm"]
    (found,) = ask(server(verifier, change=change), "qwen2.5-math-prm", folder, TRACES[0])
    assert found.scores is None and said in found.error


def test_rows_of_three_labels_and_of_no_numbers_are_unscored(local) -> None:
    folder = local["qwen2.5-math-prm"][1]

    def rows(row: list[float]) -> PoolingServer:
        async def logits(ids: Sequence[int]) -> list[list[float]]:
            return [row] * len(ids)

        return PoolingServer(logits)

    (three,) = ask(rows([0.0, 1.0, 2.0]), "qwen2.5-math-prm", folder, TRACES[0])
    (nan,) = ask(rows([0.0, math.nan]), "qwen2.5-math-prm", folder, TRACES[0])
    assert "3 outputs a place" in three.error and nan.error == "the model's output is not a number"


def test_a_context_too_long_is_said_before_it_is_sent(local) -> None:
    verifier, folder = local["qwen2.5-math-prm"]
    made = server(verifier, limit=120)
    long, short = ask(made, "qwen2.5-math-prm", folder, TRACES[4], TRACES[1])
    assert "context too long" in long.error and "120" in long.error and short.scores is not None
    assert len(made.requests) == 1
    (found,) = ask(server(verifier, limit=120), "qwen2.5-math-prm", folder, TRACES[4], max_tokens=500)
    assert "context too long: This model's maximum context length is 120" in found.error


@pytest.mark.parametrize(
    ("how", "more", "said"),
    [
        ({"model": "other"}, {}, "serves other, not the verifier 'prm'"),
        ({"key": "secret"}, {}, "wants another key"),
        ({"classifier": True}, {}, "--runner pooling"),
        ({"change": edit(model="another")}, {}, "answered with model 'another', not with 'prm'"),
    ],
)
def test_mistakes_to_put_right_are_raised(
    local, how: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    verifier, folder = local["qwen2.5-math-prm"]
    with pytest.raises(MullError, match=said) as caught:
        ask(server(verifier, **how), "qwen2.5-math-prm", folder, TRACES[0], **more)
    assert "\n" not in str(caught.value)


def test_a_key_is_taken_from_the_environment(local, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, folder = local["qwen2.5-math-prm"]
    monkeypatch.setenv("PRM_KEY", "secret")
    (found,) = ask(server(verifier, key="secret"), "qwen2.5-math-prm", folder, TRACES[0], key_env="PRM_KEY")
    assert found.scores is not None


def test_a_server_that_is_gone_is_a_mistake_at_the_start(local) -> None:
    folder = local["qwen2.5-math-prm"][1]
    table = {"adapter": "qwen2.5-math-prm", "url": "http://127.0.0.1:9", "tokenizer": folder, "retries": 0}
    with pytest.raises(MullError, match="cannot connect"):
        asyncio.run(build(table).score([TRACES[0]]))


def remote(verifier: Any, *traces: Trace, app: Any = None, **more: Any) -> list[Verdict]:
    async def run() -> list[Verdict]:
        async with serving(app or application(verifier)) as url:
            return await RemoteVerifier(url, retries=0, **more).score(traces)

    return asyncio.run(run())


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_the_protocol_hands_on_what_the_verifier_says(local, batch: int) -> None:
    verifier, _ = local["math-shepherd"]
    traces = [*TRACES, trace(["one", " "]), trace(["ки ки"])]
    for one, other in zip(
        remote(verifier, *traces, batch=batch), asyncio.run(verifier.score(traces)), strict=True
    ):
        assert one.error == other.error and one.cost.verifier_tokens == other.cost.verifier_tokens
        if other.scores is None:
            assert one.scores is None
        else:
            assert values(one) == pytest.approx(values(other), abs=CLOSE)
