"""Answers and token counts only, as the Best-of-Infinity files have them: a line a problem.

Each line: ``problem_num``, ``gold_answer``, ``all_answers`` as ``[[answer, tokens], ...]``. The
answer is null where nothing was generated, and the empty text where none was parsed, which is kept
as recorded: readers choose whether it votes. A sample is right when its answer is the gold answer's
very text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import need, one_file, records
from mull.pools.problem_sets import load_problem_set
from mull.pools.schema import Info


@adapter("boinf", problems="a problem set whose row number is problem_num; gives the prompts")
def boinf(asked: Asked) -> Source:
    """Answers and token counts, a line a problem: [[answer, tokens], ...] with a gold answer."""
    path = one_file(asked.path, "*.jsonl*")
    prompts = None
    if "problems" in asked.settings:
        prompts = [p.prompt for p in load_problem_set(Path(asked.settings["problems"]))]
    return source(_rows(path, prompts), info=Info("boinf"))


def _rows(path: Path, prompts: list[str] | None) -> Iterator[dict[str, Any]]:
    for where, record in records(path):
        number, gold = need(record, int, where, "problem_num"), need(record, str, where, "gold_answer")
        if prompts is not None and not 0 <= number < len(prompts):
            raise MullError(f"{where}: problem_num is {number}, and the problem set has {len(prompts)} rows")
        shared = {"problem": str(number), "gold": gold, "prompt": prompts[number] if prompts else None}
        for pair in need(record, list, where, "all_answers"):
            if not isinstance(pair, list) or len(pair) != 2:
                raise MullError(f"{where}: all_answers must hold pairs [answer, tokens]")
            answer = None if pair[0] is None else need(pair[0], str, where)
            tokens = need(pair[1], int, where)
            yield {**shared, "answer": answer, "correct": bool(answer) and answer == gold, "tokens": tokens}
