"""Choosing one of 100 recorded HumanEval programs: by tests passed, by behaviour, by both.

Prints accuracy with all 100 programs of every problem, ties split evenly, with 95 % intervals
(bootstrap over problems, differences paired), and accuracy against the number of programs.
With ``--execute N`` N programs of every problem are run again and compared with their labels.
``python benchmarks/codet.py FOLDER [--execute N] [--draws N]``
"""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mull.execution import (
    Recorded,
    agreement,
    assemble,
    classes,
    expected,
    humaneval_suite,
    load_codet,
    pass_counts,
    run_many,
    votes,
)
from mull.study import bootstrap, estimators

Floats = NDArray[np.float64]
SIZES = (1, 2, 4, 8, 16, 32, 64, 100)
#: The score of a class of behaviours from its size and the tests its programs pass.
RULES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "tests passed": lambda size, tests: tests + 0 * size,
    "behaviour majority": lambda size, tests: size + 0 * tests,
    "agreement x tests": lambda size, tests: size * tests,
}


def scores(row: Recorded) -> dict[str, Floats]:
    """Each rule's score of every program of the problem."""
    behaviour = classes(row.results)
    tests, counted = pass_counts(row.passed), pass_counts(row.passed, row.counts)
    return {
        "one program, drawn": np.zeros(len(row.results)),
        "tests passed": tests,
        "behaviour majority": votes(behaviour),
        "agreement x tests": agreement(behaviour, tests),
        "agreement^.5 x tests as often written": agreement(behaviour, counted, 0.5),
    }


def curve(row: Recorded, members: dict[int, Floats]) -> dict[str, list[float]]:
    """Each rule's accuracy with n of the problem's programs, over drawn subsets, ties split evenly.

    ``members``: by n, 0/1 [S, R], a column a subset.
    """
    behaviour = classes(row.results)
    onehot = (behaviour == np.arange(behaviour.max() + 1)[:, None]).astype(float)
    tests = (onehot @ pass_counts(row.passed) / onehot.sum(axis=1))[:, None]
    found: dict[str, list[float]] = {name: [] for name in RULES}
    for subset in members.values():
        size, right = onehot @ subset, (onehot * row.correct) @ subset
        for name, rule in RULES.items():
            score = np.where(size > 0, rule(size, tests), -1.0)
            wins = score == score.max(axis=0)
            found[name].append(float(((right * wins).sum(axis=0) / (size * wins).sum(axis=0)).mean()))
    return found


def execute(rows: tuple[Recorded, ...], count: int, workers: int) -> None:
    """Run the first few programs of every problem again, and print where labels differ."""
    jobs, labels = [], []
    for row in rows:
        programs = [assemble(row.problem, text) for text in row.completions[:count]]
        jobs.append((programs, humaneval_suite(row.problem)))
        labels.append([letter.lower() for letter in row.official[:count]])
        if row.tests:
            jobs.append((programs, humaneval_suite(row.problem, row.tests)))
            labels.append([letters.replace("x", "e") for letters in row.results[:count]])
    differ: Counter[str] = Counter()
    total = 0
    for job, label in zip(run_many(jobs, workers=workers), labels, strict=True):
        for outcome, letters in zip(job, label, strict=True):
            total += len(letters)
            differ += Counter(f"{a} -> {b}" for a, b in zip(letters, outcome.letters, strict=True) if a != b)
    print(f"\nexecuted again: {total} verdicts, {differ.total()} differ from the label {dict(differ)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--execute", type=int, default=0, help="programs a problem to run again")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--draws", type=int, default=200, help="subsets for each number of programs")
    args = parser.parse_args()
    rows = load_codet(args.folder)
    shares = bootstrap.weights(len(rows), 10_000)
    found = {
        name: np.array([expected(scores(row)[name], row.correct) for row in rows]) for name in scores(rows[0])
    }
    found["some program is right"] = np.array([float(row.correct.any()) for row in rows])
    drawn = found["one program, drawn"]
    print(f"{len(rows)} problems x {len(rows[0].completions)} programs\n")
    print(f"{'rule':38}{'accuracy':>9}   95 % interval      over one drawn")
    for name, values in found.items():
        own, over = bootstrap.mean_ci95(values, shares), bootstrap.difference_ci95(values, drawn, shares)
        print(
            f"{name:38}{own.mean:9.4f}   {own.low:.3f} to {own.high:.3f}"
            f"   {over.mean:+.3f} ({over.low:+.3f} to {over.high:+.3f})"
        )
    size = len(rows[0].completions)
    draws = estimators.draw(size, args.draws)
    sizes = [n for n in SIZES if n <= size]
    members = {n: draws.members(n).astype(float) for n in sizes}
    curves = [curve(row, members) for row in rows]
    print(f"\n{'programs':20}" + "".join(f"{n:7}" for n in sizes))
    for name in RULES:
        print(f"{name:20}" + "".join(f"{value:7.3f}" for value in np.mean([c[name] for c in curves], axis=0)))
    wrong = [size - int(row.correct.sum()) for row in rows]
    passes = [np.mean([1 - _none(size, bad, n) for bad in wrong]) for n in sizes]
    print(f"{'some one is right':20}" + "".join(f"{value:7.3f}" for value in passes))
    if args.execute:
        execute(rows, args.execute, args.workers)


def _none(size: int, wrong: int, n: int) -> float:
    """The chance that n of the programs, drawn without replacement, are all wrong."""
    return float(np.prod([(wrong - i) / (size - i) for i in range(n)])) if wrong >= n else 0.0


if __name__ == "__main__":
    main()
