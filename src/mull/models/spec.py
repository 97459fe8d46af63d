"""How a model is named: a word, a folder or an address, or a table with all that is known of it.

    engine = "tiny"
    engine = "checkpoints/mine"
    engine = "http://localhost:8000"
    engine = { url = "http://localhost:8000/v1", model = "tiny", format = "text", key_env = "KEY" }
    engine = { path = "Qwen/Qwen2.5-1.5B-Instruct", backend = "transformers", format = "chat" }
    engine = { url = "http://localhost:8000/v1", model = "tiny", record = "answers" }

A table is checked field by field and written back as it was read. The module names models; it
loads none and asks no server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

from mull.cost import ModelSize
from mull.engines.prompts import Format, Marks, format_named, shots
from mull.errors import MullError
from mull.trace import ThinkingBudget

Value = int | float | str | bool
#: Makes a path of a file's own absolute.
Place = Callable[[str], str]
#: What makes no difference to what a model says: where it is, how it is asked, what it costs and weighs.
ASIDE = frozenset(
    {"url", "path", "key_env", "concurrency", "timeout", "retries", "price_in", "price_cached", "price_out"}
    | {"parameters", "layers", "heads", "head_size", "pretraining_tokens", "finetuning_tokens"}
    | {"record", "replay", "device", "batch", "memory", "eager", "tensor_parallel"}
)
#: Fields by what they are for: a server, a library that runs a checkpoint here, either.
_SERVED = (
    *("model", "key_env", "concurrency", "timeout", "retries", "seeded", "logprobs"),
    *("thinking", "think_tokens", "think_waits"),
)
_PROMPTED = ("format", "steps", "ask", "system", "shots")
_HERE = {
    "transformers": ("dtype", "max_length", "device", "batch"),
    "vllm": ("dtype", "max_length", "memory", "eager", "tensor_parallel"),
}
#: Libraries that run a checkpoint in this process.
BACKENDS = tuple(_HERE)


@dataclass(frozen=True)
class ModelSpec:
    """A model that samples: a checkpoint at ``path``, or a server.

    A checkpoint is of a kind that mull runs itself ("tiny": the small world's), or is run in this process
    by the library that ``backend`` names ("transformers", "vllm"; a name at Hugging Face will do then):

    - ``format``, ``steps``, ``ask``, ``system``: as for a server, below;
    - ``dtype`` ("auto": the checkpoint's), ``max_length`` (tokens a sequence; None: all positions);
    - transformers: ``device`` ("auto", "cpu", "cuda", "cuda:1"), ``batch`` (sequences side by side);
    - vllm: ``memory`` (share of the GPU's memory), ``eager`` (no compilation), ``tensor_parallel`` (GPUs).

    For a server at ``url``, with an OpenAI-compatible interface:

    - ``model``: its name there; None if it serves one alone;
    - ``format``, ``steps``: the prompt format and its step rule (:mod:`mull.engines.prompts`); ``ask`` (with
      ``{problem}`` where the problem goes) and ``system`` in place of the format's own; ``shots``: a file
      of worked examples to be shown first (JSON lines with ``prompt`` and ``solution``);
    - ``thinking``: the marks around a thinking model's reasoning, such as ``<think>...</think>``, and how
      long it thinks where a strategy does not say: ``think_tokens`` at most, its end held back
      ``think_waits`` times (:class:`mull.trace.ThinkingBudget`);
    - ``key_env``: the environment variable that holds the key;
    - ``concurrency`` (requests in flight), ``timeout`` (seconds a request), ``retries``;
    - ``seeded``: send seeds where they are honoured; ``logprobs``: ask for log-probabilities.

    For any model: ``record``, a folder in which every answer is kept and looked up first, or ``replay``,
    one that all answers must come from (:mod:`mull.engines.recorded`);
    ``parameters``, and ``layers`` x ``heads`` (query heads) x ``head_size``, which FLOPs
    depend on; ``pretraining_tokens``, ``finetuning_tokens``; ``price_in``, ``price_cached`` (prompt
    tokens that were cached, as ``price_in`` if None) and ``price_out``, in dollars a million tokens.
    None is unknown.
    """

    path: str | None = None
    url: str | None = None
    backend: str | None = None
    model: str | None = None
    format: str = "text"
    steps: str | None = None
    ask: str | None = None
    system: str | None = None
    shots: str | None = None
    thinking: str | None = None
    think_tokens: int | None = None
    think_waits: int = 0
    key_env: str | None = None
    parameters: int | None = None
    layers: int | None = None
    heads: int | None = None
    head_size: int | None = None
    pretraining_tokens: int | None = None
    finetuning_tokens: int | None = None
    price_in: float | None = None
    price_cached: float | None = None
    price_out: float | None = None
    concurrency: int = 256
    timeout: float = 600.0
    retries: int = 5
    seeded: bool = True
    logprobs: bool = True
    dtype: str = "auto"
    device: str = "auto"
    max_length: int | None = None
    batch: int = 64
    memory: float = 0.9
    eager: bool = False
    tensor_parallel: int = 1
    record: str | None = None
    replay: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.url is None):
            raise MullError("a model is named by 'url' (a server) or by 'path' (a checkpoint's folder)")
        if self.url is not None:
            check_url(self.url)
        if self.backend not in (None, *BACKENDS):
            raise MullError(f"there is no backend {self.backend!r}; there are {', '.join(BACKENDS)}")
        self._check_fit()
        _ = self.form
        if self.record and self.replay:
            raise MullError("'record' asks what is not recorded, 'replay' never asks; give one of them")
        for name, least in (("concurrency", 1), ("retries", 0), ("batch", 1), ("tensor_parallel", 1)):
            if getattr(self, name) < least:
                raise MullError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.max_length is not None and self.max_length < 1:
            raise MullError(f"max_length is {self.max_length}; it must be at least 1")
        if not 0 < self.memory <= 1:
            raise MullError(f"memory is {self.memory:g}; it must be a share above 0 and at most 1")
        if not 0 < self.timeout < float("inf"):
            raise MullError(f"timeout is {self.timeout:g}; it must be seconds above 0")
        counts = ("parameters", "layers", "heads", "head_size", "pretraining_tokens", "finetuning_tokens")
        for name in counts:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise MullError(f"{name} is {getattr(self, name)}; it must be at least 1")
        shape = (self.layers, self.heads, self.head_size)
        if any(shape) and not (all(shape) and self.parameters):
            raise MullError("layers, heads and head_size are given together, and with parameters")
        for name in ("price_in", "price_cached", "price_out"):
            price = getattr(self, name)
            if price is not None and not (price >= 0 and isfinite(price)):
                raise MullError(f"{name} is {price:g}; it must be dollars a million tokens, at least 0")
        if (self.price_in is None) != (self.price_out is None):
            raise MullError("price_in and price_out are given together")
        if self.price_cached is not None and self.price_in is None:
            raise MullError("price_cached needs price_in and price_out")

    def _check_fit(self) -> None:
        """:class:`MullError` for a field that this kind of model has no use for."""
        given = {n for n, value in vars(self).items() if value != _DEFAULTS[n]}
        here = _HERE.get(self.backend or "", ())
        for name in sorted(
            given & {*_SERVED, *_PROMPTED, *(f for fs in _HERE.values() for f in fs), "backend"}
        ):
            if name in _SERVED and self.url is None:
                raise MullError(f"{name!r} is for a server; the model at {self.path} is run here")
            if name in _PROMPTED and self.own:
                raise MullError(
                    f"{name!r} is for a server or a backend; mull's own engine, at {self.path}, has none"
                )
            if name == "backend" and self.url is not None:
                raise MullError(
                    "'backend' runs a checkpoint ('path') here; the model at an address has its own"
                )
            if any(name in fields for fields in _HERE.values()) and name not in here:
                of = " or ".join(kind for kind, fields in _HERE.items() if name in fields)
                raise MullError(f"{name!r} is for a checkpoint with backend = {of}")

    @property
    def form(self) -> Format:
        """The prompt format."""
        found = format_named(self.format, self.steps)
        given: dict[str, Any] = {"ask": self.ask, "system": self.system}
        given["shots"] = None if self.shots is None else shots(Path(self.shots))
        if self.thinking is not None:
            given |= {"thinks": True, "marks": Marks.named(self.thinking)}
        if self.think_tokens is not None:
            given["budget"] = ThinkingBudget(self.think_tokens, self.think_waits)
        elif self.think_waits:
            raise MullError("think_waits needs think_tokens, which all of the thinking shares")
        return replace(found, **{name: value for name, value in given.items() if value is not None})

    @property
    def served(self) -> bool:
        """Whether a server runs it."""
        return self.url is not None

    @property
    def own(self) -> bool:
        """Whether mull's own engine runs it."""
        return self.url is None and self.backend is None

    @property
    def plain(self) -> bool:
        """Whether it is mull's own engine and nothing besides, so that asking it cannot fail."""
        return self.own and not self.record and not self.replay

    @property
    def label(self) -> str:
        """Name, backend, format and step rule, without address or folder; "" for mull's own engine."""
        if self.own:
            return ""
        name = self.model if self.served else f"{Path(str(self.path)).name} by {self.backend}"
        return f"{name} ({self.form.name}, {self.form.rule.name})"

    @property
    def size(self) -> ModelSize | None:
        """What FLOPs depend on, as far as the table says."""
        if self.parameters is None:
            return None
        return ModelSize(self.parameters, (self.layers or 0) * (self.heads or 0) * (self.head_size or 0))

    @property
    def table(self) -> dict[str, Value]:
        """The fields that are not what they are by default."""
        return {n: v for n, v in vars(self).items() if v is not None and v != _DEFAULTS[n]}

    def dollars(self, prompt: float, cached: float, completion: float) -> float | None:
        """What tokens cost (``cached`` are some of the ``prompt`` ones); None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        warm = self.price_in if self.price_cached is None else self.price_cached
        return ((prompt - cached) * self.price_in + cached * warm + completion * self.price_out) / 1e6


_DEFAULTS: Mapping[str, Any] = {f.name: f.default for f in fields(ModelSpec)}


def model_spec(named: str | ModelSpec) -> ModelSpec:
    """The model that a word, a folder, an address or a table names."""
    if isinstance(named, ModelSpec):
        return named
    return ModelSpec(url=named) if is_url(named) else ModelSpec(path=named)


def simplest(named: str | ModelSpec) -> str | ModelSpec:
    """The shortest way to name the same model: a word or folder if that says all."""
    found = model_spec(named)
    return found.path if found.path is not None and len(found.table) == 1 else found


def from_table(table: Mapping[str, Any], what: str, place: Place = str) -> ModelSpec:
    """A model from TOML's table; :class:`MullError` names ``what`` and the field at fault."""
    kinds = get_type_hints(ModelSpec)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _DEFAULTS:
            raise MullError(f"{what} has no field {name!r}; known: {', '.join(_DEFAULTS)}")
        wanted = [kind for kind in (get_args(kinds[name]) or (kinds[name],)) if kind is not type(None)]
        fits = int if float in wanted else wanted[0]
        if not isinstance(value, (*wanted, fits)) or (isinstance(value, bool) and bool not in wanted):
            raise MullError(f"{what}.{name} is {value!r}; it must be of type {wanted[0].__name__}")
        values[name] = float(value) if float in wanted and isinstance(value, int) else value
    if isinstance(values.get("shots"), str):
        values["shots"] = place(values["shots"])
    if isinstance(values.get("path"), str):
        # With a backend it may be a name at Hugging Face.
        found = place(values["path"]) if values.get("backend") is None else placed(values["path"], place)
        values["path"] = found
    values |= {name: place(values[name]) for name in ("record", "replay") if name in values}
    try:
        return ModelSpec(**values)
    except MullError as error:
        raise MullError(f"{what}: {error}") from None


def placed(path: Value, place: Place) -> Value:
    """A folder made absolute if there is one; else it is a model's name, and stays as it is."""
    if not isinstance(path, str):
        return path
    there = place(path)
    return there if path.startswith((".", "/", "~")) or Path(there).exists() else path


def is_url(text: str) -> bool:
    """Whether a name is a server's address; :class:`MullError` for one without its http://."""
    if re.fullmatch(r"[\w.-]+:\d+(/\S*)?", text) and not Path(text).exists():
        raise MullError(f"{text} looks like a server's address; write it with http:// before it")
    return text.startswith(("http://", "https://"))


def check_url(url: str) -> None:
    """Raise :class:`MullError` for what is no address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MullError(f"{url!r} is no address of a server; it must look like http://localhost:8000/v1")
