"""``mull pool``: import recorded samples, record some, and see what they say."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mull.cli import models
from mull.cli.numbers import count

_ALL = """\
examples:
  mull pool import samples.jsonl --format jsonl --map answer=final_answer --out pool.parquet
  mull pool show pool.parquet
  mull pool record --problems tiny --count 50 --samples 16 --out recorded.parquet
"""
_IMPORT = """\
examples:
  mull pool import samples.jsonl --format jsonl --map answer=final_answer --out pool.parquet
  mull pool import runs.parquet --format parquet --map problem=task --map scores.rm=reward --out pool.parquet
  mull pool import mull-study --format study --out pool.parquet
  mull pool formats                     every format, with its settings
"""
_RECORD = """\
examples:
  mull pool record --problems tiny --count 50 --samples 16 --out recorded.parquet
  mull pool record --problems mine.jsonl --samples 64 --engine checkpoint --prm none --out recorded.parquet
  mull pool record --problems gsm8k --count 100 --samples 16 --engine http://localhost:8000 --format chat \\
      --max-tokens 1024 --prm none --orm none --grader math --out recorded.parquet
"""


def add(commands: Any) -> None:
    """Put the commands on the parser."""
    own = commands.add_parser(
        "pool",
        help="import, record and look at recorded samples",
        description="A pool is many recorded samples of every problem, in one Parquet file.",
        epilog=_ALL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = own.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    _add_import(kinds)
    _add_show(kinds)
    _add_record(kinds)
    formats = kinds.add_parser(
        "formats",
        help="list the formats that can be imported",
        description="List the formats that 'mull pool import' reads, with their settings.",
        epilog="example:\n  mull pool formats",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    formats.set_defaults(run=run_formats)


def _add_import(kinds: Any) -> None:
    own = kinds.add_parser(
        "import",
        help="make a pool of recorded outputs",
        description="Read recorded outputs, of any length in little memory, and write them as a pool.",
        epilog=_IMPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("path", type=Path, metavar="PATH")
    own.add_argument("--format", required=True, metavar="NAME", help="see 'mull pool formats'")
    own.add_argument("--out", type=Path, required=True, metavar="POOL", help="the file to write")
    pairs = {"action": "append", "default": [], "type": _pair}
    own.add_argument(
        "--map",
        **pairs,
        metavar="COLUMN=FIELD",
        help="which field gives a column; scores.NAME=FIELD for a score",
    )
    own.add_argument("--set", **pairs, metavar="NAME=VALUE", help="a setting of the format")
    own.add_argument(
        "--scale",
        **pairs,
        metavar="SCORE=SCALE",
        help="how a score becomes one in 0..1: unit, logit or ratio",
    )
    own.set_defaults(run=run_import)


def _add_show(kinds: Any) -> None:
    own = kinds.add_parser(
        "show",
        help="show what a pool says, and what is wrong with it",
        description="Accuracy by number of samples, tokens, difficulty, and warnings about the data.",
        epilog="examples:\n  mull pool show pool.parquet\n  mull pool show pool.parquet --json --k 1,10,100",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("pool", type=Path, metavar="POOL", help="a pool's file, or a folder of such")
    own.add_argument("--json", action="store_true", help="print JSON")
    own.add_argument("--k", type=_counts, metavar="K,...", help="default: powers of two, and all samples")
    own.add_argument(
        "--samples",
        type=count,
        metavar="S",
        help="use the first S of each problem (default: the fewest any has)",
    )
    own.add_argument(
        "--empty",
        choices=("vote", "drop"),
        default="vote",
        help="whether empty answers vote (default: %(default)s)",
    )
    own.add_argument(
        "--draws", type=count, default=1000, help="of subsets, for weighted votes; default: %(default)s"
    )
    own.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    own.set_defaults(run=run_show)


def _add_record(kinds: Any) -> None:
    own = kinds.add_parser(
        "record",
        help="record samples of an engine",
        description="Sample an engine on problems and write a pool; the same command goes on if cut off.",
        epilog=_RECORD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument(
        "--problems",
        default="tiny",
        metavar="SOURCE",
        help='"tiny" (the default), a JSONL file of problems, or a data set such as math500',
    )
    own.add_argument("--count", type=count, metavar="N", help="the first N problems")
    own.add_argument("--split", default="test", help='of "tiny" or a data set; default: %(default)s')
    own.add_argument("--samples", type=count, required=True, metavar="S", help="of each problem")
    own.add_argument("--out", type=Path, required=True, metavar="POOL", help="the file to write")
    verifiers = {"metavar": "MODEL", "default": "tiny"}
    one = '"tiny" (the default), a folder, a table such as { adapter = "equations" }, or "none"'
    own.add_argument("--prm", **verifiers, help=f"a process verifier: {one}")
    own.add_argument("--orm", **verifiers, help=f"an outcome verifier: {one}")
    own.add_argument("--temperature", type=float, default=1.0, help="default: %(default)s")
    own.add_argument(
        "--max-tokens", type=count, default=256, metavar="N", help="of a solution; default: %(default)s"
    )
    own.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    models.add_grader(own)
    models.add(own, "tiny")
    own.set_defaults(run=run_record)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name, value


def _counts(text: str) -> list[int]:
    return sorted({count(part) for part in text.split(",")})


def run_formats(args: argparse.Namespace) -> int:
    """Print the registry of formats."""
    from mull.pools.adapters import adapters

    for found in adapters().values():
        print(f"{found.name}{'  (takes --map)' if found.maps else ''}")
        print(f"    {found.summary}")
        for name, what in found.settings.items():
            print(f"    --set {name}=...: {what}")
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Import, and say what was written."""
    from mull.errors import MullError
    from mull.pools import Asked, import_pool

    scales = dict(args.scale)
    if bad := [
        f"{name}={scale}" for name, scale in scales.items() if scale not in ("unit", "logit", "ratio")
    ]:
        raise MullError(f"--scale {bad[0]}: a scale is unit, logit or ratio")
    asked = Asked(args.path, dict(args.map), dict(args.set))
    made = import_pool(asked, args.format, args.out, scales=scales, say=_teller())
    print(f"pool: {args.out} ({made.problems} problems, {made.rows} samples)")
    return 0


