"""A trace's thinking in a row of a shard or a pool, and out of it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mull.trace import Thinking, Trace


def thinking_row(trace: Trace) -> dict[str, Any]:
    """The columns ``thinking`` and ``thinking_tokens``; both null where nothing was thought."""
    found = trace.thinking
    return {
        "thinking": None if found is None else found.text,
        "thinking_tokens": None if found is None else found.tokens,
    }


def thinking_of(row: Mapping[str, Any]) -> Thinking | None:
    """The thinking that a row holds; how it ended is not in there."""
    text = row.get("thinking")
    return None if text is None else Thinking(str(text), row.get("thinking_tokens"))
