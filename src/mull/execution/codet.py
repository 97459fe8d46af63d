"""Recorded programs in CodeT's format: completions, generated tests, and executed labels.

Reads a folder and checks that its files fit each other; runs and judges nothing.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mull.errors import MullError
from mull.problems import Problem

_PROBLEMS = "HumanEval_for_code_generation.jsonl"
_LABELS = "labels_executed_here.jsonl.gz"
_PROGRAMS = "*_code_solution.jsonl.gz"


@dataclass(frozen=True)
class Recorded:
    """One problem with S recorded completions and T generated tests.

    ``official`` [S]: a letter a program, p for right. ``results`` [S]: a string a program, a letter
    a generated test, p for passed. ``counts`` [T]: how often each test was generated.
    """

    problem: Problem
    completions: tuple[str, ...]
    official: str
    tests: tuple[str, ...]
    counts: tuple[int, ...]
    results: tuple[str, ...]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each program passes the official tests, [S]."""
        return np.array([letter == "p" for letter in self.official])

    @property
    def passed(self) -> NDArray[np.bool_]:
        """Whether each program passes each generated test, [S, T]."""
        table = [[letter == "p" for letter in row] for row in self.results]
        return np.array(table, bool).reshape(len(self.results), len(self.tests))


def load_codet(folder: Path) -> tuple[Recorded, ...]:
    """The folder's problems in task order; :class:`MullError` naming the file that is missing or wrong."""
    programs = sorted(folder.glob(_PROGRAMS))
    if len(programs) != 1:
        raise MullError(f"{folder}: {len(programs)} files {_PROGRAMS}; there should be one")
    completions = {row["prompt"]: row["samples"] for row in _rows(programs[0])}
    labels = {row["task_id"]: row for row in _rows(folder / _LABELS)}
    found = []
    for row in _rows(folder / _PROBLEMS):
        name = row["task_id"]
        try:
            samples, label = completions[row["prompt"]], labels[name]
            results = tuple(label["gen_results_by_completion"][i] for i in label["completion_id"])
        except (KeyError, IndexError):
            raise MullError(f"{folder}: no programs or no labels for {name}") from None
        sizes = {len(samples), len(label["official"]), len(results)}
        if len(sizes) > 1 or any(len(result) != len(label["gen_tests"]) for result in results):
            raise MullError(f"{folder}: the labels of {name} do not fit its programs and tests")
        meta = {"entry_point": row["entry_point"], "test": row["test"]}
        found.append(
            Recorded(
                Problem(name, row["prompt"], row["canonical_solution"], meta),
                tuple(samples),
                "".join(label["official"]),
                tuple(label["gen_tests"]),
                tuple(label["gen_test_counts"]),
                results,
            )
        )
    return tuple(found)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise MullError(f"{path} is not JSON lines: {error}") from None
