"""The options that name a model on a command line, and what they come to."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mull.models import ModelSpec, VerifierSpec

#: Each option of a server, and the field of a model's table that it is.
_SERVER: dict[str, dict[str, Any]] = {
    "model": {"metavar": "NAME", "help": "its name there (default: the only one that is served)"},
    "format": {"metavar": "NAME", "help": "how it is asked: text (default), chat or chat-steps"},
    "steps": {"metavar": "RULE", "help": "what ends a step: newline, blank, heading or sentence"},
    "ask": {"metavar": "TEXT", "help": "what it is asked, with {problem} where the problem goes"},
    "shots": {"metavar": "FILE", "help": "worked examples to show first: JSON lines, prompt and solution"},
    "thinking": {"metavar": "MARKS", "help": "of a thinking model's reasoning: '<think>...</think>'"},
    "think_tokens": {"type": int, "metavar": "N", "help": "close its thinking at so many tokens"},
    "think_waits": {"type": int, "metavar": "N", "help": "hold the end of its thinking back so often"},
    "key_env": {"metavar": "VAR", "help": "the environment variable that holds the server's key"},
    "parameters": {"type": int, "metavar": "N", "help": "the model's, for FLOPs"},
    "concurrency": {"type": int, "metavar": "N", "help": "requests in flight at most (default: 256)"},
    "timeout": {"type": float, "metavar": "S", "help": "seconds a request may take (default: 600)"},
}


#: Options of any engine that is named, and of one that is run here by a library.
_ANY: dict[str, dict[str, Any]] = {
    "record": {"metavar": "FOLDER", "help": "keep every answer in a folder, and look there first"},
    "replay": {"metavar": "FOLDER", "help": "take every answer from such a folder; ask nobody"},
}
_HERE: dict[str, dict[str, Any]] = {
    "backend": {"metavar": "NAME", "help": "what runs a checkpoint here: transformers or vllm"},
    "device": {"metavar": "NAME", "help": "where transformers runs it: auto (default), cpu, cuda, ..."},
    "dtype": {"metavar": "NAME", "help": "auto (default), float32, bfloat16 or float16"},
}


def add(parser: Any, default: str | None = None) -> None:
    """Put ``--engine`` and the options of a server on a parser."""
    usual = "the small world's" if default is None else '"tiny", the small world\'s'
    parser.add_argument(
        "--engine",
        default=default,
        metavar="MODEL",
        help=f"a checkpoint's folder, a server's address, or a table in braces (default: {usual})",
    )
    for title, options in (
        ("for any --engine", _ANY),
        ("for an --engine behind an address (prompts: also with a backend)", _SERVER),
        ("for an --engine that a library runs here", _HERE),
    ):
        group = parser.add_argument_group(title)
        for name, how in options.items():
            group.add_argument(f"--{name.replace('_', '-')}", **how)


def add_grader(parser: Any) -> None:
    """Put ``--grader`` on a parser."""
    parser.add_argument(
        "--grader", metavar="NAME", help="which answers are equal, such as math (default: mull's normal form)"
    )


def engine(args: argparse.Namespace) -> str | ModelSpec | None:
    """The model that the options name; :class:`MullError` for options that are not for such a model."""
    from mull.errors import MullError
    from mull.models import model_spec, simplest
    from mull.models.spec import from_table

    named = (*_ANY, *_SERVER, *_HERE)
    given = {name: value for name in named if (value := getattr(args, name)) is not None}
    if args.engine is None:
        if given:
            option = f"--{next(iter(given)).replace('_', '-')}"
            raise MullError(f"{option} is for an engine that is named: give --engine")
        return None
    if args.engine.lstrip().startswith("{"):
        return simplest(from_table({**_table(args.engine, "--engine"), **given}, "--engine", _place))
    spec = model_spec(args.engine)
    server = [name for name in given if name in _SERVER and not spec.served]
    if server and "backend" not in given:
        option = f"--{server[0].replace('_', '-')}"
        raise MullError(f"{option} is for a server: give its address as --engine http://...")
    return simplest(from_table({**spec.table, **given}, "--engine", _place))


def _table(text: str, option: str) -> dict[str, Any]:
    """A table as TOML writes it in a line."""
    from mull.errors import MullError

    try:
        found: dict[str, Any] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise MullError(f"{option} is no table: {error}") from None
    return found


def _place(where: str) -> str:
    return str(Path(where).expanduser())


def verifier(named: str, option: str) -> str | VerifierSpec:
    """A verifier on a command line: "tiny", a folder, or a table as TOML writes it in a line."""
    from mull.models import verifier_spec

    if not named.lstrip().startswith("{"):
        return named
    return verifier_spec(_table(named, option), option, _place)
