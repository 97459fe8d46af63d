"""``mull engine``: what a model server can do."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

_PROBE = """\
examples:
  mull engine probe http://localhost:8000
  mull engine probe https://api.example.com/v1 --model some-model --key-env EXAMPLE_KEY --json
  mull engine probe http://localhost:8000 --name "vLLM 0.32" --save vllm.json
"""
_TABLE = """\
example:
  mull engine table vllm.json llama-server.json
"""


def add(commands: Any) -> None:
    """Put the commands on the parser."""
    own = commands.add_parser(
        "engine",
        help="see what a model server can do",
        description="Engines are what samples: servers with an OpenAI-compatible interface.",
        epilog=_PROBE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = own.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    one = kinds.add_parser(
        "probe",
        help="ask a server what it can do, and remember it",
        description="Send some fifty short requests, judge what comes back, remember and print it.",
        epilog=_PROBE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("url", metavar="URL", help="such as http://localhost:8000 or https://host/v1")
    one.add_argument("--model", metavar="NAME", help="default: the only one that the server lists")
    one.add_argument("--key-env", metavar="NAME", help="the environment variable that holds the key")
    one.add_argument(
        "--question", metavar="TEXT", help="what to ask it (default: a problem of the small world)"
    )
    one.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="a request (default: %(default)g)"
    )
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--name", metavar="NAME", default="", help="what to call the server in tables")
    one.add_argument("--save", metavar="FILE", type=Path, help="write the probe to a file, too")
    one.set_defaults(run=run_probe)
    two = kinds.add_parser(
        "table",
        help="compare what probed servers can do",
        description="Print saved probes side by side, as Markdown: completions first, then chat.",
        epilog=_TABLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    two.add_argument("files", metavar="FILE", type=Path, nargs="+", help="written by 'probe --save'")
    two.set_defaults(run=run_table)


def run_probe(args: argparse.Namespace) -> int:
    """Probe, remember, print."""
    import asyncio
    from dataclasses import asdict, replace

    from mull.engines.openai import QUESTION, Wire, address, probe, remember
    from mull.engines.openai.capabilities import as_json
    from mull.errors import MullError

    key = None
    if args.key_env is not None:
        key = os.environ.get(args.key_env)
        if not key:
            raise MullError(
                f"the environment variable {args.key_env} is not set; it must hold the server's key"
            )
    if not args.timeout > 0:
        raise MullError(f"--timeout must be more than 0, not {args.timeout:g}")
    wire = Wire(address(args.url), key, timeout=args.timeout)
    found = asyncio.run(probe(wire, args.model, args.question or QUESTION))
    found = replace(found, server=args.name)
    file = remember(found)
    if args.save is not None:
        try:
            args.save.write_text(as_json(found) + "\n", encoding="utf-8")
        except OSError as error:
            raise MullError(f"{args.save} cannot be written: {error.strerror or error}") from None
    if args.json:
        import json

        print(json.dumps(asdict(found) | {"file": None if file is None else str(file)}, indent=2))
        return 0
    show(found)
    print(f"remembered in {file}" if file else "not remembered: the cache folder cannot be written")
    return 0


def run_table(args: argparse.Namespace) -> int:
    """Print the table."""
    from mull.engines.openai import load, side_by_side

    found = [load(file) for file in args.files]
    for name, chat in (("Completions", False), ("Chat", True)):
        print(f"{name}:\n\n{side_by_side(found, chat)}")
    return 0


def show(found: Any) -> None:
    """Print the table."""
    from mull.engines.openai import rows

    print(f"{found.model} at {found.url}, probed {found.probed}")
    refuses = {True: "refused", False: "accepted", None: "not shown"}[found.checked]
    print(f"lists {', '.join(found.served[:8]) or 'no models'}; another model's name is {refuses}\n")
    table = [("", "completions", "chat"), *rows(found)]
    wide = [max(len(row[i]) for row in table) for i in range(2)]
    for row in table:
        print(f"{row[0]:<{wide[0]}}  {row[1]:<{wide[1]}}  {row[2]}".rstrip())
