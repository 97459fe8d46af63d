"""What a server can do, as probed: a plain record, remembered in a file, printed as a table.

A value is yes (True), no (False) or not shown (None: the probe could not tell). The module
keeps and prints; asking the server is the probe's work, using the answers the engine's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mull.errors import MullError

Shown = bool | None
#: What becomes of a stop text: cut off the answer, kept in it, kept with what its token holds
#: beyond, not heeded, or an error.
Stop = Literal["cut", "kept", "overrun", "ignored", "refused", "not shown"]
#: How a server is asked to continue: a text prompt is just longer; a chat's last message is the
#: assistant's, marked by request fields, by a field of its own, or by nothing.
Continues = Literal["text", "continue_final_message", "prefix", "last message", "no", "not shown"]
#: A template may take a system message, drop it without a word, or be an error with it.
System = Literal["taken", "dropped", "refused", "not shown"]
#: ``top_p`` alone, with ``top_k``, ``min_p`` and ``repetition_penalty`` ("all"), or with a text that holds
#: such settings (``transformers serve``).
Whole = Literal["all", "generation_config", "top_p", "no", "not shown"]
#: What makes a server send counts with every part of a stream (vLLM; llama.cpp).
Counts = Literal["continuous_usage_stats", "timings_per_token", "no", "not shown"]
FORM = 2


@dataclass(frozen=True)
class Route:
    """What one way of asking (completions or chat) can do; ``why`` is the server's word where it cannot."""

    works: bool
    why: str = ""
    continues: Continues = "not shown"
    #: The answer holds the given beginning too, and it has to be cut off.
    echoes: bool = False
    #: White space at the given beginning's end is lost by the chat template.
    trims: bool = False
    #: What a chat's template makes of a system message.
    system: System = "not shown"
    choices: Shown = None
    choices_counted: Shown = None
    seed: Shown = None
    temperature: Shown = None
    greedy: Shown = None
    #: The fields that keep the server (or the model's own settings there) from cutting the distribution.
    whole: Whole = "not shown"
    max_tokens: Shown = None
    max_tokens_field: str = "max_tokens"
    stop: Stop = "not shown"
    #: The answer names the stop text that ended it.
    stop_named: Shown = None
    #: ``include_stop_str_in_output`` keeps it.
    stop_keeps: Shown = None
    logprobs: Shown = None
    ids: Literal["token_ids", "logprobs", "no"] = "no"
    echo: Shown = None
    prompt_logprobs: Shown = None
    stream: Shown = None
    stream_usage: Shown = None
    #: The field that brings counts with every part, so that a stream that is cut is counted, too.
    stream_counts: Counts = "not shown"
    usage: Shown = None
    cached: Shown = None

    @property
    def step_by_stops(self) -> bool:
        """Whether a step can be sampled with stop texts: its end can be told from the solution's."""
        if self.trims or self.stop in ("ignored", "refused", "not shown"):
            return False
        return self.stop in ("kept", "overrun") or bool(self.stop_named) or bool(self.stop_keeps)


@dataclass(frozen=True)
class Capabilities:
    """A server's routes for one model. ``served``: the models it lists, ``checked``: it refuses others.

    ``server`` is what the program is called in tables; no server tells that, so whoever probes does.
    """

    url: str
    model: str
    completions: Route
    chat: Route
    server: str = ""
    served: tuple[str, ...] = ()
    checked: Shown = None
    probed: str = ""
    form: int = field(default=FORM)

    def route(self, chat: bool) -> Route:
        """The route of a format; :class:`MullError` if the server does not have it."""
        found = self.chat if chat else self.completions
        if not found.works:
            name, other = ("chat", "text") if chat else ("text", "chat")
            raise MullError(
                f"{self.url} does not answer {name} requests for {self.model!r} ({found.why}); "
                f"use a prompt format of kind {other}"
            )
        return found


