"""``mull replay``: what stopping rules would have cost and reached on recorded samples."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mull.cli.measuring import on_a_pool
from mull.cli.numbers import count

if TYPE_CHECKING:
    from mull.pools import PoolData

_EXAMPLE = """\
examples:
  mull replay pool.parquet
  mull replay pool.parquet --rules "majority@16,early_stopping(window=4),learned_marginal(price=0.02)" --json
  mull replay pool.parquet --grader math
  mull replay programs.parquet --grader code --score tests
Rules that begin with learned_ are fitted on training folds and measured on the others.
"""


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "replay",
        help="replay stopping rules on a pool",
        description="Replay stopping and spending rules on a pool of recorded samples; nothing is generated.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("pool", type=Path, metavar="POOL")
    own.add_argument(
        "--rules", metavar="A,B(k=4)@N", help="default: every rule that the pool has the data for"
    )
    own.add_argument(
        "--budget", type=count, metavar="N", help="most samples; default: 64, or what the pool has"
    )
    own.add_argument("--score", metavar="NAME", help="the verifier whose scores count; default: the only one")
    own.add_argument(
        "--grader",
        metavar="NAME",
        help="merge and grade the answers anew first: math, form, exact, ... ; code: vote by behaviour",
    )
    own.add_argument(
        "--step",
        type=count,
        default=64,
        metavar="TOKENS",
        help="where a sample can be cut; default: %(default)s",
    )
    on_a_pool(own)
    own.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay and print."""
    from mull.replay import Recorded
    from mull.replay.entries import check, default, parse, table
    from mull.replay.ledger import Ledger

    data, code = _graded(args)
    recorded = Recorded.of(data, score=args.score, step=args.step, behaviours=code)
    problems, samples = recorded.shape
    budget = args.budget or min(64, samples)
    arms = parse(args.rules, budget) if args.rules is not None else default(recorded, budget)
    check(arms, samples)
    runs = args.runs or max(20, -(-3000 // problems))
    ledger = Ledger(recorded.draw(runs, max(arm.budget for arm in arms), args.seed))
    found = table(ledger, arms, splits=args.splits, draws=args.draws, seed=args.seed)
    if args.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    for note in data.notes if args.grader else ():
        print(f"note: {note}")
    _show(found)
    return 0


def _graded(args: argparse.Namespace) -> tuple[PoolData, bool]:
    """The pool as the grader has it, and whether programs vote by behaviour."""
    from mull.grading import grader
    from mull.pools import behaving, canonicalised, read_pool

    chosen = grader(args.grader)
    code = args.grader == "code"
    data = read_pool(args.pool, empty=args.empty)
    if chosen is None:
        return data, False
    if not code:
        return canonicalised(data, chosen), False
    if data.behaviours is None:
        data = read_pool(args.pool, empty=args.empty, large=True)
    return behaving(data, chosen), True


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False)
    console.print(
        f"{found['problems']} problems x {found['samples']} samples, {found['runs']} runs in random order; "
        f"learned rules on {found['splits']} two-fold splits; "
        + (
            f"tokens in mean samples of {found['mean_tokens']:.0f}"
            if found["mean_tokens"]
            else "the pool has no token counts"
        )
    )
    shown = Table(
        "rule", "accuracy", "95 %", "tokens", "samples", f"against {found['majority']}", "fewer tokens",
        box=None, pad_edge=False,
    )  # fmt: skip
    for row in found["rules"]:
        low, high = row["ci95"]
        against = row["against_majority"]
        shown.add_row(
            row["rule"],
            f"{row['accuracy']:.4f}",
            f"[{low:.3f}, {high:.3f}]",
            f"{row['tokens'] / found['mean_tokens']:.2f}" if found["mean_tokens"] else "-",
            f"{row['generations']:.2f}",
            f"{against['accuracy']:+.4f} [{against['ci95'][0]:+.3f}, {against['ci95'][1]:+.3f}]",
            "-" if against["fewer_tokens"] is None else f"{against['fewer_tokens']:.1f}x",
        )
    console.print(shown)
