"""Where a study's problems come from: the small world, a file, a data set by name. Reads; samples nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

from mull.errors import MullError
from mull.problems import Problem, load_jsonl, validate
from mull.sets.shapes import PROMPTS
from mull.tiny.world import Split


@dataclass(frozen=True)
class Source:
    """Where problems come from: "tiny", a JSONL file, or a data set (:mod:`mull.sets`); the first ``count``.

    ``prompt`` and ``answer`` name a data set's columns where they are not called as usual.
    """

    source: str = "tiny"
    split: str = "test"
    count: int | None = 500
    prompt: str | None = None
    answer: str | None = None


def load_problems(
    source: str | Path = "tiny",
    count: int | None = None,
    split: str = "test",
    prompt: str | None = None,
    answer: str | None = None,
) -> tuple[Problem, ...]:
    """The first ``count`` problems of the small world ("tiny", 500 if None), of a JSONL file or a data set.

    ``prompt`` and ``answer`` may name a data set's columns.
    """
    if str(source) == "tiny":
        from mull.tiny.load import problems

        return problems(split_named(split), 500 if count is None else count)
    if prompt is None and answer is None and _plain(Path(source)):
        return validate(islice(load_jsonl(Path(source)), count))
    from mull import sets

    return sets.load(source, count, None if split == "test" else split, prompt=prompt, answer=answer)


def _plain(path: Path) -> bool:
    """Whether a file is to be read as mull's own JSON lines: rows with a prompt, or a file that is bad."""
    if path.suffix != ".jsonl":
        return False
    try:
        with path.open(encoding="utf-8") as lines:
            first = json.loads(next((line for line in lines if line.strip()), "{}"))
    except (OSError, ValueError):
        return True
    return not isinstance(first, dict) or "prompt" in first or not set(PROMPTS) & first.keys()


def split_named(split: str) -> Split:
    """A split of the small world; :class:`MullError` for another word."""
    if split not in get_args(Split):
        raise MullError(f"problems.split is {split!r}; it must be one of {', '.join(get_args(Split))}")
    return split  # type: ignore[return-value]


def placed(source: str, place: Callable[[str], str]) -> str:
    """A file's or folder's path made absolute by ``place``; a data set's name as it is."""
    name, colon, rest = source.partition(":")
    if colon:
        return f"{name}:{place(rest)}"
    path = Path(source).expanduser()
    is_path = path.suffix or source.startswith((".", "/", "~")) or Path(place(source)).exists()
    return place(source) if is_path else source
