"""Pool files on the disk: written whole or not at all, and never parsed before they are trusted.

Polars can abort the whole process on some damaged Parquet files, which no exception handler
sees. So a file that mull wrote is checked against the digest in the seal beside it
(``POOL.seal``), and any other is first read to its end by a child process. The module knows
nothing of what the columns mean.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mull.errors import MullError
from mull.pools.schema import Info, Layout, conform, layout_of
from mull.study import store

#: Rows and bytes that are held at a time, when reading and writing.
ROWS, BYTES = 1 << 17, 1 << 26
_MAGIC = b"PAR1"
_ADVICE = "make or fetch it again"
#: Reads every row group of the files it is given, and says nothing.
_PROBE = """
import sys
import polars as pl
for path in sys.argv[1:]:
    rows = pl.scan_parquet(path)
    count = rows.select(pl.len()).collect().item()
    for first in range(0, count, {step}):
        rows.slice(first, {step}).collect()
"""


@dataclass(frozen=True)
class Written:
    """What was written: rows, and different problems."""

    rows: int
    problems: int


def paths_of(pool: Path) -> list[Path]:
    """The Parquet files of a pool: the file itself, or a folder's ``*.parquet`` in order of name."""
    if pool.is_dir():
        found = sorted(pool.glob("*.parquet"))
        if not found:
            raise MullError(f"{pool} is a folder without Parquet files; 'mull pool import' makes a pool")
        return found
    if not pool.exists():
        unfinished = parts_of(pool).is_dir()
        advice = "its recording was not finished; run the same 'mull pool record' again" if unfinished else ""
        raise MullError(f"there is no pool {pool}; {advice or 'mull pool import or record makes one'}")
    return [pool]


def parts_of(pool: Path) -> Path:
    """Where a recording keeps its parts until it is finished."""
    return pool.with_name(f"{pool.name}.parts")


def trust(paths: Sequence[Path]) -> None:
    """:class:`MullError` unless the files can be handed to Polars without fear."""
    unsealed = []
    for path in paths:
        _look(path)
        seal = seal_of(path)
        if not seal.exists():
            unsealed.append(path)
        elif seal.read_text(encoding="utf-8", errors="replace").split()[:1] != [store.digest(path)]:
            raise MullError(
                f"{path} is damaged (its bytes are not those that were written); {_ADVICE}, "
                f"or delete {seal} if you changed it on purpose"
            )
    if unsealed and not _readable(unsealed):
        damaged = unsealed[0]
        if len(unsealed) > 1:
            damaged = next((path for path in unsealed if not _readable([path])), damaged)
        raise MullError(f"{damaged} is damaged (it cannot be read to its end as Parquet); {_ADVICE}")


def _look(path: Path) -> None:
    """What can be seen without parsing: that the file begins and ends as Parquet does."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(max(size - 8, 0))
            tail = file.read(8)
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None
    if size < 12 or head != _MAGIC or tail[4:] != _MAGIC:
        raise MullError(f"{path} is not a whole Parquet file (its ends are not Parquet's); {_ADVICE}")
    if int.from_bytes(tail[:4], "little") + 12 > size:
        raise MullError(f"{path} is damaged (its footer is longer than the file); {_ADVICE}")


def _readable(paths: Sequence[Path]) -> bool:
    """Whether a child process lives through reading the files."""
    command = [sys.executable, "-c", _PROBE.format(step=ROWS), *map(str, paths)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def seal_of(path: Path) -> Path:
    """The file that holds the digest of ``path``'s bytes."""
    return path.with_name(f"{path.name}.seal")


def scan(pool: Path) -> tuple[pl.LazyFrame, Layout, Info]:
    """A pool's rows, not read yet, in the schema's types, with its layout and what its metadata says.

    The paths of a folder must agree in both. Raises :class:`MullError` for what is no pool.
    """
    paths = paths_of(pool)
    trust(paths)
    found = []
    for path in paths:
        schema = pl.read_parquet_schema(path)
        info = Info.from_metadata(pl.read_parquet_metadata(path), str(path))
        found.append((layout_of(schema, str(path)), info, schema))
    layout, info, schema = found[0]
    for path, other in zip(paths, found, strict=True):
        if other[:2] != (layout, info):
            raise MullError(
                f"{path} has other columns or another source than {paths[0]}; a pool's parts must agree"
            )
    wanted = layout.schema
    rows = [
        pl.scan_parquet(path, glob=False).select(
            (pl.col(name) if name in schema else pl.lit(None)).cast(kind).alias(name)
            for name, kind in wanted.items()
        )
        for path, (_, _, schema) in zip(paths, found, strict=True)
    ]
    return pl.concat(rows), layout, info


