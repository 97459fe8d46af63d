"""``mull allocate``: what sharing one budget over all problems would have reached on recorded samples."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mull.cli.measuring import on_a_pool
from mull.cli.numbers import count, positive
from mull.errors import MullError

_EXAMPLE = """\
examples:
  mull allocate pool.parquet --budget 4
  mull allocate pool.parquet --tokens 20000 --costs costs.csv --rules uniform,posterior,consequence --json
All that is learned is fitted on one half of the problems and measured on the other.
"""


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "allocate",
        help="share a budget over a pool's problems",
        description="Replay rules that share one budget over all problems of a pool; nothing is generated.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("pool", type=Path, metavar="POOL")
    size = own.add_mutually_exclusive_group(required=True)
    size.add_argument("--budget", type=positive, metavar="N", help="a problem's mean budget, in mean samples")
    size.add_argument("--tokens", type=positive, metavar="N", help="a problem's mean budget, in tokens")
    own.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help="costs of being wrong: CSV with columns problem, cost, or a JSON object",
    )
    own.add_argument("--rules", metavar="A,B", help="default: every rule that there is the data for")
    own.add_argument("--text", action="store_true", help="also use the problems' texts (rule 'text')")
    own.add_argument("--most", type=count, default=64, help="samples a problem; default: %(default)s")
    on_a_pool(own)
    own.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from mull.allocation.held import check, counted_by_samples, measure
    from mull.allocation.report import read_costs, table
    from mull.pools import read_pool
    from mull.replay import Recorded

    rules = None if args.rules is None else [name.strip() for name in args.rules.split(",") if name.strip()]
    wants_text = args.text or "text" in (rules or ())
    data = read_pool(args.pool, empty=args.empty, large=wants_text)
    texts = None
    if wants_text:
        texts = data.frame["prompt"].gather_every(data.samples).to_list()
        if any(text is None for text in texts):
            raise MullError(
                f"{args.pool} lacks the texts of problems; import it with them, or leave out 'text'"
            )
    recorded = Recorded.of(data)
    uncounted = not data.tokens.any()
    if uncounted and wants_text:
        raise MullError(f"{args.pool} has no token counts; 'text' foretells lengths, so leave it out")
    if uncounted:
        recorded = counted_by_samples(recorded)
    costs = None if args.costs is None else read_costs(args.costs, recorded.names)
    budget = args.tokens or args.budget * float(recorded.tokens.mean())
    chosen = check(rules, costs, texts, [budget], recorded)
    held = measure(
        recorded,
        [budget],
        rules=chosen,
        costs=costs,
        texts=texts,
        most=args.most,
        runs=args.runs,
        count=args.splits,
        seed=args.seed,
    )
    found = table(recorded, held, chosen, budget, costs=costs, draws=args.draws, seed=args.seed)
    found |= {"splits": args.splits, "tokens_known": not uncounted}
    if args.json:
        print(json.dumps(found, indent=1, allow_nan=False))
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False)
    unit = max(found["mean_tokens"], 1e-9)
    console.print(
        f"{found['problems']} problems x {found['samples']} samples, held out over {found['splits']} splits; "
        f"{found['budget']:.0f} tokens a problem, {found['budget'] / unit:.2f} mean samples"
    )
    if not found["tokens_known"]:
        console.print("the pool has no token counts: every sample counts as one token")
    loss = any("loss" in row for row in found["rules"])
    heads = ["rule", "accuracy", "95 %", "tokens", "samples", "against uniform", *(["loss"] if loss else [])]
    shown = Table(*heads, box=None, pad_edge=False)
    for row in found["rules"]:
        if row["accuracy"] is None:
            shown.add_row(row["rule"], "cannot spend so little")
            continue
        low, high = row["ci95"]
        ahead = row.get("against_uniform")
        cells = [
            row["rule"],
            f"{row['accuracy']:.4f}",
            f"[{low:.3f}, {high:.3f}]",
            f"{row['tokens']:.0f}",
            f"{row['generations']:.2f}",
            f"{ahead['accuracy']:+.4f} [{ahead['ci95'][0]:+.3f}, {ahead['ci95'][1]:+.3f}]" if ahead else "",
        ]
        shown.add_row(*cells, *([f"{row['loss']['mean']:.4f}"] if loss else []))
    console.print(shown)
    groups = [(row["rule"], row["got"]) for row in found["rules"] if "got" in row]
    if groups:
        console.print("\nshare of problems by samples begun")
        spread = Table("rule", *groups[0][1], box=None, pad_edge=False)
        for rule, got in groups:
            spread.add_row(rule, *(f"{share:.3f}" for share in got.values()))
        console.print(spread)
