"""What a pool file holds: its columns, its metadata, and bringing a frame to that form.

One row is one recorded sample; docs/pools.md is the page for users. The module checks and
casts; it never reads or writes a file, and never makes up a value that was not recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import polars as pl

from mull.errors import MullError

#: The schema's version, in the file's metadata under ``KEY``; a reader refuses any other.
VERSION = 1
KEY = "mull.pool"
#: How a problem's rows belong together: independent samples; attempts in order, the next made
#: only after a failure; the states that a search kept, best first; single steps.
Kind = Literal["samples", "trials", "search", "steps"]
#: How a raw score becomes one in [0, 1]: as it is; by the logistic function; divided by the pool's largest.
Scale = Literal["unit", "logit", "ratio"]

#: Columns of every pool, in order; all but ``problem`` and ``sample`` may be null.
_CORE: dict[str, Any] = {
    "problem": pl.String,
    "sample": pl.Int32,
    "answer": pl.String,
    "correct": pl.Boolean,
    "tokens": pl.Int64,
    "text": pl.String,
    "logprob": pl.Float32,
    "finish": pl.String,
    "error": pl.String,
    "prompt": pl.String,
    "gold": pl.String,
    "meta": pl.String,
}
CORE = pl.Schema(_CORE)
#: Columns that a pool has only where there is something to put in.
_OPTIONAL: dict[str, Any] = {
    "behaviour": pl.String,
    "steps": pl.List(pl.String),
    "step_labels": pl.List(pl.Float32),
    "token_logprobs": pl.List(pl.Float32),
    "thinking": pl.String,
    "thinking_tokens": pl.Int64,
}
OPTIONAL = pl.Schema(_OPTIONAL)
#: What a file must have to be read as a pool; the other columns are taken as empty.
REQUIRED = ("problem", "sample", "answer", "correct")


@dataclass(frozen=True)
class Layout:
    """Which columns a pool has beyond the core: optional ones, and its verifiers by name.

    ``scores`` are verifiers of whole samples (struct column ``scores``, a Float32 field each),
    ``step_scores`` verifiers of steps (struct column ``step_scores``, a list of Float32 each).
    """

    scores: tuple[str, ...] = ()
    step_scores: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def schema(self) -> pl.Schema:
        """Every column with its type, in order."""
        columns = dict(CORE)
        columns |= {name: kind for name, kind in OPTIONAL.items() if name in self.optional}
        if self.scores:
            columns["scores"] = pl.Struct(dict.fromkeys(self.scores, pl.Float32))
        if self.step_scores:
            columns["step_scores"] = pl.Struct(dict.fromkeys(self.step_scores, pl.List(pl.Float32)))
        return pl.Schema(columns)


@dataclass(frozen=True)
class Info:
    """What a pool's metadata says: where its samples come from, and how to take them."""

    source: str = ""
    kind: Kind = "samples"
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """As a Parquet file's key-value metadata."""
        what = {"schema": VERSION, "source": self.source, "kind": self.kind, "scales": dict(self.scales)}
        return {KEY: json.dumps(what, sort_keys=True)}

    @classmethod
    def from_metadata(cls, found: Mapping[str, str], where: str) -> Info:
        """The reverse; a file without the key is taken at its columns' word."""
        if KEY not in found:
            return cls()
        try:
            what = json.loads(found[KEY])
            version, kind, scales = what["schema"], what["kind"], dict(what["scales"])
            known = kind in get_args(Kind) and set(scales.values()) <= set(get_args(Scale))
            info = cls(str(what["source"]), kind, scales)
        except (ValueError, TypeError, KeyError):
            raise MullError(
                f"{where}: its metadata {KEY!r} is not what mull writes; import it again"
            ) from None
        if version != VERSION or not known:
            raise MullError(f"{where} is a pool of schema {version}; this mull reads schema {VERSION}")
        return info


