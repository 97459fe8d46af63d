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


def add(parser: Any, default: str | None = None) -> None:
    """Put ``--engine`` and the options of a server on a parser."""
    usual = "the small world's" if default is None else '"tiny", the small world\'s'
    parser.add_argument(
        "--engine",
        default=default,
        metavar="MODEL",
        help=f"a checkpoint's folder or a server's address (default: {usual})",
    )
    group = parser.add_argument_group("for an --engine behind an address")
    for name, how in _SERVER.items():
        group.add_argument(f"--{name.replace('_', '-')}", **how)


def add_grader(parser: Any) -> None:
    """Put ``--grader`` on a parser."""
    parser.add_argument(
        "--grader", metavar="NAME", help="which answers are equal, such as math (default: mull's normal form)"
    )


def engine(args: argparse.Namespace) -> str | ModelSpec | None:
    """The model that the options name; :class:`MullError` for a server's options without a server."""
    from mull.errors import MullError
    from mull.models import ModelSpec, model_spec

    given = {name: value for name in _SERVER if (value := getattr(args, name)) is not None}
    if args.engine is None or not model_spec(args.engine).served:
        if given:
            option = f"--{next(iter(given)).replace('_', '-')}"
            raise MullError(f"{option} is for a server: give its address as --engine http://...")
        return None if args.engine is None else str(args.engine)
    return ModelSpec(url=args.engine, **given)


def verifier(named: str, option: str) -> str | VerifierSpec:
    """A verifier on a command line: "tiny", a folder, or a table as TOML writes it in a line."""
    from mull.errors import MullError
    from mull.models import verifier_spec

    if not named.lstrip().startswith("{"):
        return named
    try:
        table = tomllib.loads(f"verifier = {named}")["verifier"]
    except tomllib.TOMLDecodeError as error:
        raise MullError(f"{option} is no table: {error}") from None
    return verifier_spec(table, option, lambda where: str(Path(where).expanduser()))
