"""Code-output prediction with booleans only, as CRUXEval's scored files have it.

One document: ``raw_generations`` {id: [text, ...]} and ``raw_scored_generations`` {id: [bool,
...]}, both by problem. ``cruxeval.jsonl`` beside it gives the prompts and, where outputs are
predicted, the gold answers; an input has no one gold answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import document, need, one_file, records, same_length
from mull.pools.schema import Info


@adapter("cruxeval")
def cruxeval(asked: Asked) -> Source:
    """Predicted inputs or outputs of programs with their booleans (CRUXEval's scored files)."""
    path = one_file(asked.path, "scored*.json*")
    return source(_rows(path), info=Info("cruxeval"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    where = str(path)
    found = need(document(path), dict, where)
    made, judged = (
        need(found, dict, where, "raw_generations"),
        need(found, dict, where, "raw_scored_generations"),
    )
    asked = _asked(path.parent / "cruxeval.jsonl", outputs="output" in path.name)
    for name, flags in judged.items():
        here = f"{where}, problem {name!r}"
        answers = need(made, list, here, name)
        same_length(here, generations=answers, booleans=need(flags, list, here))
        for answer, flag in zip(answers, flags, strict=True):
            row = {"problem": name, "answer": need(answer, str, here), "correct": need(flag, bool, here)}
            yield {**row, **asked.get(name, {})}


def _asked(path: Path, *, outputs: bool) -> Mapping[str, dict[str, Any]]:
    if not path.exists():
        return {}
    rows = {}
    for where, record in records(path):
        code, given = need(record, str, where, "code"), need(record, str, where, "input")
        wanted = need(record, str, where, "output")
        prompt = f"{code}\n\nassert f({given}) == ??" if outputs else f"{code}\n\nassert f(??) == {wanted}"
        rows[need(record, str, where, "id")] = {"prompt": prompt, "gold": wanted if outputs else None}
    return rows
