"""A verifier from a table, as a study's TOML names it: the one entry for every kind there is.

    { adapter = "qwen2.5-math-prm", path = "Qwen/Qwen2.5-Math-PRM-7B", device = "cuda", batch = 16 }
    { adapter = "qwen2.5-math-prm", url = "http://localhost:8000", model = "prm", tokenizer = "Qwen/..." }
    { adapter = "mean", of = [{ adapter = "equations" }, { adapter = "likelihood" }] }

It checks names and types and builds; what is built checks the rest. docs/verifiers.md lists the fields.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mull.cost import ModelSize
from mull.errors import MullError
from mull.verifiers.base import Verifier
from mull.verifiers.calibrated import Calibrated
from mull.verifiers.certainty import SelfCertainty
from mull.verifiers.combine import WAYS, Agreement, Combined
from mull.verifiers.equations import Equations
from mull.verifiers.judge import QUESTIONS, Judge
from mull.verifiers.likelihood import Likelihood
from mull.verifiers.prm.adapters import ADAPTERS
from mull.verifiers.prm.local import LocalModel
from mull.verifiers.prm.scorer import RewardModel
from mull.verifiers.prm.served import ServedModel
from mull.verifiers.prm.table import Table
from mull.verifiers.prm.tokens import Tokenizer
from mull.verifiers.remote import RemoteVerifier
from mull.verifiers.unit_tests import UnitTests


def build(table: Mapping[str, object]) -> Verifier:
    """The verifier that a table names; :class:`MullError` for what is unknown, missing or of a wrong type.

    A checkpoint is read at once; a server is asked nothing before the first score.
    """
    given = Table(dict(table))
    name = given.text("adapter")
    made = builder(name)
    calibration = given.maybe("calibration")
    found = made(given)
    given.done()
    return found if calibration is None else Calibrated.load(found, Path(calibration))


def _reward_model(given: Table) -> Verifier:
    adapter = ADAPTERS[given.text("adapter")]
    if given.has("path") == given.has("url"):
        raise MullError(
            f"verifier {adapter.name!r} needs either 'path' (a checkpoint) or 'url' (a vLLM server)"
        )
    limit, thinking = given.whole("max_tokens", 0) or None, given.flag("thinking")
    if given.has("url"):
        settings = _server(given)
        tokenizer = Tokenizer.load(given.text("tokenizer"))
        model = given.maybe("model")
        served = ServedModel(model=model, limit=limit, outcome=adapter.kind == "outcome", **settings)
        return RewardModel(adapter, tokenizer, served, thinking=thinking)
    path = given.text("path")
    tokenizer = Tokenizer.load(given.text("tokenizer", path))
    settings = {
        "device": given.text("device", "auto"),
        "dtype": given.text("dtype", "auto"),
        "batch": given.whole("batch", 16, least=1),
        "cache_bytes": int(given.number("cache_gib", 1.0, zero=True) * (1 << 30)),
    }
    given.done()  # before a checkpoint of many gigabytes is read
    adapter.check(tokenizer)
    local = LocalModel.load(path, adapter, tokenizer, limit=limit, **settings)
    return RewardModel(adapter, tokenizer, local, thinking=thinking)


def _server(given: Table) -> dict[str, Any]:
    """What every kind of server takes."""
    variable = given.maybe("key_env")
    key = None if variable is None else os.environ.get(variable)
    if variable is not None and not key:
        raise MullError(f"the environment variable {variable} is not set; it must hold the verifier's key")
    return {
        "url": given.text("url"),
        "key": key,
        "size": ModelSize(given.whole("parameters", 0), given.whole("attention", 0)),
        "timeout": given.number("timeout", 600.0),
        "retries": given.whole("retries", 5),
        "concurrency": given.whole("concurrency", 64, least=1),
    }


def _remote(given: Table) -> Verifier:
    return RemoteVerifier(
        model=given.maybe("model"), batch=given.whole("batch", 16, least=1), **_server(given)
    )


def _judge(given: Table) -> Verifier:
    question = QUESTIONS[given.text("adapter")]
    if given.has("ask"):
        question = replace(question, ask=given.text("ask"))
    question = replace(question, good=given.text("good", question.good), bad=given.text("bad", question.bad))
    return Judge(
        question,
        model=given.text("model"),
        max_tokens=given.whole("max_tokens", 0) or None,
        samples=given.whole("samples", 1, least=1),
        temperature=given.number("temperature", 0.0, zero=True) if given.has("temperature") else None,
        **_server(given),
    )


def _combined(given: Table) -> Verifier:
    return Combined([build(each) for each in given.tables("of")], given.text("adapter"))


def _likelihood(given: Table) -> Verifier:
    over: Any = given.text("over", "so far")
    return Likelihood(over, given.whole("group", 64, least=1))


def _self_certainty(given: Table) -> Verifier:
    shown: Any = given.text("shown", "chat")
    path, system = given.text("path"), given.text("system", "")
    device, dtype = given.text("device", "auto"), given.text("dtype", "auto")
    given.done()
    return SelfCertainty.load(path, device=device, dtype=dtype, shown=shown, system=system)


#: How each adapter's table is read, by the adapter's name.
BUILDERS: Mapping[str, Callable[[Table], Verifier]] = MappingProxyType(
    {
        **dict.fromkeys(ADAPTERS, _reward_model),
        **dict.fromkeys(QUESTIONS, _judge),
        **dict.fromkeys(WAYS, _combined),
        "protocol": _remote,
        "likelihood": _likelihood,
        "self-certainty": _self_certainty,
        "equations": lambda given: Equations(),
        "unit-tests": lambda given: UnitTests(),
        "agreement": lambda given: Agreement(),
    }
)


def builder(adapter: str) -> Callable[[Table], Verifier]:
    """What makes an adapter's verifiers; :class:`MullError` naming the known adapters."""
    if adapter not in BUILDERS:
        raise MullError(f"there is no adapter {adapter!r}; there are {', '.join(BUILDERS)}")
    return BUILDERS[adapter]
