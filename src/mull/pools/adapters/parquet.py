"""Parquet files of anybody's: a row a sample, or a row a problem with list columns.

Columns are named and mapped as for JSON lines (``a.b`` is field b of struct a); rows are read a
slice at a time. Without ``correct``, an answer is graded against ``gold`` by its normal form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter
from mull.pools.adapters.jsonl import SHARED, check_mapping, graded, layout_for
from mull.pools.files import ROWS, paths_of, trust
from mull.pools.schema import Info, Layout


@adapter("parquet", maps=True)
def parquet(asked: Asked) -> Source:
    """Parquet, a row a sample or a row a problem with lists; columns named alike or by --map."""
    check_mapping(asked)
    paths = paths_of(asked.path)
    trust(paths)
    schema = pl.read_parquet_schema(paths[0])
    layout = layout_for(asked.mapping, lambda field: _shape(schema, field))
    if _type(schema, asked.mapping.get("problem", "problem")) is None:
        field = asked.mapping.get("problem", "problem")
        has = ", ".join(schema)[:200]
        raise MullError(
            f"{paths[0]}: no column {field!r}; name the right one with --map problem=COLUMN (it has: {has})"
        )
    return Source(_frames(paths, asked.mapping, layout), layout, Info("parquet"))


def _type(schema: Mapping[str, pl.DataType], field: str) -> pl.DataType | None:
    """The type of a column, or of a struct's field by a path with dots."""
    if field in schema:
        return schema[field]
    name, _, rest = field.partition(".")
    kind = schema.get(name)
    if not rest or not isinstance(kind, pl.Struct):
        return None
    return _type({f.name: f.dtype for f in kind.fields}, rest)  # type: ignore[misc]


def _shape(schema: Mapping[str, pl.DataType], field: str) -> Any:
    """What stands for a column's first value: a struct's field names, or that there is such a column."""
    kind = _type(schema, field)
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        kind = kind.inner
    return {f.name: None for f in kind.fields} if isinstance(kind, pl.Struct) else kind and True


def _frames(paths: list[Path], mapping: Mapping[str, str], layout: Layout) -> Iterator[pl.DataFrame]:
    for path in paths:
        schema = pl.read_parquet_schema(path)
        columns, nested = _columns(schema, mapping, layout)
        rows = pl.scan_parquet(path, glob=False)
        count = rows.select(pl.len()).collect().item()
        for first in range(0, count, ROWS):
            where = f"{path}, rows {first + 1} to {min(first + ROWS, count)}"
            try:
                frame = rows.slice(first, ROWS).select(columns).collect()
                yield _finished(frame.explode(nested) if nested else frame, layout, where)
            except pl.exceptions.PolarsError as error:
                raise MullError(f"{where}: {str(error).strip().splitlines()[0]}") from None


def _columns(
    schema: Mapping[str, pl.DataType], mapping: Mapping[str, str], layout: Layout
) -> tuple[list[pl.Expr], list[str]]:
    """What to select, with scores as columns "scores.NAME", and which of it are lists of samples."""
    wanted = {
        name: mapping.get(name, name) for name in layout.schema if name not in ("scores", "step_scores")
    }
    for struct, names in (("scores", layout.scores), ("step_scores", layout.step_scores)):
        for name in names:
            whole = f"{mapping.get(struct, struct)}.{name}"
            wanted[f"{struct}.{name}"] = mapping.get(f"{struct}.{name}", whole)
    columns, nested = [], []
    for name, field in wanted.items():
        kind = _type(schema, field)
        if kind is None:
            continue
        columns.append(_column(schema, field).alias(name))
        deep = name in ("steps", "step_labels", "token_logprobs") or name.startswith("step_scores.")
        inner = kind.inner if deep and isinstance(kind, pl.List) else kind
        if name not in SHARED and isinstance(inner, pl.List):
            nested.append(name)
    return columns, nested


def _column(schema: Mapping[str, pl.DataType], field: str) -> pl.Expr:
    if field in schema:
        return pl.col(field)
    first, *rest = field.split(".")
    found = pl.col(first)
    for part in rest:
        found = found.struct.field(part)
    return found


def _finished(frame: pl.DataFrame, layout: Layout, where: str) -> pl.DataFrame:
    """The frame with its scores gathered, and graded where it does not say what is right."""
    for struct, names in (("scores", layout.scores), ("step_scores", layout.step_scores)):
        if names:
            fields = [pl.col(f"{struct}.{n}").alias(n) for n in names if f"{struct}.{n}" in frame.columns]
            frame = frame.with_columns(pl.struct(fields).alias(struct))
    columns = frame.columns
    if "correct" in columns and frame["correct"].dtype.is_numeric():
        frame = frame.with_columns(pl.col("correct").cast(pl.Float64))
        if not frame["correct"].drop_nulls().is_in([0.0, 1.0]).all():
            raise MullError(f"{where}: column 'correct' holds other numbers than 0 and 1")
        frame = frame.with_columns(pl.col("correct") == 1.0)
    if "correct" in columns or not {"answer", "gold"} <= set(columns):
        return frame
    texts = frame.with_columns(pl.col("answer", "gold").cast(pl.String))
    pairs = texts.select("answer", "gold").unique().filter(pl.col("gold").is_not_null())
    known = [graded(answer, gold) for answer, gold in pairs.iter_rows()]
    table = pairs.with_columns(
        pl.Series("_answer", [answer for answer, _ in known], pl.String),
        pl.Series("correct", [right for _, right in known], pl.Boolean),
    )
    joined = texts.join(table, on=["answer", "gold"], how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.coalesce("_answer", "answer").alias("answer")).drop("_answer")
