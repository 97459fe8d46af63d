"""The study's folder: Parquet shards that are whole or absent, never half.

A shard is written under a temporary name in the same folder, flushed to the disk
and renamed, so that killing a study at any moment leaves only whole shards. Each
has beside it a seal, ``NAME.parquet.seal``: its key (a hash of what was asked) and a
digest of the file's bytes, which are checked before the file is parsed; a reader that
finds another refuses it. The seal is written first; while a shard is replaced it holds
both the old one's line and the new one's. Contents depend on the key alone: nothing of the time, the
machine or the process goes in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
#: A row an attempt of a chain of revisions. ``flops`` is the attempt's own, after a context of
#: ``context_tokens`` (the prompt and the attempts shown) that costs ``context_flops`` to read; likewise
#: for the verifier of revisions, whose value is ``score``: ``score_blind`` is its value without
#: the attempts shown, ``prm`` the PRM's last. A score is null if there is none.
_CHAINS: dict[str, Any] = {
    "problem": pl.String,
    "chain": pl.Int32,
    "position": pl.Int32,
    "answer": pl.String,
    "correct": pl.Boolean,
    "finish": pl.String,
    "tokens": pl.Int32,
    "logprob": pl.Float32,
    "text": pl.String,
    "score": _SCORE,
    "score_blind": _SCORE,
    "prm": _SCORE,
    "context_tokens": pl.Int32,
    "verifier_context_tokens": pl.Int32,
    "flops": pl.Float64,
    "context_flops": pl.Float64,
    "verifier_flops": pl.Float64,
    "verifier_context_flops": pl.Float64,
    "error": pl.String,
}
CHAINS = pl.Schema(_CHAINS)
#: A row a problem: what the larger model answered, decoded greedily; ``flops`` with the prompt's.
LARGER = pl.Schema(
    {
        "problem": pl.String,
        "answer": pl.String,
        "correct": pl.Boolean,
        "finish": pl.String,
        "tokens": pl.Int32,
        "text": pl.String,
        "prompt_tokens": pl.Int32,
        "flops": pl.Float64,
        "error": pl.String,
    }
)
#: What a shard holds, by its unit's kind.
SCHEMAS = {"pool": POOL, "arm": RUN, "chains": CHAINS, "larger": LARGER}
#: What is kept beside that where a model is outside mull: what a request cost, and what ``failed``
#: and is to be asked for again (null: nothing).
_SENT: dict[str, Any] = {
    "requests": pl.Int32,
    "sent_tokens": pl.Int32,
    "cached_tokens": pl.Int32,
    "failed": pl.String,
}
#: What makes a trace of a row again.
_STEPS: dict[str, Any] = {"steps": pl.List(pl.String), "thinking": pl.String, "thinking_tokens": pl.Int32}
_READ: dict[str, Any] = {"prm_prompt_tokens": pl.Int32, "orm_prompt_tokens": pl.Int32}
OUTSIDE = {
    "pool": pl.Schema({**_POOL, **_STEPS, **_READ, **_SENT}),
    "arm": pl.Schema({**_RUN, "failed": pl.String}),
    "chains": pl.Schema({**_CHAINS, **_STEPS, **_SENT}),
    "larger": pl.Schema({**LARGER, **_SENT}),
}


def schema(kind: str, outside: bool) -> pl.Schema:
    """A shard's columns."""
    return OUTSIDE[kind] if outside else SCHEMAS[kind]


#: A row a problem: what was asked.
PROBLEMS = pl.Schema({"problem": pl.String, "prompt": pl.String, "gold": pl.String, "meta": pl.String})


def write(path: Path, frame: pl.DataFrame, key: str) -> None:
    """Write a shard whole, or not at all; :class:`MullError` if the disk will not have it."""
    with atomic(path) as temporary:
        frame.write_parquet(temporary, compression="zstd")
        lines = dict.fromkeys([f"{key} {digest(temporary)}\n", *_sealed_now(path)])
        write_text(_seal(path), "".join(lines))


def read(path: Path, key: str, schema: pl.Schema) -> pl.DataFrame:
    """A shard's frame, once it is known to be the one that was written for ``key``."""
    advice = "delete it and run the same command again"
    try:
        found = digest(path)
    except FileNotFoundError:
        raise MullError(f"{path} is missing; run the same study again, which makes it anew") from None
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None
    try:
        sealed = [line.split() for line in _seal(path).read_text("utf-8", errors="replace").splitlines()]
    except FileNotFoundError:
        raise MullError(f"{_seal(path)} is missing; delete {path} and run the same command again") from None
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None
    if not any(line[:1] == [key] for line in sealed):
        raise MullError(f"{path} is of another study or unit; {advice}")
    if [key, found] not in sealed:
        raise MullError(f"{path} is damaged (its bytes are not those that were written); {advice}")
    try:
        frame = pl.read_parquet(path, memory_map=False)
    except (OSError, pl.exceptions.PolarsError):
        raise MullError(f"{path} is damaged (not readable as Parquet); {advice}") from None
    if frame.schema != schema:
        raise MullError(f"{path} has other columns than this version of mull writes; {advice}")
    return frame


def _sealed_now(path: Path) -> list[str]:
    """The line of a shard's seal that is about its bytes as they are; none if there is no such shard."""
    try:
        now = digest(path)
        lines = _seal(path).read_text("utf-8", errors="replace").splitlines(keepends=True)
    except OSError:
        return []
    return [line for line in lines if line.split()[1:] == [now]]


def count_replayed(shard: Path, counts: Mapping[str, int]) -> None:
    """Add to what of a shard came from a record of answers: in a file beside it, which is no part of it."""
    if counts:
        total = dict(Counter(replayed(shard)) + Counter(counts))
        write_text(_replayed(shard), json.dumps(total) + "\n")


def replayed(shard: Path) -> dict[str, int]:
    """How much of a shard came from a record of answers; empty if nothing did."""
    try:
        found: dict[str, int] = json.loads(_replayed(shard).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise MullError(f"{_replayed(shard)} cannot be read; delete it (it holds counts alone)") from None
    return found


def _replayed(shard: Path) -> Path:
    return shard.with_name(f"{shard.name}.replayed")


def remove(path: Path) -> None:
    """Remove a shard and its seal, if they are there."""
    for each in (path, _seal(path)):
        with contextlib.suppress(OSError):
            each.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """A hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


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
        # polars wraps the system's words in its own.
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].rpartition("IO error: ")[2]
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
