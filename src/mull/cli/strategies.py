"""``mull strategies``: what there is to choose from."""

from __future__ import annotations

import argparse
import json
from typing import Any

_NEEDS = {
    "none": "no verifier",
    "outcome": "a verifier",
    "process": "a process verifier",
    "revision": "a verifier",
}


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "strategies",
        help="list the strategies",
        description="List the strategies: what each does, its parameters and what it needs.",
        epilog="example:\n  mull strategies\n  mull strategies --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("--json", action="store_true", help="print JSON")
    own.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the registry."""
    import mull.strategies  # noqa: F401  (registers them)
    from mull.strategies.base import strategies

    found = strategies().values()
    if args.json:
        rows = [
            {
                "name": s.name,
                "params": dict(s.params),
                "needs": s.verifier,
                "also_needs": list(s.also),
                "selector": s.selector,
                "summary": s.summary,
            }
            for s in found
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for s in found:
        params = ", ".join(f"{name}={value}" for name, value in s.params.items())
        print(f"{s.name}({params})" if params else s.name)
        print(f"    {s.summary} Needs {_NEEDS[s.verifier]}; answers by {s.selector}.")
    return 0
