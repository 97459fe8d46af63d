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
from mull.engines.record import Record
from mull.engines.recorded import RecordedEngine
from mull.engines.small import SmallEngine
from mull.errors import MullError
from mull.models.scoring import VerifierSpec
from mull.models.spec import ASIDE, ModelSpec, model_spec
from mull.problems import Problem
from mull.tiny.load import Name, checkpoint
from mull.trace import Trace
from mull.verifiers.base import Verifier
from mull.verifiers.recorded import RecordedVerifier
from mull.verifiers.small import SmallVerifier

if TYPE_CHECKING:
    from mull.engines.openai import OpenAIEngine

#: Settings of a verifier's table that make no difference to its scores.
_ASIDE = frozenset(
    {"record", "replay"}
    | {"url", "path", "key_env", "timeout", "retries", "concurrency", "batch", "device", "cache_gib"}
    | {"parameters", "attention", "price_in"}
)
Need = Literal["whole", "steps"]
#: The files of a checkpoint that make a difference to what it says.
_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")
#: Bytes of a file that is read whole to tell it from others, and read of each end of a larger one.
_LARGE, _END = 1 << 30, 1 << 22


def checkpoint_of(path: str, role: Name) -> Path:
    """A checkpoint's folder; "tiny" is the small world's for the role."""
    return checkpoint(role) if path == "tiny" else Path(path)


def engine(named: str | ModelSpec, role: Name = "proposer") -> Engine:
    """The engine of a model; :class:`MullError` for a folder that cannot be read or a key that is not set.

    One that is replayed is not loaded.
    """
    spec = model_spec(named)
    if spec.replay is not None:
        return RecordedEngine(Record.open(spec.replay), _identity(spec, role))
    if spec.record is not None:
        return RecordedEngine(Record.open(spec.record), _identity(spec, role), _engine(spec, role))
    return _engine(spec, role)


def _engine(spec: ModelSpec, role: Name) -> Engine:
    if spec.path is None:
        return _client(spec)
    if spec.backend == "transformers":
        from mull.engines.local import TransformersEngine

        return TransformersEngine.load(
            checkpoint_of(spec.path, role),
            spec.form,
            device=spec.device,
            dtype=spec.dtype,
            batch=spec.batch,
            max_length=spec.max_length,
            size=spec.size,
        )
    if spec.backend == "vllm":
        from mull.engines.vllm import VLLMEngine

        return VLLMEngine.load(
            checkpoint_of(spec.path, role),
            spec.form,
            dtype=spec.dtype,
            max_length=spec.max_length,
            size=spec.size,
            gpu_memory_utilization=spec.memory,
            enforce_eager=spec.eager,
            tensor_parallel_size=spec.tensor_parallel,
        )
    return SmallEngine.load(checkpoint_of(spec.path, role))


def _identity(spec: ModelSpec | VerifierSpec, role: Name) -> str:
    """What tells a model from all others in a record, 16 hex digits."""
    if isinstance(spec, ModelSpec) and spec.served and spec.model is None:
        raise MullError(f"a record needs the model's name at {spec.url}: set 'model'")
    kind = "verifier" if isinstance(spec, VerifierSpec) else "engine"
    return hashlib.blake2b(digest_of(spec, role, kind), digest_size=8).hexdigest()


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
    known yet; a model that is replayed is not asked. :class:`MullError` if it is not there, wants another
    key, serves another model, or cannot do what is needed: whole solutions, or step search.
    """
    spec = model_spec(named)
    if not spec.served or spec.replay:
        return spec
    from mull.engines.openai.probe import QUESTION, chosen, served

    first = client = _client(spec)
    try:
        name = chosen(client.wire.url, spec.model, await served(client.wire))
        spec = replace(spec, model=name)
        client = _client(spec)
        trace = Trace(Problem("hello", QUESTION))
        (hello,) = await client.sample([Job(trace, 1 if need == "steps" else None, 1.0, 0, 1)])
        if hello.trace.finish == "error":
            raise MullError(f"{spec.model!r} at {client.wire.url} does not answer: {hello.trace.error}")
    finally:
        await first.aclose()
        await client.aclose()
    return spec


def verifier(named: str | VerifierSpec, role: Name = "prm") -> Verifier:
    """The verifier that is meant: a checkpoint of the built-in kind, or one named by a table."""
    if isinstance(named, VerifierSpec):
        return _by_table(named, role)
    return SmallVerifier.load(checkpoint_of(named, role))


def _by_table(spec: VerifierSpec, role: Name) -> Verifier:
    """The one place where a verifier named by a table is made; its adapter knows the rest."""
    from mull.verifiers.prm import build

    table = spec.table
    record, replay = table.pop("record", None), table.pop("replay", None)
    if record is None and replay is None:
        return build(_unpriced(table))
    if _agrees(table):
        raise MullError("agreement depends on the other solutions of a call, so it is not recorded")
    inner = None if record is None else build(_unpriced(table))
    return RecordedVerifier(Record.open(record or str(replay)), _identity(spec, role), inner)


def _agrees(table: Mapping[str, Any]) -> bool:
    return table["adapter"] == "agreement" or any(map(_agrees, table.get("of", ())))


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
    # Only what differs from the default: so a field that is added later changes no hash.
    told: dict[str, Any] = {k: v for k, v in spec.table.items() if k not in ASIDE}
    if spec.shots is not None:
        told["shots"] = spec.form.shots  # what is in the file, wherever that is
    parts = [] if spec.own else [f"{label}/{json.dumps(told, sort_keys=True)}".encode()]
    if spec.path is None:
        return parts[0]
    folder = checkpoint_of(spec.path, role)
    files = sorted(file for kind in _FILES for file in folder.glob(kind))
    if not files:
        if spec.own or folder.exists():
            raise MullError(f"no checkpoint for the {label} in {folder}")
        return parts[0] + spec.path.encode()  # a name at Hugging Face
    for file in files:
        parts += [f"{label}/{file.name}".encode(), _digest(file)]
    return b"".join(parts)


def _digest(file: Path) -> bytes:
    """A hash of a file: of all its bytes, or of size, beginning and end of a very large one."""
    found = hashlib.blake2b()
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= _LARGE:
            return hashlib.file_digest(opened, hashlib.blake2b).digest()
        found.update(str(size).encode() + opened.read(_END))
        opened.seek(size - _END)
        found.update(opened.read())
    return found.digest()


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
