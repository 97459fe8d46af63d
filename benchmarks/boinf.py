"""Stopping rules on real pools: accuracy against tokens on held-out problems, a figure a pool and one table.

    python benchmarks/boinf.py --out /tmp/boinf                all ten pools
    python benchmarks/boinf.py --only aime2024_gpt-oss-20b

Reads ../shared/data/boinf. mull's rule and the width-and-depth controller are fitted on one half of the
problems and measured on the other, over 20 random splits; the other rules have nothing to fit and are
drawn at all their settings. Intervals are paired bootstraps over problems. The form of mull's rule and
the headline's price were chosen on the five pools marked d (--design runs these alone).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mull.pools import Asked, import_pool, read_pool
from mull.replay import Recorded
from mull.replay.compare import beside, versus
from mull.replay.controllers import learned_width_depth
from mull.replay.learn import learned_marginal
from mull.replay.ledger import Ledger, Values, held_out
from mull.strategies import Arm
from mull.study import bootstrap

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "boinf"
N = 64
DESIGN = (
    "aime2024_gpt-oss-20b", "aime2025_LIMO-v2", "gpqa_diamond_gpt-oss-20b",
    "math500_Phi-4-reasoning", "math500_Qwen3-14B",
)  # fmt: skip
#: mull's line: what a sample must bring. HEADLINE is the one that the table is about.
PRICES = (0.3, 0.2, 0.14, 0.1, 0.07, 0.05, 0.035, 0.025, 0.0175, 0.0125, 0.008, 0.005, 0.002, 0.0005)
HEADLINE = 0.025
FIXED: dict[str, list[Arm]] = {
    "majority": [Arm("majority", n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)],
    "first-k finishers": [
        Arm("shortest_first", n, (("k", k),))
        for n in (2, 4, 8, 16, 32, 64)
        for k in sorted({max(1, n // 4), n // 2, 3 * n // 4})
    ],
    "Adaptive-Consistency": [
        Arm("adaptive_consistency", N, (("threshold", t),)) for t in (0.7, 0.8, 0.85, 0.9, 0.95, 0.99)
    ],
    "early stopping (ESC)": [Arm("early_stopping", N, (("window", w),)) for w in (2, 3, 4, 5, 8)],
    "Bayesian stop": [Arm("bayes_stop", N, (("threshold", t),)) for t in (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)],
}
INKS = {
    "majority": "#5c6066", "first-k finishers": "#b87800", "Adaptive-Consistency": "#00795a",
    "early stopping (ESC)": "#9a4f8c", "Bayesian stop": "#2f8fc4", "width and depth": "#c4481a",
    "mull": "#1b1c1e",
}  # fmt: skip


def measure(name: str, splits: int, draws: int, work: Path) -> dict[str, Any]:
    """Everything about one pool."""
    began = time.process_time()
    path = work / f"{name}.parquet"
    import_pool(Asked(DATA / f"analysis_{name}.jsonl.gz"), "boinf", path)
    recorded = Recorded.of(read_pool(path))
    problems, samples = recorded.shape
    runs = max(20, -(-3000 // problems))
    ledger = Ledger(recorded.draw(runs, N, seed=1))
    unit = float(recorded.tokens.mean())
    shares = bootstrap.weights(problems, draws, seed=2)
    lines: dict[str, list[tuple[str, Values]]] = {
        label: [(str(arm), ledger.values(arm)) for arm in arms] for label, arms in FIXED.items()
    }
    lines["width and depth"] = [
        (f"learned_width_depth(cost={c})", held_out(ledger, learned_width_depth(N, c), splits).values)
        for c in (0.02, 0.005, 0.001, 0.0002)
    ]
    own = {p: held_out(ledger, learned_marginal(N, p), splits) for p in PRICES}
    lines["mull"] = [(f"learned_marginal(price={p})", found.values) for p, found in own.items()]
    base = ledger.values(Arm("majority", N))
    head = own[HEADLINE]
    against = versus(head.values, base, shares)
    others = [point for label, points in lines.items() if label != "mull" for point in points]
    frontier = beside([values for _, values in lines["mull"]], others, shares)
    return {
        "pool": name,
        "design": name in DESIGN,
        "problems": problems,
        "samples": samples,
        "runs": runs,
        "unit": unit,
        "base": interval(bootstrap.mean_ci95(base.right, shares)),
        "head": interval(bootstrap.mean_ci95(head.values.right, shares)),
        "head_tokens": float(head.values.tokens.mean()) / unit,
        "chosen": [(str(arm), count) for arm, count in head.chosen.most_common(3)],
        "difference": interval(against.accuracy),
        "saving": interval(against.saving),
        "lines": {
            label: [
                {
                    "rule": rule,
                    "tokens": float(values.tokens.mean()) / unit,
                    "generations": float(values.generations.mean()),
                    "accuracy": interval(bootstrap.mean_ci95(values.right, shares)),
                }
                for rule, values in points
            ]
            for label, points in lines.items()
        },
        "beside": [
            {
                "rule": b.rule,
                "tokens": b.tokens / unit,
                "accuracy": b.accuracy,
                "lead": None if b.lead is None else interval(b.lead),
                "below": b.below,
            }
            for b in frontier
        ],
        "cpu_s": time.process_time() - began,
    }


def interval(found: bootstrap.Interval) -> list[float]:
    return [found.mean, found.low, found.high]


def draw(found: dict[str, Any], out: Path) -> None:
    """Accuracy against tokens, log scale; mull's line with its band."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "mull", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.6))
    for label, points in found["lines"].items():
        points = sorted(points, key=lambda p: p["tokens"])
        x, y = [p["tokens"] for p in points], [p["accuracy"][0] for p in points]
        line = "none" if label == "first-k finishers" else "-"
        width = 2.4 if label == "mull" else 1.2
        axes.plot(x, y, linestyle=line, marker="o", ms=3.5, lw=width, color=INKS[label], label=label)
        if label == "mull":
            low, high = ([p["accuracy"][end] for p in points] for end in (1, 2))
            axes.fill_between(x, low, high, color=INKS[label], alpha=0.08, lw=0)
    axes.axhline(found["base"][0], color=INKS["majority"], lw=0.8, ls=":")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.set_xlabel(f"tokens a problem, in mean samples ({found['unit']:.0f} tokens)")
    axes.set_ylabel("accuracy on held-out problems")
    axes.set_title(
        f"{found['pool']}: {found['problems']} problems x {found['samples']} samples", loc="left", fontsize=10
    )
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(out / f"{found['pool']}.svg", metadata={"Date": None})
    plt.close(figure)


