"""``mull policy``: fit one to a recorded study, and look at one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Put the commands on the parser."""
    own = commands.add_parser(
        "policy",
        help="fit a compute-optimal policy, or show one",
        description="A policy says which strategy to run, by difficulty and budget.",
        epilog="examples:\n  mull policy fit mull-study --out policy.json\n  mull policy show policy.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = own.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    fit = kinds.add_parser(
        "fit",
        help="fit a policy to a finished study",
        description="Fit a policy to a finished study's records.",
        epilog="example:\n  mull policy fit mull-study --out policy.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.add_argument("dir", type=Path, metavar="DIR", help="the study's folder")
    fit.add_argument("--out", type=Path, metavar="FILE", help="default: policy.json in the study's folder")
    fit.set_defaults(run=run_fit)
    shown = kinds.add_parser(
        "show",
        help="show a policy as tables",
        description="Show a policy: for each kind of difficulty, budget and bin, what it runs.",
        epilog="example:\n  mull policy show mull-study/policy.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shown.add_argument("file", type=Path, metavar="FILE")
    shown.set_defaults(run=run_show)


def run_fit(args: argparse.Namespace) -> int:
    """Fit and save."""
    from mull.analysis.evidence import gather
    from mull.analysis.policies import fit_all
    from mull.policy_file import Policy, save
    from mull.study.folder import open_folder

    found = fit_all(gather(open_folder(args.dir)))
    out = args.out or args.dir / "policy.json"
    save(Policy(found.rows, found.provenance), out)
    print(f"policy: {out}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print one table for each kind of difficulty."""
    from rich.console import Console
    from rich.table import Table

    from mull.policy_file import load

    policy, console = load(args.file), Console()
    source = policy.provenance
    console.print(
        f"fitted to study {source.study!r} ({source.content_hash}), "
        f"engine {source.engine}, verifier {source.verifier}",
        markup=False,
        highlight=False,
    )
    for kind, rows in policy.rows.items():
        table = Table(title=f"{kind} difficulty", title_justify="left", box=None, pad_edge=False)
        bins = max(len(row.entries) for row in rows)
        names = ["easiest", *map(str, range(2, bins)), "hardest"] if bins > 1 else ["all"]
        for name in ("budget", "held out", "probe", *names):
            table.add_column(name)
        for row in rows:
            arms = [f"{entry.arm}\n{entry.accuracy:.1%}" for entry in row.entries]
            outside = "–" if row.held_out is None else f"{row.held_out:.1%}"
            table.add_row(str(row.budget), outside, str(row.probe or "–"), *arms)
        console.print(table)
    return 0