def write(
    frames: Iterable[pl.DataFrame],
    pool: Path,
    layout: Layout,
    info: Info,
    say: Callable[[int], None] | None = None,
) -> Written:
    """Write a pool from frames as they come, holding one of them at a time.

    Rows without a sample number are numbered by problem, in order. The parts are written first
    and then streamed into one file of row groups of at most about ``BYTES``, which gets its name
    when it is whole; ``say`` is told the rows so far. Raises :class:`MullError` for no rows.
    """
    if pool.is_dir():
        raise MullError(f"cannot write {pool}: it is a folder; choose another --out")
    counts: dict[str, int] = {}
    rows, size = 0, 0
    parts: list[Path] = []
    with _workplace(pool) as place:
        for frame in _gathered(frames):
            where = f"rows {rows + 1} to {rows + frame.height}"
            ready = _numbered(conform(frame, layout, where), counts)
            parts.append(place / f"part-{len(parts):05d}.parquet")
            with store.atomic(parts[-1]) as temporary:
                ready.write_parquet(temporary, compression="zstd", metadata=info.to_metadata())
            rows, size = rows + ready.height, size + int(ready.estimated_size())
            if say is not None:
                say(rows)
        if not rows:
            raise MullError("there are no samples to write; the input is empty")
        merge(parts, pool, info, max(1000, min(ROWS, rows * BYTES // max(size, 1))))
    return Written(rows, len(counts))


def merge(parts: list[Path], pool: Path, info: Info, group: int = ROWS) -> None:
    """Stream part files, in order, into the one file ``pool``, and seal it."""
    with store.atomic(pool) as temporary:
        whole = pl.scan_parquet(parts, glob=False, cache=False)
        whole.sink_parquet(
            temporary,
            compression="zstd",
            row_group_size=group,
            maintain_order=True,
            metadata=info.to_metadata(),
        )
        store.write_text(seal_of(pool), f"{store.digest(temporary)}\n")


def _gathered(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The frames, small ones put together up to ``ROWS`` rows or ``BYTES``."""
    held: list[pl.DataFrame] = []
    rows, size = 0, 0
    for frame in frames:
        more = int(frame.estimated_size())
        if held and (rows + frame.height > ROWS or size + more > BYTES):
            yield pl.concat(held)
            held, rows, size = [], 0, 0
        held, rows, size = [*held, frame], rows + frame.height, size + more
    if rows:
        yield pl.concat(held)


def _numbered(frame: pl.DataFrame, counts: dict[str, int]) -> pl.DataFrame:
    """The frame with every sample numbered on from ``counts`` (by problem), which are brought up to date."""
    if frame["sample"].null_count():
        first = pl.col("problem").replace_strict(_now(frame, counts), return_dtype=pl.Int32)
        place = pl.int_range(pl.len(), dtype=pl.Int32).over("problem")
        frame = frame.with_columns(pl.coalesce("sample", first + place).alias("sample"))
    for name, last in frame.group_by("problem").agg(pl.col("sample").max()).iter_rows():
        counts[name] = max(counts.get(name, 0), last + 1)
    return frame


def _now(frame: pl.DataFrame, counts: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in frame["problem"].unique()}


@contextlib.contextmanager
def _workplace(pool: Path) -> Iterator[Path]:
    """A folder of this process for a pool's parts, gone at the end; those of dead processes go too."""
    for left in pool.parent.glob(f".{pool.name}.*.parts"):
        with contextlib.suppress(OSError, ValueError):
            if not _alive(int(left.name.split(".")[-2])):
                shutil.rmtree(left)
    place = pool.with_name(f".{pool.name}.{os.getpid()}.parts")
    try:
        place.mkdir(parents=True, exist_ok=True)
        yield place
    except OSError as error:
        raise MullError(f"cannot write {pool}: {error.strerror}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
