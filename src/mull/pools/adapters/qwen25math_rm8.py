"""Whole solutions with a reward model's score, as Qwen2.5-Math's rm@8 example has them: a line a problem.

``pred_score`` holds one logit a solution; any real number, so its scale is "logit".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import need, one_file, records, same_length
from mull.pools.schema import Info, Layout


@adapter("qwen25math_rm8")
def qwen25math_rm8(asked: Asked) -> Source:
    """Solutions with texts, graded answers and an outcome reward model's logit (Qwen2.5-Math rm@8)."""
    path = one_file(asked.path, "*.jsonl*")
    return source(_rows(path), Layout(scores=("rm",)), Info("qwen25math_rm8", scales={"rm": "logit"}))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for where, record in records(path):
        texts, answers, flags, logits = (
            need(record, list, where, name) for name in ("code", "pred", "score", "pred_score")
        )
        same_length(where, code=texts, pred=answers, score=flags, pred_score=logits)
        shared = {
            "problem": str(need(record, int, where, "idx")),
            "prompt": need(record, str, where, "question"),
            "gold": need(record, str, where, "gt"),
            "meta": json.dumps({"level": record.get("level")}),
        }
        for text, answer, flag, logit in zip(texts, answers, flags, logits, strict=True):
            if not isinstance(logit, list) or len(logit) != 1:
                raise MullError(f"{where}: pred_score must hold one number a solution")
            yield {
                **shared,
                "text": need(text, str, where),
                "answer": need(answer, str, where),
                "correct": need(flag, bool, where),
                "scores": {"rm": need(logit[0], float, where)},
            }