def table(rows: list[dict[str, Any]]) -> str:
    """One line a pool, as Markdown."""
    text = [
        f"| pool | majority@{N} | mull's rule | difference | tokens (mean samples) | fewer tokens | "
        "frontier points above / under mull's line for sure | worst lead |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        known = [b for b in row["beside"] if b["lead"]]
        worst = min(known, key=lambda b: float(b["lead"][0]))
        above = sum(b["below"] for b in known)
        under = sum(b["lead"][1] > 1e-9 for b in known)
        d, s, w = row["difference"], row["saving"], worst["lead"]
        text.append(
            f"| {row['pool']}{' (d)' * row['design']} | {row['base'][0]:.4f} | {row['head'][0]:.4f} | "
            f"{d[0]:+.4f} [{d[1]:+.4f}, {d[2]:+.4f}] | {row['head_tokens']:.1f} | "
            f"{s[0]:.1f}x [{s[1]:.1f}, {s[2]:.1f}] | {above} / {under} of {len(known)} | "
            f"{w[0]:+.4f} [{w[1]:+.4f}, {w[2]:+.4f}] at {worst['rule']} |"
        )
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="where to put figures (SVG), table.md and results.json")
    parser.add_argument("--only", help="a part of the pools' names")
    parser.add_argument(
        "--design", action="store_true", help="only the pools that the rule's form was chosen on"
    )
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=1000)
    args = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is absent; this benchmark reads recorded samples from there")
    names = sorted(
        path.name.removeprefix("analysis_").removesuffix(".jsonl.gz") for path in DATA.glob("*.gz")
    )
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            if (args.only is None or args.only in name) and (name in DESIGN or not args.design):
                rows.append(measure(name, args.splits, args.draws, Path(work)))
                print(f"{name}: {rows[-1]['cpu_s']:.1f} s of CPU time", flush=True)
    text = table(rows)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "table.md").write_text(text + "\n")
        (args.out / "results.json").write_text(json.dumps(rows, indent=1))
        for row in rows:
            draw(row, args.out)
    print(f"all: {np.sum([row['cpu_s'] for row in rows]):.1f} s of CPU time")


if __name__ == "__main__":
    main()