_ROWS: tuple[tuple[str, str], ...] = (
    ("works", "answers"),
    ("continues", "continues a solution by"),
    ("echoes", "returns the given beginning"),
    ("trims", "loses white space at its end"),
    ("system", "system message"),
    ("choices", "several choices a request"),
    ("choices_counted", "usage counts every choice"),
    ("seed", "seeds honoured"),
    ("temperature", "temperature honoured"),
    ("greedy", "temperature 0 is greedy"),
    ("whole", "takes top_p, top_k, min_p"),
    ("max_tokens", "token limit honoured"),
    ("max_tokens_field", "its field"),
    ("stop", "stop text"),
    ("stop_named", "says which stop text"),
    ("stop_keeps", "keeps it on request"),
    ("logprobs", "log-probabilities"),
    ("ids", "token ids in"),
    ("echo", "echo with log-probabilities"),
    ("prompt_logprobs", "prompt_logprobs"),
    ("stream", "streams"),
    ("stream_usage", "usage while streaming"),
    ("stream_counts", "with every part by"),
    ("usage", "usage"),
    ("cached", "usage tells cached tokens"),
)


def rows(found: Capabilities) -> list[tuple[str, str, str]]:
    """The table: feature, completions, chat."""
    table = [
        (label, _shown(found.completions, name), _shown(found.chat, name))
        for name, label in _ROWS
        if found.completions.works or found.chat.works or name == "works"
    ]
    return [*table, ("a step ends by", _steps(found.completions), _steps(found.chat))]


def side_by_side(found: Sequence[Capabilities], chat: bool) -> str:
    """The records of several servers as a Markdown table, a column each, for one route."""
    routes = [each.chat if chat else each.completions for each in found]
    head = ["", *(each.server or each.model for each in found)]
    refuses = {True: "refused", False: "accepted", None: "not shown"}
    table = [[label, *(_shown(route, name, why=False) for route in routes)] for name, label in _ROWS]
    table.append(["a step ends by", *(_steps(route) for route in routes)])
    table.append(["another model's name", *(refuses[each.checked] for each in found)])
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *table)]
    return "\n".join(lines) + "\n"


def _shown(route: Route, name: str, why: bool = True) -> str:
    if not route.works:
        return (f"no: {route.why}" if why else "no") if name == "works" else ""
    value = getattr(route, name)
    return {True: "yes", False: "no", None: "not shown"}.get(value, str(value))


def _steps(route: Route) -> str:
    if not route.works:
        return ""
    if route.continues in ("no", "not shown"):
        return "no step search: a solution cannot be continued"
    if route.step_by_stops:
        return "stop texts"
    return "cutting the stream" if route.stream else "no step search: a step's end cannot be told"


def cache_folder() -> Path:
    """Where probes are remembered: ``$XDG_CACHE_HOME/mull/engines`` or ``~/.cache/mull/engines``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mull" / "engines"


def _file(url: str, model: str, folder: Path | None) -> Path:
    name = hashlib.blake2b(f"{url}\n{model}".encode(), digest_size=10).hexdigest()
    return (folder or cache_folder()) / f"{name}.json"


def remember(found: Capabilities, folder: Path | None = None) -> Path | None:
    """Write the record; None where the folder cannot be written."""
    file = _file(found.url, found.model, folder)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(as_json(found), encoding="utf-8")
        part.replace(file)
    except OSError:
        return None
    return file


def recall(url: str, model: str, folder: Path | None = None) -> Capabilities | None:
    """The remembered record, None if there is none or it is of another form."""
    try:
        found = load(_file(url, model, folder))
    except MullError:
        return None
    return found if (found.url, found.model) == (url, model) else None


def load(file: Path) -> Capabilities:
    """The record in a file; :class:`MullError` if there is none or it is of another form."""
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
        if given["form"] != FORM:
            raise MullError(f"{file} was probed by another version of mull; probe the server again")
        for name in ("completions", "chat"):
            given[name] = Route(**_known(given[name], Route))
        given["served"] = tuple(given["served"])
        return Capabilities(**_known(given, Capabilities))
    except OSError as error:
        raise MullError(f"{file} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MullError(f"{file} holds no probe: 'mull engine probe URL --save FILE' writes one") from None


def _known(given: dict[str, Any], kind: type) -> dict[str, Any]:
    names: Iterable[str] = (each.name for each in fields(kind))
    return {name: given[name] for name in names if name in given}


def as_json(found: Capabilities) -> str:
    """The record as JSON text."""
    return json.dumps(asdict(found), indent=2)
