"""A model may be named in words or in a table; both are checked, written back, and known again."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from mull import models
from mull.cli import models as options
from mull.cost import ModelSize
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.models import ModelSpec, VerifierSpec, known_as, model_spec, simplest
from mull.problems import Problem
from mull.study import config
from mull.study.config import Source, Study
from mull.tiny.load import checkpoint
from mull.trace import Step, Trace
from mull.verifiers.small import SmallVerifier

FULL = """
name = "x"
reviser = { url = "https://host/v1", model = "r", steps = "blank", seeded = false }
larger = "http://localhost:8001"
problems = { source = "problems.jsonl", count = 20 }
[engine]
url = "http://localhost:8000/v1"
model = "some/model"
format = "chat-steps"
key_env = "KEY"
parameters = 1_240_000_000
layers = 16
heads = 32
head_size = 64
pretraining_tokens = 9_000_000_000_000
price_in = 0.15
price_cached = 0.1
price_out = 1
concurrency = 32
timeout = 120
[verifiers]
prm = { adapter = "qwen2.5-math-prm", url = "http://localhost:8002", model = "prm", tokenizer = "some/prm" }
orm = { adapter = "mean", of = [{ adapter = "equations" }, { adapter = "likelihood", group = 8 }] }
"""


def read(folder: Path, text: str) -> Study:
    (folder / "study.toml").write_text(text)
    return config.read(folder / "study.toml")


def test_a_table_is_written_and_read_back(tmp_path: Path) -> None:
    study = read(tmp_path, FULL)
    assert study.engine == ModelSpec(
        url="http://localhost:8000/v1",
        model="some/model",
        format="chat-steps",
        key_env="KEY",
        parameters=1_240_000_000,
        layers=16,
        heads=32,
        head_size=64,
        pretraining_tokens=9_000_000_000_000,
        price_in=0.15,
        price_cached=0.1,
        price_out=1.0,
        concurrency=32,
        timeout=120.0,
    )
    assert model_spec(study.engine).size == ModelSize(1_240_000_000, 16 * 32 * 64)
    assert study.larger == ModelSpec(url="http://localhost:8001") and study.outside
    assert read(tmp_path, config.to_toml(study)) == study
    assert hash(study.orm) == hash(read(tmp_path, config.to_toml(study)).orm)


def test_a_word_stays_a_word() -> None:
    for word in ("tiny", "checkpoints/mine"):
        assert simplest(word) == simplest(ModelSpec(path=word)) == word
    assert not Study("x").outside and Study("x", engine="http://h").outside
    assert Study("x", prm=VerifierSpec((("adapter", "equations"),))).outside


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("{}", "'url' .a server. or by 'path'"),
        ('{ url = "http://h", path = "tiny" }', "'url' .a server. or by 'path'"),
        ('{ url = "h" }', "no address of a server"),
        (
            '{ url = "http://h", modell = "x" }',
            "engine has no field 'modell'; known: path, url, backend, model",
        ),
        ('{ url = "http://h", model = 3 }', r"engine.model is 3; it must be of type str"),
        ('{ url = "http://h", concurrency = true }', "engine.concurrency is True"),
        ('{ url = "http://h", concurrency = 0 }', "engine: concurrency is 0; it must be at least 1"),
        ('{ url = "http://h", timeout = 0 }', "timeout is 0; it must be seconds above 0"),
        ('{ url = "http://h", format = "poem" }', "no prompt format 'poem'"),
        ('{ url = "http://h", ask = "solve it" }', "'ask' must hold .problem."),
        ('{ url = "http://h", system = "be brief" }', "a text format has no system message"),
        ('{ url = "http://h", steps = "page" }', "no step rule 'page'"),
        ('{ url = "http://h", layers = 4 }', "layers, heads and head_size are given together"),
        ('{ url = "http://h", price_in = 1 }', "price_in and price_out are given together"),
        ('{ url = "http://h", price_in = -1, price_out = 1 }', "price_in is -1; .* at least 0"),
        ('{ path = "tiny", model = "x" }', "'model' is for a server"),
        ("3", "engine is 3; it must be of type str or dict"),
    ],
)
def test_a_bad_table_is_one_line(engine: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(MullError, match=says) as caught:
        read(tmp_path, f'name = "x"\nengine = {engine}')
    assert "study.toml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("verifier", "says"),
    [
        ('{ path = "x" }', "verifiers.prm: a verifier's table needs 'adapter'"),
        ('"http://h"', "verifiers.prm is an address; .* needs a table"),
        ("3", 'verifiers.prm is 3; it must be "tiny", a folder, or a table'),
        ('{ adapter = "mean", of = ["tiny"] }', "must be a list of tables"),
        ('{ adapter = "equations", price_in = "much" }', "price_in is 'much'"),
    ],
)
def test_a_bad_verifier_is_one_line(verifier: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(MullError, match=says):
        read(tmp_path, f'name = "x"\nverifiers = {{ prm = {verifier} }}')


def test_what_counts_is_what_is_asked_and_not_where() -> None:
    problems = [Problem("p", "?", "1")]

    def key(prm: VerifierSpec | None = None, **changes: object) -> str:
        spec = replace(ModelSpec(url="http://one", model="m"), **changes)
        return config.content_hash(Study("x", Source(), spec, prm, None), problems)

    first = key()
    aside = {"url": "https://two/v1", "key_env": "K", "timeout": 1.0, "retries": 0, "concurrency": 1}
    aside |= {"parameters": 5, "price_in": 1.0, "price_out": 1.0, "pretraining_tokens": 7}
    assert key(**aside) == first
    for changed in (
        {"model": "n"},
        {"format": "chat"},
        {"steps": "blank"},
        {"seeded": False},
        {"ask": "{problem}!"},
    ):
        assert key(**changed) != first
    prm = key(VerifierSpec((("adapter", "protocol"), ("url", "http://a"), ("model", "v"))))
    assert prm != first
    assert (
        key(VerifierSpec((("adapter", "protocol"), ("url", "http://b"), ("model", "v"), ("batch", 4)))) == prm
    )
    assert key(VerifierSpec((("adapter", "protocol"), ("url", "http://a"), ("model", "w")))) != prm


def test_dollars_are_by_the_million() -> None:
    spec = ModelSpec(url="http://h", price_in=2.0, price_out=10.0)
    assert spec.dollars(1_000_000, 400_000, 100_000) == pytest.approx(3.0)
    assert replace(spec, price_cached=0.5).dollars(1_000_000, 400_000, 100_000) == pytest.approx(2.4)
    assert ModelSpec(url="http://h").dollars(1, 0, 1) is None


def test_names_become_models() -> None:
    assert isinstance(models.engine("tiny"), SmallEngine)
    assert isinstance(models.verifier("tiny", "orm"), SmallVerifier)
    found = models.verifier(VerifierSpec((("adapter", "equations"), ("price_in", 1.0))))
    trace = Trace(Problem("p", "?"), (Step("2 + 2 = 4\n", ()), Step("2 + 2 = 5\n", ())), "stop")
    (verdict,) = asyncio.run(found.score([trace]))
    assert verdict.scores is not None and verdict.scores.steps[0] > verdict.scores.steps[1]
    with pytest.raises(MullError, match="there is no adapter 'nonsense'; there are"):
        models.verifier(VerifierSpec((("adapter", "nonsense"),)))
    with pytest.raises(MullError, match="the environment variable MULL_NO_KEY is not set"):
        models.engine(ModelSpec(url="http://h", key_env="MULL_NO_KEY"))


def test_a_name_without_its_address() -> None:
    assert known_as("tiny at localhost:8000 (text, newline)") == "tiny (text, newline)"
    assert known_as("tiny/proposer@1f2e3d4c") == "tiny/proposer@1f2e3d4c"


def test_ids_of_another_vocabulary_are_spelt_anew() -> None:
    verifier = SmallVerifier.load(checkpoint("prm"))
    problem = Problem("p", "Ann has 3 eggs. How many eggs does Ann have?\n")
    texts = ["Ann has 3 eggs.\n", "Answer: 3"]
    plain = Trace(problem, tuple(Step(text, ()) for text in texts), "stop")
    foreign = Trace(problem, tuple(Step(text, (9_999, 3)) for text in texts), "stop")
    few = Trace(problem, tuple(Step(text, (5,)) for text in texts), "stop")
    scores = [verdict.scores for verdict in verifier.score_now([plain, foreign, few])]
    assert scores[0] == scores[1] == scores[2] is not None


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add(parser)
    return parser.parse_args(arguments)


def test_options_name_a_model() -> None:
    assert options.engine(parsed()) is None
    assert options.engine(parsed("--engine", "folder")) == "folder"
    found = options.engine(
        parsed("--engine", "http://h", "--model", "m", "--format", "chat", "--timeout", "5")
    )
    assert found == ModelSpec(url="http://h", model="m", format="chat", timeout=5.0)
    with pytest.raises(MullError, match="--key-env is for an engine that is named: give --engine"):
        options.engine(parsed("--key-env", "K"))
    assert options.verifier('{ adapter = "equations" }', "--prm") == VerifierSpec((("adapter", "equations"),))
    with pytest.raises(MullError, match="--prm is no table"):
        options.verifier("{ adapter", "--prm")
