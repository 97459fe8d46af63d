"""How many programs a second the sandbox runs, beside one fresh Python process a program.

The fresh process is ``python -I`` on the program and its tests in one text, as harnesses commonly
do it: no isolation, and a program that ends with status 0 passes. All figures are CPU time of this
process and all that it starts, the sandbox's own start included, so that a busy machine blurs them
less. ``python benchmarks/execution.py [--codet FOLDER] [--programs N] [--repeats N]``
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from mull.execution import Limits, Sandbox, Suite, assemble, humaneval_suite, load_codet, run_many

BODIES = (
    "return sorted(xs)[: len(xs) // 2]",
    "return [x * x for x in xs if x % 2 == 0]",
    "total = 0\n    for x in xs:\n        total += x\n    return total",
    "seen = set()\n    return [x for x in xs if not (x in seen or seen.add(x))]",
    "return max(xs, default=None)",
    "import math\n    return math.prod(x or 1 for x in xs)",
)
Job = tuple[list[str], Suite]


def generated(count: int) -> list[Job]:
    """``count`` small functions on lists of integers, and ``check`` on 10 inputs; half of them pass."""
    programs = [
        f"from typing import List\n\ndef f(xs: List[int]):\n    {BODIES[i % len(BODIES)]}\n# {i}\n"
        for i in range(count)
    ]
    lines = "".join(f"    assert isinstance(candidate(list(range({n}))), list)\n" for n in range(10))
    return [(programs, Suite(("f",), (f"def check(candidate):\n{lines}check(f)",)))]


def recorded(folder: Path, count: int) -> list[Job]:
    """The first few different programs of every recorded problem whose labels show no time-out."""
    rows = load_codet(folder)
    jobs = []
    for row in rows:
        kept = {
            assemble(row.problem, text): None
            for text, label in zip(row.completions, row.official, strict=True)
            if label in "pfeE"
        }
        jobs.append((list(kept)[: -(-count // len(rows))], humaneval_suite(row.problem)))
    return jobs


def sandboxed(jobs: list[Job]) -> list[bool]:
    return [outcome.passed for job in run_many(jobs, Limits(cpu_seconds=3)) for outcome in job]


def fresh(jobs: list[Job]) -> list[bool]:
    def passes(text: str) -> bool:
        quiet = subprocess.DEVNULL
        command = [sys.executable, "-I", "-c", text]
        return not subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=120).returncode

    return [passes(f"{program}\n\n{suite.tests[0]}") for programs, suite in jobs for program in programs]


def cpu(work: Callable[[list[Job]], list[bool]], jobs: list[Job]) -> tuple[list[bool], float]:
    """What the work returned, and its CPU seconds, ended children's included."""

    def used() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + ended.ru_utime + ended.ru_stime

    start = used()
    return work(jobs), used() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--codet", type=Path, help="folder with recorded HumanEval programs in CodeT's format"
    )
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    jobs = recorded(args.codet, args.programs) if args.codet else generated(args.programs)
    count = sum(len(programs) for programs, _ in jobs)
    with Sandbox() as sandbox:
        print(f"{count} programs, {len(jobs)} problems; isolation: {sandbox.level}")
    ours, theirs, same = [], [], 0
    for _ in range(args.repeats):
        verdicts, seconds = cpu(sandboxed, jobs)
        ours.append(count / seconds)
        plain, seconds = cpu(fresh, jobs)
        theirs.append(count / seconds)
        same = sum(a == b for a, b in zip(verdicts, plain, strict=True))
    for name, rates in (("sandbox", ours), ("fresh process", theirs)):
        print(f"{name:14} {median(rates):7.0f} programs a CPU second  ({min(rates):.0f} to {max(rates):.0f})")
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"ratio          {median(ratios):7.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f}), {args.repeats} runs")
    print(f"same verdict on {same} of {count}")


if __name__ == "__main__":
    main()
