"""``mull engine``: what a model server can do."""

from __future__ import annotations

import argparse
import os
from typing import Any

_PROBE = """\
examples:
  mull engine probe http://localhost:8000
  mull engine probe https://api.example.com/v1 --model some-model --key-env EXAMPLE_KEY --json
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
    one.set_defaults(run=run_probe)


def run_probe(args: argparse.Namespace) -> int:
    """Probe, remember, print."""
    import asyncio
    from dataclasses import asdict

    from mull.engines.openai import QUESTION, Wire, address, probe, remember
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
    file = remember(found)
    if args.json:
        import json

        print(json.dumps(asdict(found) | {"file": None if file is None else str(file)}, indent=2))
        return 0
    show(found)
    print(f"remembered in {file}" if file else "not remembered: the cache folder cannot be written")
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
