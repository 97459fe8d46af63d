"""Finding a data set on this machine: a folder of one's own, Hugging Face's caches, or its library.

Looks in ``MULL_SETS`` (a folder with ``NAME.jsonl`` and the like, or folders ``NAME``), then in the Hub's
cache and in that of the ``datasets`` library, which need nothing installed. The library itself, the
extra ``sets``, comes last: it alone may download. The module knows no columns.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from mull.errors import MullError
from mull.sets.known import DataSet, Place
from mull.sets.rows import ENDINGS, Row, files_in, read


def rows_for(known: DataSet, split: str | None) -> list[tuple[str, Row]]:
    """The set's rows, from the first place that has them.

    Raises :class:`MullError` that says what to fetch, and how, where no place has.
    """
    own = own_files(known.name, split)
    if own:
        return read(own)
    for place in known.places:
        found = cached(place.repo, place.config, split or place.split)
        if found:
            return read(found)
    if has_library():
        return downloaded(known.places[0], split)
    raise MullError(missing(known))


def missing(known: DataSet) -> str:
    """What to do where a set is not on this machine."""
    place = known.places[0]
    gate = ", after accepting its terms there" if known.gated else ""
    return (
        f"data set {known.name!r} is not on this machine; fetch it with 'hf download {place.repo} "
        f"--repo-type dataset'{gate}, or install mull[sets], which downloads it, or put a file of it at "
        f"$MULL_SETS/{known.name}.jsonl, or name one as {known.name}:PATH"
    )


def own_files(name: str, split: str | None) -> list[Path]:
    """The files of a set in ``MULL_SETS``."""
    place = os.environ.get("MULL_SETS")
    if not place:
        return []
    folder = Path(place).expanduser()
    if (folder / name).is_dir():
        return files_in(folder / name, split, usual="test")
    names = ([f"{name}-{split}"] if split else []) + [name]
    paths = (folder / f"{each}{ending}" for each in names for ending in ENDINGS)
    return [path for path in paths if path.is_file()][:1]


def cached(repo: str, config: str | None, split: str | None) -> list[Path]:
    """The files of a repository in the Hub's cache, or else in that of the ``datasets`` library."""
    snapshots = _hub() / f"datasets--{repo.replace('/', '--')}" / "snapshots"
    if snapshots.is_dir() and (found := _snapshot(snapshots)) is not None:
        return files_in(found, split, config)
    folder = _datasets() / repo.replace("/", "___")
    if config is not None and (folder / config).is_dir():
        folder = folder / config
    if not folder.is_dir():
        return []
    arrows = [path for path in files_in(folder, split, config) if path.suffix == ".arrow"]
    newest = max((path.stat().st_mtime for path in arrows), default=0.0)
    return [path for path in arrows if path.parent == _parent_at(arrows, newest)]


def has_library() -> bool:
    """Whether the ``datasets`` library is there."""
    return "datasets" in sys.modules or importlib.util.find_spec("datasets") is not None


def downloaded(place: Place, split: str | None) -> list[tuple[str, Row]]:
    """The rows by the ``datasets`` library, which downloads what it has not."""
    library = import_module("datasets")
    wanted = split or place.split
    try:
        found = library.load_dataset(place.repo, place.config, split=wanted)
    except Exception as error:  # the library raises what it likes
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MullError(f"data set {place.repo!r} cannot be loaded: {why}") from None
    return [(f"{place.repo}, {wanted}, row {n}", dict(row)) for n, row in enumerate(found, 1)]


def _snapshot(snapshots: Path) -> Path | None:
    """The snapshot that ``main`` points to, or else the newest."""
    main = snapshots.parent / "refs" / "main"
    if main.is_file() and (found := snapshots / main.read_text(encoding="utf-8").strip()).is_dir():
        return found
    return max((p for p in snapshots.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, default=None)


def _parent_at(paths: Sequence[Path], time: float) -> Path | None:
    return next((path.parent for path in paths if path.stat().st_mtime == time), None)


def _home() -> Path:
    return Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()


def _hub() -> Path:
    return Path(os.environ.get("HF_HUB_CACHE") or _home() / "hub").expanduser()


def _datasets() -> Path:
    return Path(os.environ.get("HF_DATASETS_CACHE") or _home() / "datasets").expanduser()
