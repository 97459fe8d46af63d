"""What the cheap form spares: judgements a second against math-verify's, and the share it decides.

Run as ``python benchmarks/grading.py [DATA]``; DATA is a folder with ``boinf`` and
``grader_pairs``, by default ``../shared/data`` beside the repository. Times are processor
time, of the workers too; their start is not counted. Needs the extra ``math``.
"""

from __future__ import annotations

import gzip
import json
import random
import statistics
import sys
import time
from pathlib import Path

from mull.grading import PRESETS, MathVerify, classes, equal
from mull.grading.equal import decided
from mull.grading.form import read
from mull.grading.latex import clean
from mull.grading.strings import hendrycks, prm800k
from mull.grading.worker import DEFAULTS

SAMPLE, ROUNDS = 300, 5
MATH = PRESETS["math"]


def problems(data: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """By file of recorded answers: each problem's gold answer and its answers, repeated as given."""
    found = {}
    for path in sorted((data / "boinf").glob("*.jsonl.gz")):
        name = path.name.removeprefix("analysis_").removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        found[name] = [(row["gold_answer"], [a for a, _ in row["all_answers"] if a]) for row in rows]
    return found


def forget() -> None:
    for cached in (read, clean, hendrycks, prm800k):
        cached.cache_clear()


def spread(values: list[float], digits: int = 0) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def speeds(pairs: list[tuple[str, str]]) -> None:
    """Judgements a second of both on the same pairs, each answer seen for the first time."""
    cheap, dear = [], []
    for seed in range(ROUNDS):
        sample = random.Random(seed).sample(pairs, SAMPLE)
        forget()
        start = time.process_time()
        for gold, answer in sample:
            decided(gold, answer, MATH)
        cheap.append(SAMPLE / (time.process_time() - start))
        with MathVerify(1) as workers:
            start = time.process_time()
            spent = sum(workers.judge(gold, answer, DEFAULTS)[1] for gold, answer in sample)
            dear.append(SAMPLE / (spent + time.process_time() - start))
    print(f"{SAMPLE} different (gold, answer) pairs, median [lowest, highest] of {ROUNDS} draws")
    print(f"  cheap form         {spread(cheap)} judgements/s")
    print(f"  math-verify        {spread(dear)} judgements/s")
    print(f"  ratio              {spread([a / b for a, b in zip(cheap, dear, strict=True)])}")


def shares(name: str, pairs: list[tuple[str, str]]) -> None:
    """The share of pairs that the cheap form decides, under each preset."""
    row = [sum(decided(g, a, PRESETS[p]) is not None for g, a in pairs) / len(pairs) for p in PRESETS]
    print(f"  {name:38s} {len(pairs):7,d} " + " ".join(f"{share:11.1%}" for share in row))


def voting(name: str, answers: list[list[str]]) -> None:
    """The cost of making classes of every problem's answers."""
    with MathVerify(1) as workers:
        forget()
        start = time.process_time()
        merged = sum(len(set(a)) - len(classes(a, MATH, workers).sizes) for a in answers)
        spent = time.process_time() - start
        pairs = sum(len(set(a)) * (len(set(a)) - 1) // 2 for a in answers)
        print(
            f"  {name:38s} {sum(map(len, answers)):7,d} answers, {merged:4d} spellings merged, "
            f"{workers.judged:5,d} of {pairs:7,d} pairs asked, "
            f"{spent:.2f} s here, {workers.spent:.1f} s there"
        )


def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared" / "data"
    if not (data / "boinf").is_dir():
        sys.exit(f"{data} has no folder boinf; name the folder that does")
    files = problems(data)
    distinct = {name: [(g, a) for g, found in rows for a in set(found)] for name, rows in files.items()}
    speeds(sorted({pair for found in distinct.values() for pair in found}))
    print(f"\ndecided by the cheap form\n  {'':38s}   pairs " + " ".join(f"{p:>11s}" for p in PRESETS))
    lines = (data / "grader_pairs" / "grader_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [(p["gold"], p["pred"]) for p in map(json.loads, lines) if p["bare"]]
    shares("grader_pairs, without prose", examples)
    for name, found in distinct.items():
        shares(f"{name}, different", found)
    for name, rows in files.items():
        shares(f"{name}, all", [(g, a) for g, found in rows for a in found])
    print("\nclasses of each problem's answers")
    for name, rows in files.items():
        if name.startswith("math500"):
            voting(name, [found for _, found in rows])
    right = sum(bool(equal(g, a)) != (g == a) for pairs in distinct.values() for g, a in pairs)
    print(f"\nverdicts that differ from string equality: {right} of {sum(map(len, distinct.values())):,d}")


if __name__ == "__main__":
    main()
