"""Programs with executed labels, as the CodeT HumanEval folder has them: a hundred a problem.

``labels_executed_here.jsonl.gz`` says for every program whether it passes the official tests
(``official``, p or not) and what each generated test did with it (a letter a test). From it:

- ``correct``: passes the official tests; ``behaviour``: the letters, which is what votes by
  behaviour compare; ``answer``: which different program it is ("program-12");
- ``scores.tests``: generated tests passed; ``scores.tests_weighted``: the same, a test counted as often as
  it was written (both counts, so their scale is "ratio"; a problem without generated tests has 0);
- ``text``: the completion up to where it was cut for execution; ``meta``: entry point, official
  test, and the generated tests with their counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import need, one_file, records, same_length
from mull.pools.schema import Info, Layout

#: Where a completion leaves the function that it was to complete.
_END = re.compile("\n(?:class |def |#|if |print|assert)")
_FAILED = {"E": "the program does not load", "T": "loading took too long", "X": "its process died"}


@adapter("codet_humaneval")
def codet_humaneval(asked: Asked) -> Source:
    """Programs with executed labels and their behaviour on generated tests (CodeT HumanEval folder)."""
    layout = Layout(scores=("tests", "tests_weighted"), optional=("behaviour",))
    info = Info("codet_humaneval", scales={"tests": "ratio", "tests_weighted": "ratio"})
    return source(_rows(asked.path), layout, info)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    tasks = {}
    for where, record in records(one_file(folder, "HumanEval_for_code_generation.jsonl*")):
        tasks[need(record, str, where, "task_id")] = record
    programs = {}
    for where, record in records(one_file(folder, "*_code_solution.jsonl*")):
        programs[need(record, str, where, "prompt")] = need(record, list, where, "samples")
    for where, labels in records(one_file(folder, "labels_executed*.jsonl*")):
        name = need(labels, str, where, "task_id")
        task = tasks.get(name)
        if task is None or task["prompt"] not in programs:
            raise MullError(f"{where}: there is no problem, or no program, for {name!r}")
        yield from _problem(name, task, labels, programs[task["prompt"]], where)


def _problem(
    name: str, task: dict[str, Any], labels: dict[str, Any], texts: list[str], where: str
) -> Iterator[dict[str, Any]]:
    verdicts, which = need(labels, list, where, "official"), need(labels, list, where, "completion_id")
    tests, counts = need(labels, list, where, "gen_tests"), need(labels, list, where, "gen_test_counts")
    did = need(labels, list, where, "gen_results_by_completion")
    same_length(where, official=verdicts, completion_id=which, programs=texts)
    same_length(where, gen_tests=tests, gen_test_counts=counts)
    meta = {"entry_point": task["entry_point"], "test": task["test"], "tests": tests, "test_counts": counts}
    shared = {"problem": name, "prompt": task["prompt"], "meta": json.dumps(meta, ensure_ascii=False)}
    for text, verdict, program in zip(texts, verdicts, which, strict=True):
        behaviour = need(did[need(program, int, where)], str, where)
        passed = [letter == "p" for letter in behaviour]
        yield {
            **shared,
            "text": _END.split(text, maxsplit=1)[0],
            "answer": f"program-{program}",
            "correct": verdict == "p",
            "behaviour": behaviour,
            "error": _FAILED.get(verdict),
            "scores": {
                "tests": float(sum(passed)),
                "tests_weighted": float(sum(n for n, ok in zip(counts, passed, strict=True) if ok)),
            },
        }
