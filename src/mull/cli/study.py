"""``mull study`` and ``mull report``: measure, and look again at what was measured."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mull.cli.numbers import count, positive, whole

#: The status of a study of which something is missing, because models outside mull failed.
INCOMPLETE = 3
_STUDY = """\
examples:
  mull study --quick                    the built-in small world in about a minute
  mull study                            500 problems, pools of 256, search up to 64 generations
  mull study mine.toml --out mine       a study of your own; the same command goes on if cut off
  mull study mine.toml --dry-run        what it will take: requests, tokens, dollars; starts nothing
  mull study mine.toml --dry-run --measure 16

mine.toml:
  name = "mine"
  pool = 256                            # samples a problem; a power of two
  engine = "tiny"                       # or the folder of a checkpoint, or a server:
  # engine = { url = "http://localhost:8000/v1", model = "NAME", format = "chat", key_env = "KEY" }
  verifiers = { prm = "tiny", orm = "tiny" }
  problems = { source = "tiny", split = "test", count = 100 }
                                        # or { source = "problems.jsonl" }, or { source = "math500" }
  [[arms]]
  strategy = "beam"
  params = { width = 4 }
  budgets = [4, 16, 64]
also: seed, temperature, max_tokens, grader; docs/studies.md has them all.
Majority and best-of-N come from the pool and need no arm.
"""


def add(commands: Any) -> None:
    """Put the commands on the parser."""
    own = commands.add_parser(
        "study",
        help="measure strategies on problems, and fit a policy",
        description="Run a study, or go on with one that was cut off; then analyse and report it.",
        epilog=_STUDY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument(
        "study", nargs="?", type=Path, metavar="STUDY.toml", help="default: the built-in small world"
    )
    own.add_argument(
        "--out", type=Path, default=Path("mull-study"), metavar="DIR", help="default: %(default)s"
    )
    size = own.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the built-in study, smaller: about a minute")
    size.add_argument(
        "--full", action="store_true", help="the built-in study, larger: pools of 2048, search to 256"
    )
    own.add_argument("--workers", type=count, metavar="N", help="processes (default: the cores there are)")
    own.add_argument(
        "--dry-run", action="store_true", help="print what the study will take, and start nothing"
    )
    own.add_argument(
        "--measure",
        type=whole,
        metavar="N",
        help="sample N solutions first, for the estimate (default: 16 before a study with models outside "
        "mull, none with --dry-run)",
    )
    own.add_argument(
        "--throughput", type=positive, metavar="X", help="completion tokens a second, for the estimate"
    )
    own.add_argument(
        "--json", action="store_true", help="print summary.json, or the estimate, instead of tables"
    )
    own.set_defaults(run=run, parser=own)
    again = commands.add_parser(
        "report",
        help="analyse a recorded study again and write its report",
        description="Compute summary.json, policy.json and report.html anew from a finished study's folder.",
        epilog="example:\n  mull report mull-study",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    again.add_argument("dir", type=Path, metavar="DIR")
    again.add_argument("--json", action="store_true", help="print summary.json instead of tables")
    again.set_defaults(run=run_report)


def run(args: argparse.Namespace) -> int:
    """Run or continue a study, then show it. The status is 3 if something of it is missing."""
    if args.study is not None and (args.quick or args.full):
        args.parser.error("--quick and --full are sizes of the built-in study; STUDY.toml has its own")
    print("mull: starting", file=sys.stderr, flush=True)
    from mull.analysis.run import run_study
    from mull.study.builtin import builtin
    from mull.study.config import read
    from mull.study.progress import reporter

    study = builtin("quick" if args.quick else "full" if args.full else "default")
    if args.study is not None:
        study = read(args.study)
    if args.dry_run or study.outside:
        from mull.cli import estimate

        estimate.show(study, args)
    if args.dry_run:
        return 0
    try:
        summary = run_study(study, args.out, workers=args.workers, say=reporter())
    except KeyboardInterrupt:
        print("\nmull: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return show(summary, args.out, as_json=args.json)


def run_report(args: argparse.Namespace) -> int:
    """Analyse a finished study anew, then show it."""
    from mull.analysis.run import report

    return show(report(args.dir), args.dir, as_json=args.json)


def show(summary: dict[str, Any], folder: Path, *, as_json: bool) -> int:
    """Write the page; print the tables, or the summary."""
    from mull.report import table, write

    page = write(folder)
    if as_json:
        print(json.dumps(summary, indent=1))
        return _status(summary)
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table(summary))
    console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)
    return _status(summary)


def _status(summary: dict[str, Any]) -> int:
    """3 for a study that lacks something, else 0."""
    return INCOMPLETE if summary.get("incomplete") else 0
