"""Problems: what is asked, what counts as right, and reading them from files.

The module reads and checks; it never grades an answer and never calls a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mull.errors import MullError


@dataclass(frozen=True)
class Problem:
    """One problem: an id, a prompt, a gold answer (``None`` if unknown), metadata."""

    id: str
    prompt: str
    gold: str | None = None
    meta: Mapping[str, str | int | float] = field(default_factory=dict)


def validate(problems: Iterable[Problem], *, graded: bool = True) -> tuple[Problem, ...]:
    """The problems as a tuple, once they are fit to be studied.

    Raises :class:`MullError` naming the first offender for a duplicate id, an empty
    prompt or, with ``graded``, a missing gold answer; also when there are none.
    """
    checked = tuple(problems)
    if not checked:
        raise MullError("there are no problems: the list or file is empty")
    seen: set[str] = set()
    for problem in checked:
        if problem.id in seen:
            raise MullError(f"problem id {problem.id!r} occurs twice; ids must be different")
        seen.add(problem.id)
        if not problem.prompt.strip():
            raise MullError(f"problem {problem.id!r} has an empty prompt")
        if graded and (problem.gold is None or not problem.gold.strip()):
            raise MullError(f"problem {problem.id!r} has no gold answer (field 'answer'); a study needs one")
    return checked


def load_jsonl(path: Path, *, graded: bool = True) -> tuple[Problem, ...]:
    """Read problems from JSON lines with fields ``prompt`` and ``answer``, ``id`` optional.

    Other scalar fields become metadata. Raises :class:`MullError` with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MullError(f"{path} is not UTF-8 text (byte {error.start}); convert it first") from None
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MullError(f"{path}, line {number}: not JSON ({error.msg})") from None
        if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
            raise MullError(f"{path}, line {number}: needs an object with a text field 'prompt'")
        gold = row.get("answer")
        meta = {
            k: v
            for k, v in row.items()
            if k not in ("id", "prompt", "answer") and isinstance(v, str | int | float)
        }
        name = str(row.get("id", f"line-{number}"))
        problems.append(Problem(name, row["prompt"], None if gold is None else str(gold), meta))
    return validate(problems, graded=graded)
