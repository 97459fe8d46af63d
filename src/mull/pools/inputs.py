"""Reading recorded outputs as text: lines and documents of JSON, plain or gzipped.

Whatever is wrong with a file is one :class:`MullError` with its name and line. Lines are read
one at a time, so a file of any length takes little memory. The module knows no format.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from mull.errors import MullError

Kind = TypeVar("Kind")
_WORDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file's lines with their numbers from 1, blank ones left out."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise MullError(
            f"{path} is damaged (its compressed data break off or are wrong); fetch it again"
        ) from None
    except OSError as error:
        raise MullError(f"cannot read {path}: {error.strerror}") from None


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with its place ("file, line 3") for messages."""
    for number, line in lines(path):
        where = f"{path}, line {number}"
        yield where, need(parse(line, where), dict, where)


def document(path: Path) -> Any:
    """The one JSON value that a file holds."""
    return parse(b"".join(line for _, line in lines(path)), str(path))


def parse(text: bytes, where: str) -> Any:
    """A JSON value from bytes, which must be UTF-8."""
    try:
        return json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MullError(f"{where}: not UTF-8 text (byte {error.start}); convert it first") from None
    except json.JSONDecodeError as error:
        raise MullError(f"{where}: not JSON ({error.msg})") from None
    except RecursionError:
        raise MullError(f"{where}: JSON nested too deep") from None
    except ValueError:  # more digits than Python converts
        raise MullError(f"{where}: a number too long to read") from None


@overload
def need(value: object, kind: type[Kind], where: str) -> Kind: ...
@overload
def need(value: object, kind: type[Kind], where: str, name: str) -> Kind: ...
def need(value: object, kind: Any, where: str, name: str = "") -> Any:
    """``value``, or with ``name`` its field of that name, once it is of type ``kind``.

    A float may be written as a whole number; true and false are no numbers.
    """
    if name:
        if not isinstance(value, Mapping) or name not in value:
            has = f" (it has: {', '.join(map(str, value))})"[:200] if isinstance(value, Mapping) else ""
            raise MullError(f"{where}: no field {name!r}{has}; is it of another format?")
        value = value[name]
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        what = f"field {name!r}" if name else "the value"
        raise MullError(f"{where}: {what} must be {_WORDS[kind]}; is it of another format?")
    return value


def same_length(where: str, **lists: list[Any]) -> int:
    """The length that all the lists share; :class:`MullError` if they differ."""
    sizes = {name: len(values) for name, values in lists.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise MullError(f"{where}: lists of different lengths: {shown}")
    return next(iter(sizes.values()))


def one_file(path: Path, pattern: str) -> Path:
    """``path`` itself if it is a file; of a folder, its one file that matches ``pattern``."""
    if not path.is_dir():
        if not path.exists():
            raise MullError(f"there is no {path}")
        return path
    found = sorted(path.glob(pattern))
    if not found:
        raise MullError(f"{path} has no file {pattern}")
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise MullError(f"{path} holds {len(found)} pools; give the path of one of them: {names}")
    return found[0]
