"""``mull policy``: fit one to a recorded study, and look at one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from mull.policy_file import Policy, Row


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
        epilog="example:\n  mull policy show mull-study/policy.json\n"
        "  mull policy show mull-study/policy.json --average\n"
        "  mull policy show mull-study/policy.json --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shown.add_argument("file", type=Path, metavar="FILE")
    shown.add_argument(
        "--average",
        action="store_true",
        help="the policies that share one average budget out, instead of those with one budget for all",
    )
    shown.add_argument("--json", action="store_true", help="print JSON, a row a bin (0 is the easiest)")
    shown.set_defaults(run=run_show)


def run_fit(args: argparse.Namespace) -> int:
    """Fit and save."""
    from mull.analysis.evidence import gather
    from mull.analysis.policies import fit_all
    from mull.policy_file import save
    from mull.study.folder import open_folder

    found = fit_all(gather(open_folder(args.dir)))
    out = args.out or args.dir / "policy.json"
    save(found.policy, out)
    print(f"policy: {out}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print one table for each kind of difficulty, a row a bin."""
    from mull.errors import MullError
    from mull.policy_file import load

    policy = load(args.file)
    if args.json:
        print(json.dumps(_plain(policy), indent=1, allow_nan=False))
        return 0
    from rich.console import Console

    console, source = Console(), policy.provenance
    console.print(
        f"fitted to study {source.study!r} ({source.content_hash}), "
        f"engine {source.engine}, verifier {source.verifier}",
        markup=False,
        highlight=False,
    )
    title, charts = "the same budget for all", policy.rows
    if args.average:
        title, charts = "average budget", policy.average
        if not charts:
            raise MullError(
                f"{args.file} holds no policy that shares a budget out; show it without --average"
            )
    for kind, rows in charts.items():
        console.print()
        console.print(_table(f"{kind} difficulty, {title}", rows))
    console.print(
        "\nbudget, probe, spent: generations. held out: accuracy over all bins, on problems that the "
        "policy was not fitted to. accuracy: the arm's in its bin, where it was fitted."
    )
    if policy.average and not args.average:
        console.print("--average: the policies that share one average budget out among the bins.")
    return 0


def _table(title: str, rows: Sequence[Row]) -> Table:
    """Narrow enough for 80 columns; an arm's name that is not goes over several lines, whole."""
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("budget", "held out", "probe", "bin"):
        made.add_column(name, no_wrap=True)
    made.add_column("arm", overflow="fold")
    for name in ("accuracy", "spent"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        outside = "–" if row.held_out is None else f"{row.held_out:.1%}"
        head = (str(row.budget), outside, str(row.probe or "–"))
        last = len(row.entries) - 1
        for place, entry in enumerate(row.entries):
            name = "all" if not last else {0: "easiest", last: "hardest"}.get(place, str(place + 1))
            spent = f"{entry.generations:.4g}"
            arm = str(entry.arm)
            if entry.other is not None:
                arm = f"{arm} for {entry.share:.0%} of its problems, else {entry.other}"
            made.add_row(*head, name, Text(arm), f"{entry.accuracy:.1%}", spent)
            head = ("", "", "")
    return made


def _plain(policy: Policy) -> dict[str, Any]:
    """The tables as data: a row a bin, with the difficulty value that the bin begins at."""
    rows = []
    fitted = [(kind, False, row) for kind, listed in policy.rows.items() for row in listed]
    fitted += [(kind, True, row) for kind, listed in policy.average.items() for row in listed]
    for kind, average, row in fitted:
        for place, (entry, least) in enumerate(zip(row.entries, (*row.thresholds, None), strict=True)):
            found = {
                "difficulty": kind,
                "average": average,
                "budget": row.budget,
                "held_out": row.held_out,
                "probe": row.probe,
                "bin": place,
                "at_least": least,
                **asdict(entry),
            }
            found["arm"] = {**asdict(entry.arm), "params": dict(entry.arm.params)}
            if entry.other is not None:
                found["other"] = {**asdict(entry.other), "params": dict(entry.other.params)}
            rows.append(found)
    return {"provenance": asdict(policy.provenance), "rows": rows}
