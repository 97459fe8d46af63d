"""Making a pool of an adapter's frames, or of one frame. The module knows no format and checks no column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from mull.answers import Grader
from mull.errors import MullError
from mull.pools import files
from mull.pools.adapters import Asked, find
from mull.pools.canonical import regraded
from mull.pools.files import Written
from mull.pools.schema import CORE, REQUIRED, Info, Layout, Scale, layout_of


def import_pool(
    asked: Asked,
    form: str,
    out: Path,
    *,
    scales: dict[str, Scale] | None = None,
    grader: Grader | None = None,
    say: Callable[[int], None] | None = None,
) -> Written:
    """Read ``asked.path`` by the adapter called ``form`` and write the pool ``out``.

    ``scales`` says for some scores how they are to be taken; ``grader`` says what is right wherever there
    is a gold answer (None: the source, or the normal form); ``say`` is told the samples so far. At most
    a batch of samples is held at a time.
    """
    found = find(form, asked)
    if out.resolve() == asked.path.resolve():
        raise MullError(f"{out} is the file to be imported; choose another --out")
    source = found.read(asked)
    for name in scales or {}:
        if name not in source.layout.scores:
            known = ", ".join(source.layout.scores) or "none"
            raise MullError(f"there is no score {name!r} to scale; the scores: {known}")
    info = replace(source.info, scales={**source.info.scales, **(scales or {})})
    frames = source.frames if grader is None else regraded(source.frames, grader)
    return files.write(frames, out, source.layout, info, say)


def write_pool(
    frame: pl.DataFrame, out: Path | str, layout: Layout | None = None, info: Info | None = None
) -> Written:
    """Write a frame as a pool: ``problem`` and any of the schema's columns; the others are null.

    ``layout`` is read off the frame's columns if it is not given.
    """
    missing = [name for name in REQUIRED[1:] if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, CORE[name]).alias(name) for name in missing)
    return files.write([frame], Path(out), layout or layout_of(frame.schema, "the frame"), info or Info())
