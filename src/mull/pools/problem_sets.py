"""Problem sets as their publishers write them: JSON lines in a few well-known shapes, as problems.

Known fields: the prompt is ``prompt``, ``problem`` or ``question``; the gold answer is
``answer`` or ``gold`` (after ``####`` where there is such a mark, as in GSM8K, the text before it
being a worked solution); the id is ``unique_id``, ``task_id`` or ``id``, the line number failing
that. The module reads; it never grades.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mull.answers import normal_form
from mull.errors import MullError
from mull.pools.inputs import records
from mull.problems import Problem, validate

_PROMPT = ("prompt", "problem", "question")
_GOLD = ("answer", "gold")
_ID = ("unique_id", "task_id", "id")
#: Metadata that is worth keeping; solutions and addresses are not.
_META = ("level", "subject", "type", "difficulty", "entry_point", "steps")
_MARK = "####"


def load_problem_set(path: Path, *, graded: bool = True) -> tuple[Problem, ...]:
    """The problems of a JSON-lines file (plain or gzipped), in order.

    A gold answer that is a number is written in normal form (27.0 is "27"); a text stays as it is.
    Raises :class:`MullError` with file and line; with ``graded`` a missing gold answer is an error.
    """
    return validate([_problem(record, where) for where, record in records(path)], graded=graded)


def _problem(record: Mapping[str, Any], where: str) -> Problem:
    prompt = _first(record, _PROMPT)
    if not isinstance(prompt, str):
        raise MullError(f"{where}: needs a text field named one of: {', '.join(_PROMPT)}")
    name = _first(record, _ID)
    if name is None:
        name = f"line-{where.rpartition(' ')[2]}"
    meta = {k: record[k] for k in _META if isinstance(record.get(k), str | int | float)}
    return Problem(str(name), prompt, _gold(_first(record, _GOLD)), meta)


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _gold(value: object) -> str | None:
    if isinstance(value, str):
        return normal_form(value.rpartition(_MARK)[2]) if _MARK in value else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return normal_form(repr(value))
    return None
