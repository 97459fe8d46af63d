"""What a study is going to take, as a table or JSON: ``mull study --dry-run``, and before a study starts."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from mull.study.config import Study
    from mull.study.estimate import Estimate

#: Solutions that are sampled before a study with models outside mull, to know how fast they come.
USUAL = 16
_COLUMNS = {
    "requests": "requests",
    "generations": "generations",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "sampled",
    "verifier_tokens": "verified",
    "flops": "FLOPs",
    "dollars": "dollars",
}


def show(study: Study, args: argparse.Namespace) -> None:
    """Print the estimate: on standard output for a dry run, else on standard error.

    A study that lacks nothing has none.
    """
    from mull.errors import MullError
    from mull.study.estimate import estimate, found_in
    from mull.study.measured import measure
    from mull.study.run import problems_of

    problems = problems_of(study)
    study, recorded = found_in(args.out, study, problems)
    if not args.dry_run and recorded is not None and not recorded.missing():
        return
    count = args.measure
    if count is None:
        count = 0 if args.dry_run or args.throughput or not study.measurable else USUAL
    elif not args.dry_run and not study.measurable:
        raise MullError(
            "--measure is for a dry run where the engine is run here or replayed: the model would be loaded "
            "twice"
        )
    if not args.dry_run:
        import asyncio

        from mull.study import present

        study = asyncio.run(present.named(study))
        asyncio.run(present.check(study))  # before a table is shown of what could not begin
    sampled = measure(study, problems, count) if count else None
    found = estimate(study, problems, recorded, sampled, args.throughput)
    if args.json and args.dry_run:
        print(json.dumps(found.as_json, indent=1))
        return
    from rich.console import Console

    out = sys.stdout if args.dry_run else sys.stderr
    console = Console(file=out, width=None if out.isatty() else 132, highlight=False)
    console.print(_table(found, study.name))
    for line in _lines(found):
        console.print(line, markup=False, soft_wrap=True)


def _table(found: Estimate, name: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=Text(f"{name}: what {'is left' if found.missing < found.units else 'it'} will take"),
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for title in ("", "problems", *_COLUMNS.values()):
        made.add_column(title, justify="right" if title else "left", no_wrap=True)
    for row in (*found.rows, {"what": "all", "problems": "", **found.total}):
        made.add_row(Text(str(row["what"])), _count(row["problems"]), *(_cell(n, row[n]) for n in _COLUMNS))
    return made


def _count(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2e}" if name == "flops" else f"{value:,.2f}" if name == "dollars" else f"{value:,}"


def _lines(found: Estimate) -> list[str]:
    """The assumptions, and the hours."""
    lengths = found.lengths
    lines = [
        f"lengths: {lengths.solution:.0f} tokens and {lengths.steps:.1f} steps a solution, "
        f"{lengths.prompt:.0f} tokens a prompt ({lengths.how})"
    ]
    if found.missing < found.units:
        lines.append(f"{found.units - found.missing} of {found.units} units are recorded already")
    if found.hours is None or found.throughput is None:
        lines.append(f"hours: unknown; the throughput is {found.how}")
    else:
        lines.append(
            f"hours: {found.hours:.2f} at {found.throughput:,.0f} completion tokens a second ({found.how})"
        )
    lines.append("prompt tokens at the full price: what a prefix cache saves is not counted")
    return lines
