"""The ``mull`` command: its parser, and how errors leave it.

Heavy imports (numpy, polars, the engines) happen inside the commands, so that
``mull --help`` is instant. An error that the user can put right is one line on
standard error and status 1; a usage error is status 2; an interrupt is 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mull import __version__
from mull.cli import allocate, ask, engine, exchange, paper, policy, pool, replay, strategies, study, train
from mull.errors import MullError

_EXAMPLE = """\
example:
  mull study --quick                          measure the built-in small world, about a minute
  mull policy fit mull-study --out policy.json
  mull ask "Ann has 3 eggs. Ben has 4 more eggs than Ann. How many eggs does Ben have?" --budget 16
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line's parser."""
    top = argparse.ArgumentParser(
        prog="mull",
        description="Spend a language model's test-time compute where it pays.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"mull {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for group in (study, pool, policy, paper, ask, engine, exchange, replay, allocate, strategies, train):
        group.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except MullError as error:
        print(f"mull: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader (head, less) has gone; nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("mull: interrupted", file=sys.stderr)
        return 130
