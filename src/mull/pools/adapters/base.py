"""What an adapter is, and the registry that ``mull pool import --format`` finds it in.

An adapter reads somebody's recorded outputs and gives them as frames of the pool's columns.
It decides nothing about them: what it cannot find stays null.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from mull.errors import MullError
from mull.pools.files import BYTES, ROWS
from mull.pools.schema import Info, Layout, to_frame


@dataclass(frozen=True)
class Asked:
    """What is asked of an adapter: the path, mappings (column: field) and settings (name: value)."""

    path: Path
    mapping: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def choice(self, name: str, known: Iterable[str]) -> str:
        """The setting ``name``, one of ``known``; the first of them if it was not given."""
        known = tuple(known)
        value = self.settings.get(name, known[0])
        if value not in known:
            raise MullError(f"--set {name} is {value!r}; it must be one of: {', '.join(known)}")
        return value


@dataclass(frozen=True)
class Source:
    """What an adapter gives: frames one at a time, the columns they share, and the pool's metadata.

    A frame has ``problem`` and whatever other columns of ``layout`` it can fill; rows without a
    ``sample`` number are numbered in the order in which they come.
    """

    frames: Iterator[pl.DataFrame]
    layout: Layout
    info: Info


@dataclass(frozen=True)
class Adapter:
    """A registered format; ``settings`` explains each setting, ``maps`` says whether it takes mappings."""

    name: str
    summary: str
    read: Callable[[Asked], Source]
    settings: Mapping[str, str]
    maps: bool


_REGISTRY: dict[str, Adapter] = {}


def adapter(
    name: str, *, maps: bool = False, **settings: str
) -> Callable[[Callable[[Asked], Source]], Callable[[Asked], Source]]:
    """Register ``read(asked)`` under ``name``; the first line of its docstring is the summary shown."""

    def register(read: Callable[[Asked], Source]) -> Callable[[Asked], Source]:
        summary = (inspect.getdoc(read) or "").split("\n")[0]
        _REGISTRY[name] = Adapter(name, summary, read, settings, maps)
        return read

    return register


def adapters() -> Mapping[str, Adapter]:
    """All registered formats, by name."""
    return dict(sorted(_REGISTRY.items()))


def find(name: str, asked: Asked) -> Adapter:
    """The adapter for ``name``, once it takes what is asked of it; :class:`MullError` lists what is known."""
    if name not in _REGISTRY:
        raise MullError(f"there is no format {name!r}; known: {', '.join(sorted(_REGISTRY))}")
    found = _REGISTRY[name]
    if asked.mapping and not found.maps:
        able = ", ".join(a.name for a in adapters().values() if a.maps)
        raise MullError(f"format {name!r} takes no --map; those that do: {able}")
    for setting in asked.settings:
        if setting not in found.settings:
            known = ", ".join(found.settings) or "none"
            raise MullError(f"format {name!r} has no setting {setting!r}; its settings: {known}")
    return found


def source(
    rows: Iterable[Mapping[str, Any]], layout: Layout | None = None, info: Info | None = None
) -> Source:
    """A source from rows (see :func:`mull.pools.schema.to_frame`), a bounded number of them at a time."""
    layout = layout or Layout()
    return Source(_framed(iter(rows), layout), layout, info or Info())


def _framed(rows: Iterator[Mapping[str, Any]], layout: Layout) -> Iterator[pl.DataFrame]:
    held: list[Mapping[str, Any]] = []
    size = 0
    while chunk := list(islice(rows, 1024)):
        held += chunk
        size += sum(len(text) for row in chunk if (text := row.get("text")) is not None)
        if len(held) >= ROWS or size >= BYTES:
            yield to_frame(held, layout)
            held, size = [], 0
    if held:
        yield to_frame(held, layout)
