"""From a model's name to the model: engines and verifiers made, and servers asked whether they are there.

A checkpoint is loaded; for a server a client is made, which asks nothing until it is used.
:func:`ready` asks: it is how a server that is gone, a wrong key or another model than the one that
was named are found before anything is begun.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mull.engines.base import Engine, Job
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.models.spec import ASIDE, ModelSpec, VerifierSpec, model_spec
from mull.problems import Problem
from mull.tiny.load import Name, checkpoint
from mull.trace import Trace
from mull.verifiers.base import Verifier
from mull.verifiers.small import SmallVerifier

if TYPE_CHECKING:
    from mull.engines.openai import OpenAIEngine

#: Settings of a verifier's table that make no difference to its scores.
_ASIDE = frozenset(
    {"url", "path", "key_env", "timeout", "retries", "concurrency", "batch", "device", "cache_gib"}
    | {"parameters", "attention", "price_in"}
)
Need = Literal["whole", "steps"]


def checkpoint_of(path: str, role: Name) -> Path:
    """A checkpoint's folder; "tiny" is the small world's for the role."""
    return checkpoint(role) if path == "tiny" else Path(path)


def engine(named: str | ModelSpec, role: Name = "proposer") -> Engine:
    """The engine of a model; :class:`MullError` for a folder that cannot be read or a key that is not set."""
    spec = model_spec(named)
    if spec.path is not None:
        return SmallEngine.load(checkpoint_of(spec.path, role))
    return _client(spec)


def _client(spec: ModelSpec) -> OpenAIEngine:
    from mull.engines.openai import OpenAIEngine

    assert spec.url is not None, "a client is for a server"
    return OpenAIEngine(
        spec.url,
        spec.model,
        spec.form,
        key=_key(spec.key_env),
        size=spec.size,
        seeded=spec.seeded,
        logprobs=spec.logprobs,
        timeout=spec.timeout,
        retries=spec.retries,
        concurrency=spec.concurrency,
    )


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise MullError(f"the environment variable {variable} is not set; it must hold the server's key")
    return key


async def ready(named: str | ModelSpec, need: Need = "whole") -> ModelSpec:
    """The model, its name filled in as its server has it, once the server has answered for it.

    Asks for the list of models and for one token, and learns what the server can do if that is not
    known yet. :class:`MullError` if it is not there, wants another key, serves another model, or cannot
    do what is needed: whole solutions, or step search.
    """
    spec = model_spec(named)
    if not spec.served:
        return spec
    from mull.engines.openai.probe import QUESTION, chosen, served

    client = _client(spec)
    try:
        name = chosen(client.wire.url, spec.model, await served(client.wire))
        spec = replace(spec, model=name)
        client = _client(spec)
        trace = Trace(Problem("hello", QUESTION))
        (hello,) = await client.sample([Job(trace, 1 if need == "steps" else None, 1.0, 0, 1)])
        if hello.trace.finish == "error":
            raise MullError(f"{spec.model!r} at {client.wire.url} does not answer: {hello.trace.error}")
    finally:
        await client.aclose()
    return spec


def verifier(named: str | VerifierSpec, role: Name = "prm") -> Verifier:
    """The verifier that is meant: a checkpoint of the built-in kind, or one named by a table."""
    if isinstance(named, VerifierSpec):
        return _by_table(named)
    return SmallVerifier.load(checkpoint_of(named, role))


def _by_table(spec: VerifierSpec) -> Verifier:
    """The one place where a verifier named by a table is made; its adapter knows the rest."""
    from mull.verifiers.prm import build

    return build(_unpriced(spec.table))


def _unpriced(table: Mapping[str, Any]) -> dict[str, Any]:
    """A verifier's table without what is mull's own."""
    kept = {name: value for name, value in table.items() if name != "price_in"}
    return kept | ({"of": [_unpriced(each) for each in kept["of"]]} if "of" in kept else {})


def known_as(name: str) -> str:
    """An engine's name without the server's address, which may change though the model does not."""
    return re.sub(r" at \S+ \(", " (", name)


def digest_of(named: str | ModelSpec | VerifierSpec, role: Name, label: str) -> bytes:
    """What a model is, as bytes to be hashed: its files, or its name at a server and how it is asked.

    Neither paths and addresses count, nor what says nothing of its answers (prices, time limits).
    """
    if isinstance(named, VerifierSpec):
        return f"{label}/{json.dumps(_told(named.table), sort_keys=True)}".encode()
    spec = model_spec(named)
    if spec.path is None:
        # Only what differs from the default: so a field that is added later changes no hash.
        told: dict[str, Any] = {k: v for k, v in spec.table.items() if k not in ASIDE}
        if spec.shots is not None:
            told["shots"] = spec.form.shots  # what is in the file, wherever that is
        return f"{label}/{json.dumps(told, sort_keys=True)}".encode()
    folder = checkpoint_of(spec.path, role)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
    if not files:
        raise MullError(f"no checkpoint for the {label} in {folder}")
    parts = []
    for file in files:
        parts += [f"{label}/{file.name}".encode(), hashlib.blake2b(file.read_bytes()).digest()]
    return b"".join(parts)


def _told(table: Mapping[str, Any]) -> dict[str, Any]:
    """What of a verifier's table makes a difference to its scores, its folders by name and size.

    So a folder may be moved. A large model's weights are not read for this.
    """
    told: dict[str, Any] = {name: value for name, value in table.items() if name not in _ASIDE}
    if "of" in told:
        told["of"] = [_told(each) for each in told["of"]]
    if "tokenizer" in told:
        told["tokenizer"] = Path(str(told["tokenizer"])).name
    if "path" in table:
        folder = Path(str(table["path"]))
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
        told["path"] = [folder.name, [[file.name, file.stat().st_size] for file in files]]
    return told


__all__ = ["checkpoint_of", "digest_of", "engine", "known_as", "ready", "verifier"]
