"""JSON lines of anybody's: a row a sample, or a row a problem with lists of its samples.

A field has its column's name unless ``--map COLUMN=FIELD`` says otherwise; ``a.b`` is field b of object
a. Where any field of a sample is a list (of lists for ``steps`` and the like), the line is a problem
and each element a sample. Scores are an object ``scores``, or fields mapped one by one with
``--map scores.NAME=FIELD``. Which optional columns and scores there are is decided by the mappings
and the first line. Without ``correct``, an answer is graded against ``gold`` by its normal form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from mull.answers import extract_answer, is_correct, normal_form
from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter
from mull.pools.files import BYTES
from mull.pools.inputs import lines, need, one_file, parse, records, same_length
from mull.pools.schema import CORE, OPTIONAL, Info, Layout

#: Columns that belong to a problem; all others belong to a sample.
SHARED = ("problem", "prompt", "gold", "meta")
#: Columns whose single value is a list already.
_LISTS = ("steps", "step_labels", "token_logprobs")
_STRUCTS = ("scores", "step_scores")
_TEXTS = (*SHARED, "answer", "text", "finish", "error", "behaviour")
#: Types that need no second look, by column.
_FINE: dict[str, frozenset[type]] = {
    **dict.fromkeys(_TEXTS, frozenset({str, type(None)})),
    **dict.fromkeys(("tokens", "sample"), frozenset({int, type(None)})),
    **dict.fromkeys(("logprob", "scores"), frozenset({float, type(None)})),
    "correct": frozenset({bool, type(None)}),
}
#: Lines that are held at a time.
_LINES = 1 << 15
Record = dict[str, Any]


@adapter(
    "jsonl", maps=True, answer="recorded (the default) or text: take it from the text's last 'Answer: x' line"
)
def jsonl(asked: Asked) -> Source:
    """JSON lines, a row a sample or a row a problem with lists; fields named as columns or by --map."""
    path = one_file(asked.path, "*.jsonl*")
    check_mapping(asked)
    first = next(records(path), None)
    if first is None:
        raise MullError(f"{path} is empty; there are no samples to import")
    layout = layout_for(asked.mapping, lambda field: _get(first[1], field))
    extract = asked.choice("answer", ("recorded", "text")) == "text"
    reader = _Reader(path, asked.mapping, layout, extract)
    return Source(reader.frames(), layout, Info("jsonl"))


def check_mapping(asked: Asked) -> None:
    """:class:`MullError` for a column that a pool does not have."""
    for column in asked.mapping:
        if column not in CORE and column not in OPTIONAL and column.partition(".")[0] not in _STRUCTS:
            known = ", ".join([*CORE, *OPTIONAL, "scores.NAME", "step_scores.NAME"])
            raise MullError(f"--map {column}=...: a pool has no column {column!r}; its columns: {known}")


def layout_for(mapping: Mapping[str, str], first: Any) -> Layout:
    """The pool's columns, from the mappings and what ``first(field)`` gives for the first line's fields."""
    names: dict[str, list[str]] = {struct: [] for struct in _STRUCTS}
    for struct in _STRUCTS:
        found = first(mapping.get(struct, struct))
        if isinstance(found, list) and found and isinstance(found[0], dict):
            found = found[0]
        names[struct] += list(found) if isinstance(found, dict) else []
        names[struct] += [c.partition(".")[2] for c in mapping if c.startswith(f"{struct}.")]
    optional = tuple(n for n in OPTIONAL if n in mapping or first(n) is not None)
    return Layout(tuple(dict.fromkeys(names["scores"])), tuple(dict.fromkeys(names["step_scores"])), optional)


def _get(record: Record, field: str) -> Any:
    """A field by name, or by a path of names with dots between; None if it is not there."""
    if field in record:
        return record[field]
    value: Any = record
    for part in field.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


class _Reader:
    """Turns lines into frames of one layout, some thousands of lines at a time and column by column."""

    def __init__(self, path: Path, mapping: Mapping[str, str], layout: Layout, extract: bool) -> None:
        self.path, self.mapping, self.layout, self.extract = path, mapping, layout, extract
        self.fields = {column: mapping.get(column, column) for column in [*CORE, *layout.optional]}

    def frames(self) -> Iterator[pl.DataFrame]:
        """The samples of all lines."""
        held: list[Record] = []
        numbers: list[int] = []
        size = 0
        for number, line in lines(self.path):
            where = f"{self.path}, line {number}"
            held.append(need(parse(line, where), dict, where))
            numbers.append(number)
            size += len(line)
            if len(held) == _LINES or size >= BYTES // 4:
                yield self._frame(held, numbers)
                held, numbers, size = [], [], 0
        if held:
            yield self._frame(held, numbers)

    def _frame(self, found: list[Record], numbers: list[int]) -> pl.DataFrame:
        columns = {column: _values(found, field) for column, field in self.fields.items()}
        for struct, names in (("scores", self.layout.scores), ("step_scores", self.layout.step_scores)):
            columns |= self._scores(found, numbers, struct, names) if names else {}
        if None in columns["problem"]:
            at = columns["problem"].index(None)
            field, has = self.fields["problem"], ", ".join(map(str, found[at]))[:200]
            raise MullError(
                f"{self._line(numbers[at])}: no field {field!r}; "
                f"name the one with --map problem=FIELD (it has: {has})"
            )
        if nested := [column for column, values in columns.items() if _nested(column, values)]:
            columns, numbers = self._spread(columns, nested, numbers)
        made = {column: self._typed(column, values, numbers) for column, values in columns.items()}
        if self.extract:
            pairs = zip(made["answer"], made["text"], strict=True)
            made["answer"] = [a if a is not None or t is None else extract_answer(t) for a, t in pairs]
        if None in made["correct"]:
            _grade(made)
        return self._joined(made)

    def _line(self, number: int) -> str:
        return f"{self.path}, line {number}"

    def _scores(
        self, found: list[Record], numbers: list[int], struct: str, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Scores by "struct.name"; a list of objects is taken as an object of lists."""
        whole = _values(found, self.mapping.get(struct, struct))
        known = set(names)
        for at, value in enumerate(whole):
            if isinstance(value, list):
                whole[at] = {n: [e.get(n) if isinstance(e, dict) else None for e in value] for n in names}
            elif value is not None and not isinstance(value, dict):
                raise MullError(
                    f"{self._line(numbers[at])}: {struct!r} is {_shown(value)}; it must be an object"
                )
            elif value is not None and not value.keys() <= known:
                more = next(name for name in value if name not in known)
                raise MullError(
                    f"{self._line(numbers[at])}: {struct} has {more!r}, which the first line does not; "
                    "add it there"
                )
        columns = {}
        for name in names:
            field = self.mapping.get(f"{struct}.{name}")
            values = [v.get(name) if v else None for v in whole] if field is None else _values(found, field)
            columns[f"{struct}.{name}"] = values
        return columns

    def _spread(
        self, columns: dict[str, list[Any]], nested: list[str], numbers: list[int]
    ) -> tuple[dict[str, list[Any]], list[int]]:
        """Every line that holds lists of samples' values, as that many samples."""
        spread: dict[str, list[Any]] = {column: [] for column in columns}
        lines_of: list[int] = []
        for at, number in enumerate(numbers):
            lists = {c: columns[c][at] for c in nested if _many(c, columns[c][at])}
            count = same_length(self._line(number), **lists) if lists else 1
            lines_of += [number] * count
            for column, values in columns.items():
                spread[column] += lists[column] if column in lists else [values[at]] * count
        return spread, lines_of

    def _typed(self, column: str, values: list[Any], numbers: list[int]) -> list[Any]:
        """The values as their column's type; each is looked at alone only if some are of another."""
        kind = column.partition(".")[0]
        if set(map(type, values)) <= _FINE.get(kind, frozenset()):
            return values
        return [_checked(kind, value, self._line(numbers[at])) for at, value in enumerate(values)]

    def _joined(self, made: dict[str, list[Any]]) -> pl.DataFrame:
        columns = []
        for name, kind in self.layout.schema.items():
            if isinstance(kind, pl.Struct):
                fields = [pl.Series(f.name, made[f"{name}.{f.name}"], f.dtype) for f in kind.fields]
                columns.append(pl.DataFrame(fields).to_struct(name))
            else:
                columns.append(pl.Series(name, made[name], kind))
        return pl.DataFrame(columns)


