"""``mull paper``: every figure of the paper from the small world, and its claims judged."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mull.cli.numbers import count

if TYPE_CHECKING:
    from mull.paper.run import Paper
    from mull.study.builtin import Size

_EXAMPLE = """\
examples:
  mull paper --quick                    a few minutes: 120 problems, smaller budgets
  mull paper --out paper                500 problems, pools of 256, chains of 64; goes on if cut off
  mull paper --full --out full          pools of 2048, chains of 256: every ratio of the paper's table
  mull paper mine.toml --out mine       from a study of your own (see mull study --help)

writes into DIR: paper.html (the page), figures/*.svg and *.png, claims.json (rows of claim,
statistic, paper, value, ci95, verdict), figures.json (the figures' numbers). Drawing needs
matplotlib: pip install 'mull[paper]'.
"""


def add(commands: Any) -> None:
    """Put the command on the parser."""
    own = commands.add_parser(
        "paper",
        help="redraw the paper's figures and judge its claims",
        description="Draw every figure of 'Scaling LLM Test-Time Compute Optimally' from mull's small world, "
        "beside the paper's own curves, and judge its claims one by one.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument(
        "study", nargs="?", type=Path, metavar="STUDY.toml", help="default: the built-in small world"
    )
    own.add_argument(
        "--out", type=Path, default=Path("mull-paper"), metavar="DIR", help="default: %(default)s"
    )
    sizes = own.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="a smaller study: most claims stay open")
    sizes.add_argument("--full", action="store_true", help="the paper's own sizes: an hour or two")
    own.add_argument("--workers", type=count, metavar="N", help="processes (default: the cores there are)")
    own.add_argument("--json", action="store_true", help="print claims.json instead of a table")
    own.set_defaults(run=run, parser=own)


def run(args: argparse.Namespace) -> int:
    """Run or continue the study, draw it, and show the claims."""
    if args.study is not None and (args.quick or args.full):
        args.parser.error("--quick and --full are sizes of the built-in study; STUDY.toml has its own")
    print("mull: starting", file=sys.stderr, flush=True)
    from mull.paper.run import paper
    from mull.paper.study import paper_study
    from mull.study.config import read
    from mull.study.progress import reporter

    size: Size = "quick" if args.quick else "full" if args.full else "default"
    study = paper_study(size) if args.study is None else read(args.study)
    try:
        found = paper(study, args.out, workers=args.workers, say=reporter())
    except KeyboardInterrupt:
        print("\nmull: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return show(found, as_json=args.json)


def show(found: Paper, *, as_json: bool) -> int:
    """Print the claims with their verdicts, and where everything is."""
    if as_json:
        print(json.dumps([row.as_json() for row in found.rows], indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    from mull.paper.page import lede, number, span

    console = Console(width=None if sys.stdout.isatty() else 132)
    table = Table(box=None, pad_edge=False)
    table.add_column("claim", ratio=1)
    for name in ("paper", "mull"):
        table.add_column(name, justify="right")
    table.add_column("95 %")
    table.add_column("verdict")
    topic = ""
    for row in found.rows:
        if row.topic != topic:
            topic = row.topic
            table.add_row("", "", "", "", "")
            table.add_row(f"[bold]{topic}[/bold]", "", "", "", "")
        table.add_row(row.claim, number(row.paper), number(row.value), span(row.ci95), row.verdict)
    console.print(table)
    console.print(lede(found.rows), markup=False, highlight=False)
    for name, path in (("page", found.page), ("claims", found.claims)):
        console.print(f"{name}: {path}", soft_wrap=True, highlight=False, markup=False)
    if found.figures:
        console.print(f"figures: {found.figures[0].parent}", soft_wrap=True, highlight=False, markup=False)
    return 0