def _teller() -> Callable[[int], None]:
    """Says the samples so far on standard error, every few seconds."""
    last = time.monotonic()

    def say(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 3:
            last = time.monotonic()
            print(f"mull: {rows} samples read", file=sys.stderr, flush=True)

    return say


def run_show(args: argparse.Namespace) -> int:
    """Print a pool's summary."""
    from mull.pools import read_pool, summarize

    found = summarize(
        read_pool(args.pool, samples=args.samples, empty=args.empty),
        ks=args.k,
        draws=args.draws,
        seed=args.seed,
    )
    if args.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False)
    for part in _tables(found):
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)
    return 0


def _tables(found: dict[str, Any]) -> list[Any]:
    """The summary as lines and tables."""
    from rich.table import Table

    parts: list[Any] = [
        f"{found['problems']} problems x {found['samples']} samples ({found['source'] or 'a pool'})"
    ]
    named = ("pass@k", "majority@k", "majority_answered@k")
    rows: dict[str, Any] = {name: found[name] for name in named if found.get(name)}
    for name in ("best_of_n@k", "best_of_n_weighted@k"):
        rows |= {f"{name.removesuffix('@k')} by {score}": by for score, by in found.get(name, {}).items()}
    if rows:
        ks = list(found["pass@k"])
        table = Table("accuracy", *(f"k = {k}" for k in ks), box=None, pad_edge=False)
        for name, by in rows.items():
            low, high = found.get(f"{name}_ci95", {}).get(ks[-1], (None, None))
            ends = f" [{low:.3f}, {high:.3f}]" if low is not None else ""
            table.add_row(name, *(f"{by[k]:.3f}{ends if k == ks[-1] else ''}" for k in ks))
        parts.append(table)
        draws = found["resampled"]
        if draws["votes_at"]:
            parts.append(f"weighted votes: over {draws['draws']} drawn subsets (seed {draws['seed']})")
    if found["tokens"]:
        t = found["tokens"]
        parts.append(
            f"tokens: mean {t['mean']:.0f}, median {t['median']:.0f}, 90th percentile {t['p90']:.0f}, "
            f"largest {t['max']} ({t['share_at_cap']:.1%} at a cap)"
        )
    if "difficulty" in found:
        hard = found["difficulty"]
        table = Table(
            "pass@1", *(f"{b['from']:.1f}-{b['to']:.1f}" for b in hard["histogram"]), box=None, pad_edge=False
        )
        table.add_row("problems", *(str(b["problems"]) for b in hard["histogram"]))
        parts += [
            table,
            f"never right on {hard['never_right']}, always right on {hard['always_right']} problems",
        ]
    for name in ("auroc", "step_auroc", "behaviour", "search", "solved_by_trial"):
        if name in found:
            parts.append(f"{name.replace('_', ' ')}: {_shown(found[name])}")
    return parts + [f"warning: {warning}" for warning in found["warnings"]]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.4f}" for name, number in value.items())
    return " ".join(map(str, value))


def run_record(args: argparse.Namespace) -> int:
    """Record, and say what was written."""
    import asyncio

    from mull.grading import grader
    from mull.models import engine, ready, verifier
    from mull.pools import Recording, record
    from mull.study.progress import reporter

    grader(args.grader)
    problems = _problems(args.problems, args.count, args.split)
    named = {role: where for role, where in (("prm", args.prm), ("orm", args.orm)) if where != "none"}
    verifiers = {r: verifier(models.verifier(where, f"--{r}"), r) for r, where in named.items()}  # type: ignore[arg-type]
    chosen = asyncio.run(ready(models.engine(args) or "tiny"))
    recording = Recording(
        problems,
        engine(chosen),
        args.samples,
        verifiers,
        tuple(name for name, v in verifiers.items() if getattr(v, "kind", "process") == "process"),
        seed=args.seed,
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        grader=args.grader,
    )
    try:
        made = record(recording, args.out, say=reporter())
    except KeyboardInterrupt:
        print("\nmull: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"pool: {args.out} ({made.problems} problems, {made.rows} samples)")
    return 0


def _problems(source: str, count: int | None, split: str) -> Any:
    from mull.study.config import load_problems

    path = Path(source)
    if source == "tiny" or path.suffix != ".jsonl":
        return load_problems(source, count, split)
    from mull.pools import load_problem_set

    return load_problem_set(path, graded=False)[:count]