def _values(found: list[Record], field: str) -> list[Any]:
    if "." in field:
        return [_get(record, field) for record in found]
    return [record.get(field) for record in found]


def _nested(column: str, values: list[Any]) -> bool:
    """Whether any value is a list of samples' values."""
    return list in set(map(type, values)) and any(_many(column, value) for value in values)


def _many(column: str, value: Any) -> bool:
    """Whether a value is a list of samples' values."""
    if column in SHARED or not isinstance(value, list):
        return False
    if column in _LISTS or column.startswith("step_scores."):
        return any(isinstance(element, list) for element in value)
    return True


def _grade(made: dict[str, list[Any]]) -> None:
    """Say of every sample that does not, but has a gold answer, whether it is right."""
    for at, (right, gold) in enumerate(zip(made["correct"], made["gold"], strict=True)):
        if right is None and gold is not None:
            made["answer"][at], made["correct"][at] = graded(made["answer"][at], gold)


@lru_cache(maxsize=1 << 16)
def graded(answer: str | None, gold: str) -> tuple[str | None, bool]:
    """An answer in normal form, and whether it is the gold answer's."""
    return (None if answer is None else normal_form(answer)), is_correct(answer, gold)


def _checked(column: str, value: Any, where: str) -> Any:
    """A value as its column's type; :class:`MullError` if it is of another."""
    if value is None:
        return None
    if column == "correct":
        if value not in (0, 1):  # True and 1.0 are in there
            raise MullError(f"{where}: 'correct' is {_shown(value)}; it must be true or false")
        return bool(value)
    if column == "meta" and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if column in _TEXTS:
        return _text(value, column, where)
    if column in _LISTS or column == "step_scores":
        kind = str if column == "steps" else (int, float, type(None))
        if not isinstance(value, list) or not all(isinstance(v, kind) for v in value):
            what = "texts" if kind is str else "numbers"
            raise MullError(f"{where}: {column!r} is {_shown(value)}; it must be a list of {what}")
        return value if column == "steps" else [None if v is None else float(v) for v in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MullError(f"{where}: {column!r} is {_shown(value)}; it must be a number")
    if column in ("tokens", "sample"):
        if value != int(value):
            raise MullError(f"{where}: {column!r} is {value}; it must be a whole number")
        return int(value)
    return float(value)


def _text(value: Any, column: str, where: str) -> str | None:
    """A text; a number is written as it is, a whole one without a fraction."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | list | dict):
        raise MullError(f"{where}: {column!r} is {_shown(value)}; it must be a text or a number")
    return str(int(value)) if value == int(value) else repr(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
