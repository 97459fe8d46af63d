"""Reading a data set's rows from files: JSON lines, JSON, CSV, Parquet and Arrow, in the file's order.

Which of a folder's files belong to a split is told by their names. The module knows no data set
and changes no value.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mull.errors import MullError

Row = dict[str, Any]
#: File name endings that hold rows.
ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet", ".arrow")
#: What splits are called in file names.
SPLITS = ("train", "validation", "test", "prompt", "dev", "valid")
#: Files beside the data that are not data.
_BESIDE = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json", "config.json"}
#: Reads a file that may be damaged: Polars can abort the process on some damaged Parquet files.
_PROBE = "import sys, polars as pl; pl.read_parquet(sys.argv[1])"


def files_in(
    folder: Path, split: str | None, config: str | None = None, *, usual: str | None = None
) -> list[Path]:
    """The folder's data files, of one configuration and split where names tell these apart, by name.

    Without a ``split`` that is the ``usual`` one if there is such. Raises :class:`MullError` for a folder
    without data, for a split that is not there, and where there are several and none is named.
    """
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and _ending(p) and p.name not in _BESIDE]
    if not found:
        raise MullError(f"{folder} holds no data ({', '.join(ENDINGS)})")
    if config is not None:
        own = [p for p in found if config in p.relative_to(folder).parts or p.name.startswith(config)]
        found = own or found
    known = {name for path in found for name in SPLITS if _names(path, folder, name)}
    if split is None and usual in known:
        split = usual
    if split is None and len(known) > 1:
        raise MullError(f"{folder} has several splits ({', '.join(sorted(known))}); say which")
    if split is None or not known:
        return found
    chosen = [path for path in found if _names(path, folder, split)]
    if not chosen:
        raise MullError(f"{folder} has no split {split!r}; it has: {', '.join(sorted(known))}")
    return chosen


def rows_of(path: Path) -> list[tuple[str, Row]]:
    """The file's rows, each with where it is, for messages; :class:`MullError` for what cannot be read."""
    ending = _ending(path)
    if ending is None:
        raise MullError(f"{path}: a data set is one of {', '.join(ENDINGS)}, or a folder of such")
    try:
        return list(_READERS[ending](path))
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise MullError(f"{path} is not UTF-8 text (byte {error.start}); convert it first") from None
    except (pl.exceptions.PolarsError, EOFError, OverflowError) as error:
        raise MullError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from None


def read(paths: Sequence[Path]) -> list[tuple[str, Row]]:
    """The rows of several files, one after the other."""
    return [row for path in paths for row in rows_of(path)]


def _ending(path: Path) -> str | None:
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def _names(path: Path, folder: Path, split: str) -> bool:
    """Whether a file's name, or a folder on the way to it, names the split."""
    parts = path.relative_to(folder).parts
    pattern = re.compile(rf"(?:^|[-_.]){split}(?:[-_.]|$)")
    return split in parts[:-1] or bool(pattern.search(parts[-1]))


def _lines(path: Path) -> Iterator[tuple[str, Row]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _object(line, f"{path}, line {number}")


def _object(text: str, where: str) -> tuple[str, Row]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MullError(f"{where}: not JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(row, dict):
        raise MullError(f"{where}: needs an object with fields")
    return where, row


def _document(path: Path) -> Iterator[tuple[str, Row]]:
    """A JSON file: a list of objects, or JSON lines under another name."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("["):
        yield from _lines(path)
        return
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MullError(f"{path}: not JSON ({str(error).splitlines()[0]})") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise MullError(f"{path}, item {number}: needs an object with fields")
        yield f"{path}, item {number}", row


def _frame(path: Path, frame: pl.DataFrame) -> Iterator[tuple[str, Row]]:
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        yield f"{path}, row {number}", row


def _csv(path: Path) -> Iterator[tuple[str, Row]]:
    return _frame(path, pl.read_csv(path, infer_schema=False))


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    done = subprocess.run([sys.executable, "-c", _PROBE, str(path)], capture_output=True, check=False)
    if done.returncode:
        raise MullError(f"{path} is damaged (it cannot be read to its end as Parquet); fetch it again")
    return _frame(path, pl.read_parquet(path, glob=False))


def _arrow(path: Path) -> Iterator[tuple[str, Row]]:
    """Arrow as the ``datasets`` library writes it: a stream; or the file format."""
    with path.open("rb") as file:
        whole = file.read(6) == b"ARROW1"
    return _frame(path, pl.read_ipc(path) if whole else pl.read_ipc_stream(path))


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _lines,
    ".jsonl.gz": _lines,
    ".json": _document,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
