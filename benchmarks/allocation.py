"""Allocation across problems on real pools: accuracy against tokens on held-out problems, and where it pays.

    python benchmarks/allocation.py --out /tmp/allocation          all ten pools
    python benchmarks/allocation.py --only math500_Qwen3-14B --splits 5

Reads ../shared/data/boinf (and problems/math500.jsonl for the texts of its MATH-500 pools). Everything is
fitted on one half of the problems and measured on the other, over random two-fold splits; each half spends
its own total budget. Intervals are paired bootstraps over problems.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mull.allocation.held import Held, measure
from mull.pools import Asked, import_pool, read_pool
from mull.replay import Recorded
from mull.replay.ledger import Values
from mull.study import bootstrap

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
BUDGETS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
SHOWN = ("uniform", "marginal", "bins", "lead", "posterior", "text", "stream")
#: Costs of being wrong are drawn log-normal, so that a tenth of the problems carries half of all cost.
SPREAD = 1.5


def load(name: str, work: Path) -> tuple[Recorded, list[str] | None]:
    """A pool, and its problems' texts where there are any."""
    path = work / f"{name}.parquet"
    settings = {"problems": str(DATA / "problems" / "math500.jsonl")} if name.startswith("math500") else {}
    import_pool(Asked(DATA / "boinf" / f"analysis_{name}.jsonl.gz", settings=settings), "boinf", path)
    data = read_pool(path, large=True)
    texts = data.frame["prompt"].gather_every(data.samples).to_list() if settings else None
    return Recorded.of(data), texts


