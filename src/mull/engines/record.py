"""The record: answers of models kept in a folder, found again by the exact request.

JSON lines, each an answer with what was asked, a key (a hash of the request and the model) and a
checksum. Every process that writes has a file of its own and only ever appends, one write an answer,
so killing it loses what was in flight and no more, and several may write at a time. Lines are
chosen over Parquet, which is whole only when it is closed, and over a data base, which one cannot
look into with a pager. A line that is not whole at a file's end is what a killed process
had begun: it is passed over. Any other damage is an error that names file and line.

The module keeps and finds; it knows nothing of what the answers mean.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from mull.errors import MullError

#: A line is this, the key, this, the checksum of key and rest in hex, this, and the rest of the object.
_KEY, _SUM, _REST = b'{"key": "', b'", "crc32": "', b'", '
_KEY_END = len(_KEY) + 32
_SUM_END = _KEY_END + len(_SUM) + 8
_OPEN: WeakValueDictionary[Path, Record] = WeakValueDictionary()


def key_of(request: Mapping[str, Any]) -> str:
    """A request's key, 32 hex digits: of all that it holds, in any order of its fields."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def failed(key: str) -> str:
    """The key under which a request's failure is kept, so that an answer can still be put beside it."""
    return key_of({"failed": key})


class Record:
    """The record in ``folder``; :meth:`open` hands out one a folder.

    Everything is checked when it is opened: raises :class:`MullError` for a damaged line or a folder
    that cannot be read. What other processes add afterwards is not seen.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._lock = threading.Lock()
        self._file: tuple[Path, int] | None = None
        self._length = 0
        try:
            for path in sorted(folder.glob("*.jsonl")):
                for key, start, length in _lines(path):
                    self._places.setdefault(key, (path, start, length))
        except OSError as error:
            raise MullError(f"cannot read the record in {folder}: {error.strerror}") from None

    @classmethod
    def open(cls, folder: Path | str) -> Record:
        """The record of a folder, which need not be there yet; users of one process share it."""
        place = Path(folder).expanduser().resolve()
        found = _OPEN.get(place)
        if found is None:
            found = _OPEN[place] = cls(place)
        return found

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put under a key, None if nothing was; :class:`MullError` if it is no longer there."""
        place = self._places.get(key)
        if place is None:
            return None
        path, start, length = place
        try:
            with path.open("rb") as file:
                file.seek(start)
                line = file.read(length)
        except OSError as error:
            raise MullError(f"cannot read the record {path}: {error.strerror}") from None
        if not _whole(line):
            raise MullError(f"{path} has been changed since it was opened; start again")
        found: dict[str, Any] = json.loads(line)
        return found

    def put(self, key: str, entry: Mapping[str, Any]) -> bool:
        """Keep an entry, unless the key has one (False); it is with the system when this returns.

        :class:`MullError` if the folder cannot be written.
        """
        with self._lock:
            if key in self._places:
                return False
            rest = json.dumps(entry, ensure_ascii=False, allow_nan=False)[1:]
            body = rest.encode("utf-8", "backslashreplace")
            check = b"%08x" % zlib.crc32(key.encode() + body)
            line = _KEY + key.encode() + _SUM + check + _REST + body + b"\n"
            path, handle = self._writing()
            try:
                written = os.write(handle, line)
            except OSError as error:
                self._close()
                raise MullError(f"cannot write the record {path}: {error.strerror}") from None
            if written < len(line):
                self._close()  # what follows goes to another file: this one ends in half a line
                raise MullError(f"cannot write the record {path}: no space for a whole answer")
            self._places[key] = (path, self._length, len(line))
            self._length += len(line)
            return True

    def _writing(self) -> tuple[Path, int]:
        if self._file is None:
            name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
            path, flags = self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file, self._length = (path, os.open(path, flags, 0o644)), 0
            except OSError as error:
                raise MullError(f"cannot write the record {path}: {error.strerror}") from None
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file[1])
            self._file = None

    def __del__(self) -> None:
        self._close()


def _lines(path: Path) -> Iterator[tuple[str, int, int]]:
    """Key, start and length of every line of a file, checked; half a line at the end is passed over."""
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            if not _whole(line):
                raise MullError(
                    f"{path}, line {number}: the recorded answer is damaged; delete the line, and it is "
                    "asked for again, or bring the file back from a copy"
                )
            yield line[len(_KEY) : _KEY_END].decode(), start, len(line)
            start += len(line)


def _whole(line: bytes) -> bool:
    """Whether a line is one that was written here, byte for byte."""
    body = line[_SUM_END + len(_REST) : -1]
    try:
        told = int(line[_SUM_END - 8 : _SUM_END], 16)
    except ValueError:
        return False
    key = line[len(_KEY) : _KEY_END]
    shaped = line.startswith(_KEY) and line[_KEY_END:].startswith(_SUM) and line[_SUM_END:].startswith(_REST)
    return shaped and line.endswith(b"}\n") and told == zlib.crc32(key + body)