def layout_of(schema: Mapping[str, pl.DataType], where: str) -> Layout:
    """The layout of a file's columns; :class:`MullError` for a missing or mistyped one. Others are let be."""
    missing = [name for name in REQUIRED if name not in schema]
    if missing:
        raise MullError(
            f"{where} is no pool: it has no column {missing[0]!r}; 'mull pool import' makes one "
            f"(its columns: {', '.join(schema)})"
        )
    names = {}
    for column in ("scores", "step_scores"):
        kind = schema.get(column)
        if kind is not None and not isinstance(kind, pl.Struct):
            raise MullError(f"{where}: column {column!r} is of type {kind}; it must be a struct")
        names[column] = tuple(f.name for f in kind.fields) if isinstance(kind, pl.Struct) else ()
    found = Layout(names["scores"], names["step_scores"], tuple(n for n in OPTIONAL if n in schema))
    for name, wanted in found.schema.items():
        if name in schema and not _fits(schema[name], wanted):
            raise MullError(f"{where}: column {name!r} is of type {schema[name]}; it must be {wanted}")
    return found


def _fits(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether one type can be cast to the other without guessing; all-null columns always can."""
    if found == wanted or found == pl.Null:
        return True
    if isinstance(found, pl.List) and isinstance(wanted, pl.List):
        return _fits(pl.List(found.inner).inner, pl.List(wanted.inner).inner)  # type: ignore[arg-type]
    if isinstance(found, pl.Struct) and isinstance(wanted, pl.Struct):
        return all(_fits(a.dtype, b.dtype) for a, b in zip(found.fields, wanted.fields, strict=True))  # type: ignore[arg-type]
    if wanted.is_integer():
        return found.is_integer()
    if wanted.is_float():
        return found.is_numeric()
    return wanted == pl.String and isinstance(found, pl.Categorical | pl.Enum)


def conform(frame: pl.DataFrame, layout: Layout, where: str) -> pl.DataFrame:
    """``frame`` with exactly the layout's columns, cast and checked; what it lacks is null.

    Refuses rows without a problem, negative token counts, a right sample whose recorded answer is
    null beside others', and an answer that is right in one row and wrong in another of its problem.
    """
    try:
        made = frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
            for name, kind in layout.schema.items()
        )
    except pl.exceptions.PolarsError as error:
        raise MullError(f"{where}: {_first_line(error)}") from None
    if made["problem"].null_count() or (made["problem"] == "").any():
        raise MullError(f"{where}: a sample names no problem; every row needs one")
    if ((made["tokens"] < 0) | (made["sample"] < 0)).any():
        raise MullError(f"{where}: a token count or sample number is negative")
    refuse_contradictions(made, where)
    unusable = [pl.col("logprob").is_infinite().any()]
    unusable += [pl.col("scores").struct.field(name).is_infinite().any() for name in layout.scores]
    if any(made.select(unusable_at.alias(str(i)) for i, unusable_at in enumerate(unusable)).row(0)):
        raise MullError(f"{where}: a score or log-probability is infinite")
    return made.with_columns(_without_nan(layout)) if layout.scores else made


def _without_nan(layout: Layout) -> pl.Expr:
    """A score that is not a number was not had: null."""
    return pl.struct(pl.col("scores").struct.field(name).fill_nan(None) for name in layout.scores).alias(
        "scores"
    )


def refuse_contradictions(frame: pl.DataFrame, where: str) -> None:
    """:class:`MullError` if one answer to one problem is marked both right and wrong."""
    held = frame.lazy().filter(pl.col("answer").is_not_null() & pl.col("correct").is_not_null())
    groups = held.group_by("problem", "answer", maintain_order=True)
    mixed = groups.agg(pl.col("correct").n_unique().alias("n")).filter(pl.col("n") > 1).head(1).collect()
    if mixed.height:
        problem, answer = mixed["problem"][0], mixed["answer"][0]
        shown = answer if len(answer) <= 40 else answer[:39] + "…"
        raise MullError(
            f"{where}: problem {problem!r} has the answer {shown!r} marked both right and wrong; "
            "correct it, or record what tells the two apart as the answer"
        )


def to_frame(rows: Iterable[Mapping[str, Any]], layout: Layout) -> pl.DataFrame:
    """Rows as a frame of the layout's columns: plain Python values, ``scores`` and the like as mappings."""
    held = list(rows)
    columns = []
    for name, kind in layout.schema.items():
        values = [row.get(name) for row in held]
        if isinstance(kind, pl.Struct):
            fields = [
                pl.Series(f.name, [None if v is None else v.get(f.name) for v in values], f.dtype)
                for f in kind.fields
            ]
            columns.append(pl.DataFrame(fields).to_struct(name))
        else:
            columns.append(pl.Series(name, values, kind))
    return pl.DataFrame(columns)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
