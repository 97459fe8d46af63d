"""Importing a large pool: samples a second and the most memory held, on generated data.

    python benchmarks/pool_import.py                 10 million samples, as JSON lines
    python benchmarks/pool_import.py --form parquet                     the same as Parquet
    python benchmarks/pool_import.py --form parquet --group 10000000    in one row group

Generates the input first, then imports it in a process of its own, whose peak memory (ru_maxrss)
it prints; a second import of a tenth of the input shows what memory does not grow with.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EACH = 1000  # samples a problem
GROUP = 1 << 18  # rows of a Parquet input made at a time, and of its row groups
#: What the importing process runs; it prints its CPU seconds and its peak memory in MB.
IMPORT = """
import resource, sys, time
from pathlib import Path
from mull.pools import Asked, import_pool
made = import_pool(Asked(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3]))
used = resource.getrusage(resource.RUSAGE_SELF)
print(made.rows, made.problems, time.process_time(), used.ru_maxrss / 1024)
"""


def lines(samples: int, path: Path) -> None:
    """JSON lines of samples: answers with a heavy tail, tokens, a score and a short text."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, samples, EACH):
            count = min(EACH, samples - first)
            answers = np.minimum(rng.pareto(1.2, count), 500).astype(int)
            tokens, scores = rng.integers(50, 4000, count), rng.random(count).round(4)
            name = f"problem-{first // EACH}"
            file.writelines(
                json.dumps(
                    {
                        "problem": name,
                        "answer": str(answer),
                        "correct": bool(answer == 0),
                        "tokens": int(count),
                        "text": f"step one of sample {at}, then {answer}",
                        "scores": {"rm": float(score)},
                    }
                )
                + "\n"
                for at, (answer, count, score) in enumerate(zip(answers, tokens, scores, strict=True))
            )


def columns(samples: int, path: Path, group: int) -> None:
    """The same kind of samples as a Parquet file of row groups of ``group`` rows."""
    import polars as pl

    rng = np.random.default_rng(0)
    parts = []
    for first in range(0, samples, GROUP):
        count = min(GROUP, samples - first)
        answers = np.minimum(rng.pareto(1.2, count), 500).astype(int)
        frame = pl.DataFrame(
            {
                "problem": np.arange(first, first + count) // EACH,
                "answer": answers,
                "correct": answers == 0,
                "tokens": rng.integers(50, 4000, count),
                "rm": rng.random(count),
                "at": np.arange(count),
            }
        ).select(
            pl.format("problem-{}", "problem").alias("problem"),
            pl.col("answer").cast(pl.String),
            "correct",
            "tokens",
            pl.format("step one of sample {}, then {}", "at", "answer").alias("text"),
            pl.struct("rm").alias("scores"),
        )
        parts.append(path.with_suffix(f".{len(parts)}.part"))
        frame.write_parquet(parts[-1])
    pl.scan_parquet(parts, glob=False).sink_parquet(path, row_group_size=group)
    for part in parts:
        part.unlink()


def measured(path: Path, form: str, out: Path) -> tuple[int, int, float, float, float]:
    """Rows, problems, CPU seconds, wall seconds and peak MB of an import in its own process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(path), form, str(out)], capture_output=True, text=True, check=True
    )
    rows, problems, busy, peak = done.stdout.split()
    return int(rows), int(problems), float(busy), time.perf_counter() - began, float(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--form", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--group", type=int, default=GROUP, help="rows in a row group of a Parquet input")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for samples in (args.samples // 10, args.samples):
            path, out = Path(place) / f"in.{args.form}", Path(place) / "out.parquet"
            if args.form == "jsonl":
                lines(samples, path)
            else:
                columns(samples, path, args.group)
            rows, problems, busy, wall, peak = measured(path, args.form, out)
            print(
                f"{args.form}: {rows} samples of {problems} problems, "
                f"{path.stat().st_size / 2**20:.0f} MB -> {out.stat().st_size / 2**20:.0f} MB: "
                f"{rows / busy:.0f} samples a CPU second ({busy:.0f} s CPU, {wall:.0f} s wall), "
                f"peak memory {peak:.0f} MB",
                flush=True,
            )
    own = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"the most memory of any process it started: {own:.0f} MB")


if __name__ == "__main__":
    main()
