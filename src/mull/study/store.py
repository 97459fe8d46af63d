"""The study's folder: Parquet shards that are whole or absent, never half.

A shard is written under a temporary name in the same folder, flushed to the disk
and renamed, so that killing a study at any moment leaves only whole shards. Each
carries its key (a hash of what was asked), its row count and a digest of its
contents; a reader that finds another refuses it. Contents depend on the key
alone: nothing of the time, the machine or the process goes in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mull.errors import MullError

_SCORE = pl.Float32
_COST: dict[str, Any] = {
    "generations": pl.Int64,
    "requests": pl.Int64,
    "prompt_tokens": pl.Int64,
    "cached_tokens": pl.Int64,
    "completion_tokens": pl.Int64,
    "verifier_tokens": pl.Int64,
    "flops": pl.Float64,
    "verifier_flops": pl.Float64,
}
#: A row a sample. ``flops`` is the sample's own, after a prompt of ``prompt_tokens`` that costs
#: ``prompt_flops`` once a problem; likewise for the verifiers. A score is null if there is none.
_POOL: dict[str, Any] = {
    "problem": pl.String,
    "sample": pl.Int32,
    "answer": pl.String,
    "correct": pl.Boolean,
    "finish": pl.String,
    "tokens": pl.Int32,
    "logprob": pl.Float32,
    "text": pl.String,
    "prm": pl.List(_SCORE),
    "orm": _SCORE,
    "prm_tokens": pl.Int32,
    "orm_tokens": pl.Int32,
    "prompt_tokens": pl.Int32,
    "flops": pl.Float64,
    "prompt_flops": pl.Float64,
    "prm_flops": pl.Float64,
    "orm_flops": pl.Float64,
    "prm_prompt_flops": pl.Float64,
    "orm_prompt_flops": pl.Float64,
    "error": pl.String,
}
POOL = pl.Schema(_POOL)
#: A row a problem: what an arm answered, with what candidates, at what cost.
_RUN: dict[str, Any] = {
    "problem": pl.String,
    "arm": pl.String,
    "budget": pl.Int32,
    "answer": pl.String,
    "correct": pl.Boolean,
    "candidates": pl.List(pl.Struct({"answer": pl.String, "score": _SCORE, "tokens": pl.Int32})),
    **_COST,
    "events": pl.List(pl.String),
}
RUN = pl.Schema(_RUN)
#: A row a problem: what was asked.
PROBLEMS = pl.Schema({"problem": pl.String, "prompt": pl.String, "gold": pl.String, "meta": pl.String})


def write(path: Path, frame: pl.DataFrame, key: str) -> None:
    """Write a shard whole, or not at all; :class:`MullError` if the disk will not have it."""
    metadata = {"mull.key": key, "mull.rows": str(frame.height), "mull.digest": digest(frame)}
    with atomic(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", metadata=metadata)


def read(path: Path, key: str, schema: pl.Schema) -> pl.DataFrame:
    """A shard's frame, once it is known to be the one that was written for ``key``."""
    advice = "delete it and run the same command again"
    try:
        metadata = pl.read_parquet_metadata(path)
        frame = pl.read_parquet(path, memory_map=False)
    except FileNotFoundError:
        raise MullError(f"{path} is missing; run the same command again") from None
    except PermissionError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError):
        raise MullError(f"{path} is damaged (not readable as Parquet); {advice}") from None
    if metadata.get("mull.key") != key:
        raise MullError(f"{path} is of another study or unit; {advice}")
    if frame.schema != schema or metadata.get("mull.rows") != str(frame.height):
        raise MullError(f"{path} is damaged (columns or rows are missing); {advice}")
    if metadata.get("mull.digest") != digest(frame):
        raise MullError(f"{path} is damaged (its contents are not those that were written); {advice}")
    return frame


def digest(frame: pl.DataFrame) -> str:
    """A hash of a frame's contents, whatever its encoding on the disk."""
    state = hashlib.blake2b(digest_size=8)
    for series in frame:
        for part in _parts(series):
            state.update(part)
    return state.hexdigest()


def _parts(series: pl.Series) -> Iterator[bytes]:
    """A column as bytes: its name, where it is null, its values."""
    yield f"{series.name}:{series.dtype}:{len(series)}".encode()
    yield np.packbits(series.is_null().to_numpy()).tobytes()
    if isinstance(series.dtype, pl.List):
        yield from _parts(series.list.len().cast(pl.Int64))
        yield from _parts(series.filter(series.list.len() > 0).explode())
    elif isinstance(series.dtype, pl.Struct):
        for name in series.struct.fields:
            yield from _parts(series.struct.field(name))
    elif series.dtype == pl.String:
        yield series.str.len_bytes().fill_null(0).to_numpy().tobytes()
        yield "".join(series.drop_nulls()).encode()
    else:
        yield series.fill_null(0 if series.dtype != pl.Boolean else False).to_numpy().tobytes()


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` if the block succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise MullError(f"cannot write {path}: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove what killed runs left unfinished (temporary names) under ``folder``."""
    for left in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            left.unlink()


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; :class:`MullError` if another one has it."""
    try:
        import fcntl
    except ImportError:  # no such lock on Windows: two runs would only do the same work twice
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MullError(f"another mull is at work in {folder}; wait for it to end") from None
        yield
    finally:
        os.close(handle)
