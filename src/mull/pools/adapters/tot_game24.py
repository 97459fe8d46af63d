"""Game of 24 logs of Tree of Thoughts: sampled chains, sampled plain answers, and the tree search.

Chains (``infos`` with r 0 or 1) and plain answers (``accs``) are independent samples. A search log
(``steps``) becomes a pool of kind "search": the states kept last, in the order of the search,
with the value that it gave them (a sum over judgements, so its scale is "ratio"); its steps,
proposals and selections are read by :func:`read_search`. Token counts are known for a problem
as a whole only and go into ``meta``. The answer is the expression before the equals sign.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import document, need, one_file, same_length
from mull.pools.schema import Info, Layout

_MARK = "Answer:"


@dataclass(frozen=True)
class SearchStep:
    """One round of a recorded search: ``proposed`` states, each with its value, and those ``kept``."""

    problem: str
    step: int
    proposed: tuple[str, ...]
    values: tuple[float, ...]
    kept: tuple[str, ...]

    def ranked(self) -> tuple[str, ...]:
        """The proposed states by value, highest first; ties stay in order."""
        order = sorted(range(len(self.values)), key=lambda i: -self.values[i])
        return tuple(self.proposed[i] for i in order)


@adapter("tot_game24")
def tot_game24(asked: Asked) -> Source:
    """Game of 24: sampled chains of thought or answers, or the kept states of a recorded tree search."""
    path = one_file(asked.path, "*.json*")
    found = need(document(path), list, str(path))
    if found and isinstance(found[0], dict) and "steps" in found[0]:
        info = Info("tot_game24", "search", {"value": "ratio"})
        return source(_rows(path, found), Layout(scores=("value",)), info)
    return source(_rows(path, found), info=Info("tot_game24"))


def read_search(path: Path) -> tuple[SearchStep, ...]:
    """Every round of a recorded search, problem by problem."""
    steps = []
    for number, record in enumerate(need(document(path), list, str(path))):
        where = f"{path}, entry {number}"
        for step in need(record, list, where, "steps"):
            proposed, values = need(step, list, where, "new_ys"), need(step, list, where, "values")
            same_length(where, new_ys=proposed, values=values)
            name, kept = str(need(record, int, where, "idx")), need(step, list, where, "select_new_ys")
            steps.append(
                SearchStep(name, need(step, int, where, "step"), tuple(proposed), tuple(values), tuple(kept))
            )
    return tuple(steps)


def _rows(path: Path, found: list[Any]) -> Iterator[dict[str, Any]]:
    puzzles, spent = _puzzles(path.parent / "24.csv"), 0
    for number, record in enumerate(found):
        where = f"{path}, entry {number}"
        index, texts = need(record, int, where, "idx"), need(record, list, where, "ys")
        if "accs" in record:
            flags = [need(flag, bool, where) for flag in need(record, list, where, "accs")]
        else:
            flags = [need(info, int, where, "r") == 1 for info in need(record, list, where, "infos")]
        same_length(where, ys=texts, outcomes=flags)
        total = need(need(record, dict, where, "usage_so_far"), int, where, "completion_tokens")
        meta = {"completion_tokens": total - spent}
        spent = total
        shared = {"problem": str(index), "prompt": puzzles.get(index), "meta": json.dumps(meta)}
        values = _values(record, where) if "steps" in record else {}
        for text, flag in zip(texts, flags, strict=True):
            row: dict[str, Any] = {
                **shared,
                "text": need(text, str, where),
                "answer": _answer(text),
                "correct": flag,
            }
            if "steps" in record:
                row["scores"] = {"value": values.get(text)}
            yield row


def _values(record: dict[str, Any], where: str) -> dict[str, float]:
    """The value of each state proposed last; a repeated state counts as first valued."""
    steps = need(record, list, where, "steps")
    if not steps:
        raise MullError(f"{where}: a search without steps")
    proposed, values = need(steps[-1], list, where, "new_ys"), need(steps[-1], list, where, "values")
    same_length(where, new_ys=proposed, values=values)
    return dict(zip(reversed(proposed), reversed(values), strict=True))


def _answer(text: str) -> str | None:
    """The expression after the mark on the last line, or of a single line without a mark; or None."""
    before, _, last = text.strip().rpartition("\n")
    if _MARK not in last and (before or "=" not in last):
        return None
    return last.rpartition(_MARK)[2].partition("=")[0].strip() or None


def _puzzles(path: Path) -> dict[int, str]:
    """Puzzles by index, which is their rank less one; none if the list is not there."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {int(row["Rank"]) - 1: row["Puzzles"] for row in csv.DictReader(file)}