def needed(lines: np.ndarray, tokens: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The fewest tokens [B] at which a line's accuracy [B, points] reaches the target [B]; inf if never."""
    best = np.maximum.accumulate(lines, axis=1)
    found = np.full(len(best), np.inf)
    for row in range(len(best)):
        at = int(np.searchsorted(best[row], target[row] - 1e-9))
        if at == 0:
            found[row] = tokens[row, 0]
        elif at < best.shape[1]:
            low, high = best[row, at - 1 : at + 1]
            share = (target[row] - low) / max(high - low, 1e-12)
            found[row] = tokens[row, at - 1] + share * (tokens[row, at] - tokens[row, at - 1])
    return found


def saving(line: Sequence[Values], base: Sequence[Values], place: int, shares: np.ndarray) -> list[float]:
    """How many times fewer tokens ``line`` needs for the accuracy of ``base[place]``; mean and interval."""
    every = np.concatenate([np.full((1, shares.shape[1]), 1.0 / shares.shape[1]), shares])
    points = sorted(line, key=lambda values: float(values.tokens.mean()))
    rights, costs = (
        np.stack([every @ getattr(v, part) for v in points], axis=1) for part in ("right", "tokens")
    )
    ratio = (every @ base[place].tokens) / needed(rights, costs, every @ base[place].right)
    return [float(ratio[0]), *(float(x) for x in np.percentile(ratio[1:], [2.5, 97.5]))]


def calibration(rows: np.ndarray) -> dict[str, list[list[float]]]:
    """Foretold against realised, in groups by what was foretold: [foretold, realised, share of rows]."""
    found = {}
    for name, said, came, ends in (
        ("right", rows[:, 1], rows[:, 2], [0.4, 0.6, 0.8, 0.9, 0.97]),
        ("gain", rows[:, 3], rows[:, 4], [-0.0005, 0.001, 0.01, 0.03, 0.08, 0.2]),
    ):
        group = np.searchsorted(ends, said)
        found[name] = [
            [float(said[group == g].mean()), float(came[group == g].mean()), float((group == g).mean())]
            for g in range(len(ends) + 1)
            if (group == g).any()
        ]
    return found


def one(name: str, work: Path, splits: int, draws: int) -> dict[str, Any]:
    """Everything about one pool."""
    began = time.process_time()
    recorded, texts = load(name, work)
    problems, _ = recorded.shape
    unit = float(recorded.tokens.mean())
    budgets = [b * unit for b in BUDGETS]
    costs = np.random.default_rng(5).lognormal(0.0, SPREAD, problems)
    held = measure(recorded, budgets, costs=costs, texts=texts, count=splits, seed=1)
    shares = bootstrap.weights(problems, draws, seed=2)
    rows = []
    for at in range(len(budgets)):
        row: dict[str, Any] = {"budget": BUDGETS[at]}
        own = held.lines["posterior"][at]
        for rule in SHOWN:
            values = held.at(rule, at, float(own.tokens.mean())) if rule in held.lines else None
            if values is None:
                continue
            row[rule] = {
                "accuracy": float(values.right.mean()),
                "tokens": float(values.tokens.mean()) / unit,
                "posterior_ahead": interval(bootstrap.difference_ci95(own.right, values.right, shares)),
            }
        aware = held.lines["consequence"][at]
        weight = costs / costs.mean()
        row["loss"] = {
            "plain": float((weight * (1 - own.right)).mean()),
            "aware": float((weight * (1 - aware.right)).mean()),
            "less": interval(bootstrap.difference_ci95(weight * aware.right, weight * own.right, shares)),
        }
        rows.append(row)
    base = held.lines["uniform"]
    return {
        "pool": name,
        "problems": problems,
        "unit": unit,
        "rows": rows,
        "saving": {
            f"{rule} vs uniform@{n}": saving(held.lines[rule], base, place, shares)
            for rule in ("posterior", "text", "stream", "lead", "bins", "marginal")
            if rule in held.lines
            for place, n in ((3, 4), (7, 16))
        },
        "slopes": np.unique([m.slope for m in held.models], return_counts=True)[0].tolist(),
        "lifts": np.bincount([m.lift for m in held.models], minlength=3).tolist(),
        "calibration": calibration(held.foretold),
        "got": got(held),
        "cpu_s": time.process_time() - began,
    }


def got(held: Held) -> dict[str, list[float]]:
    """Shares of problems that began 1, 2, 3-4, 5-8, 9-16, 17 and more samples at a budget of 4."""
    ends = [0, 2, 3, 5, 9, 17, 65]
    at = BUDGETS.index(4.0)
    return {
        rule: [float(shares[at][low:high].sum()) for low, high in pairwise(ends)]
        for rule, shares in held.got.items()
    }


def interval(found: bootstrap.Interval) -> list[float]:
    return [found.mean, found.low, found.high]


def table(rows: list[dict[str, Any]]) -> str:
    """The page's tables, as Markdown."""
    text = [
        "| pool | budget | " + " | ".join(SHOWN) + " | posterior - uniform | posterior - marginal | "
        "posterior - lead |"
    ]
    text.append("|" + "---|" * (len(SHOWN) + 5))
    for found in rows:
        for row in found["rows"]:
            if row["budget"] not in (1.5, 2.0, 4.0, 8.0, 16.0):
                continue
            cells = [f"{row[r]['accuracy']:.4f}" if r in row else "" for r in SHOWN]
            ahead = [
                "{:+.4f} [{:+.4f}, {:+.4f}]".format(*row[r]["posterior_ahead"]) if r in row else ""
                for r in ("uniform", "marginal", "lead")
            ]
            text.append(f"| {found['pool']} | {row['budget']:g} | " + " | ".join(cells + ahead) + " |")
    names = list(dict.fromkeys(name for found in rows for name in found["saving"]))
    text += ["", "| pool | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for found in rows:
        cells = [
            "{:.2f}x [{:.2f}, {:.2f}]".format(*found["saving"][n]) if n in found["saving"] else ""
            for n in names
        ]
        text.append(f"| {found['pool']} | " + " | ".join(cells) + " |")
    text += ["", "| pool | budget | loss, plain | loss, aware | less |", "|---|---|---|---|---|"]
    for found in rows:
        for row in found["rows"]:
            if row["budget"] in (2.0, 4.0, 8.0):
                loss = row["loss"]
                text.append(
                    f"| {found['pool']} | {row['budget']:g} | {loss['plain']:.4f} | {loss['aware']:.4f} | "
                    + "{:+.4f} [{:+.4f}, {:+.4f}] |".format(*loss["less"])
                )
    text += ["", "| pool | foretold: realised, P(leader right) | foretold: realised, gain of 8 more |"]
    text.append("|---|---|---|")
    for found in rows:
        cells = [
            ", ".join(f"{said:.3f}: {came:.3f}" for said, came, _ in found["calibration"][what])
            for what in ("right", "gain")
        ]
        text.append(f"| {found['pool']} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="where to put table.md and results.json")
    parser.add_argument("--only", help="a part of the pools' names")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=1000)
    args = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is absent; this benchmark reads recorded samples from there")
    names = sorted(
        p.name.removeprefix("analysis_").removesuffix(".jsonl.gz") for p in (DATA / "boinf").glob("*.gz")
    )
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            if args.only is None or args.only in name:
                rows.append(one(name, Path(work), args.splits, args.draws))
                print(f"{name}: {rows[-1]['cpu_s']:.1f} s of CPU time", flush=True)
                if args.out:
                    args.out.mkdir(parents=True, exist_ok=True)
                    (args.out / "table.md").write_text(table(rows) + "\n")
                    (args.out / "results.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))
    print(f"all: {sum(row['cpu_s'] for row in rows):.1f} s of CPU time")


if __name__ == "__main__":
    main()
