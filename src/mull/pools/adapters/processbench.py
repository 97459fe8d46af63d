"""Solutions whose first wrong step is labelled, as ProcessBench has them.

One list of ``{id, generator, problem, steps, final_answer_correct, label}``; ``label`` is the first
wrong step, -1 if there is none. Steps before it are labelled 1, it 0, and those after it not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import document, need, one_file
from mull.pools.schema import Info, Layout


@adapter("processbench")
def processbench(asked: Asked) -> Source:
    """Solutions in steps with the first wrong step labelled (ProcessBench)."""
    path = one_file(asked.path, "*.json")
    return source(_rows(path), Layout(optional=("steps", "step_labels")), Info("processbench"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(need(document(path), list, str(path))):
        where = f"{path}, entry {number}"
        steps, label = need(record, list, where, "steps"), need(record, int, where, "label")
        if not -1 <= label < len(steps):
            raise MullError(f"{where}: the label is {label}, and there are {len(steps)} steps")
        labels = (
            [1.0] * len(steps) if label < 0 else [1.0] * label + [0.0] + [None] * (len(steps) - label - 1)
        )
        yield {
            "problem": need(record, str, where, "id"),
            "prompt": need(record, str, where, "problem"),
            "correct": need(record, bool, where, "final_answer_correct"),
            "steps": [need(step, str, where) for step in steps],
            "step_labels": labels,
            "text": "\n\n".join(steps),
            "meta": json.dumps({"generator": record.get("generator"), "label": label}),
        }
