"""Trials of an agent on tasks, as tau-bench's trajectory files have them.

One list of ``{task_id, trial, reward, info, traj}``; a trial is right when its reward is 1.
There are no answers to vote over and no token counts; the text is the conversation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import document, need, one_file
from mull.pools.schema import Info


@adapter("tau_bench")
def tau_bench(asked: Asked) -> Source:
    """Independent trials of an agent on tasks, with rewards 0 or 1 (tau-bench trajectories)."""
    return source(_rows(one_file(asked.path, "*.json*")), info=Info("tau_bench"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(need(document(path), list, str(path))):
        where = f"{path}, entry {number}"
        reward = need(record, float, where, "reward")
        if reward not in (0, 1):
            raise MullError(f"{where}: the reward is {reward}; it must be 0 or 1")
        task = record.get("info", {}).get("task", {})
        yield {
            "problem": str(need(record, int, where, "task_id")),
            "sample": need(record, int, where, "trial"),
            "correct": reward == 1,
            "text": "\n".join(_said(message, where) for message in need(record, list, where, "traj")),
            "prompt": task.get("instruction"),
        }


def _said(message: object, where: str) -> str:
    said = need(message, dict, where)
    body = said.get("content") or json.dumps(said.get("tool_calls"), ensure_ascii=False)
    return f"{said.get('role')}: {body}"
