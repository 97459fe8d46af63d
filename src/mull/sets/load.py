"""Loading a data set's problems: by name, from files, or from a repository of the Hub.

    load("gsm8k", count=100)
    load("math500:../data/math500.jsonl")                  a known set from a file or folder of one's own
    load("mine.parquet", prompt="task", answer="result")   any JSON lines, JSON, CSV, Parquet or Arrow
    load("someone/some-set", split="validation")           any repository in the cache, or by ``datasets``

The module reads and checks; it grades nothing, and puts nothing into a prompt.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from mull.errors import MullError
from mull.problems import Problem, validate
from mull.sets import hub
from mull.sets.known import SETS, DataSet, Place, find, recognised
from mull.sets.rows import Row, files_in, read
from mull.sets.shapes import Made, name_of, plain


def load(
    source: str | Path,
    count: int | None = None,
    split: str | None = None,
    *,
    prompt: str | None = None,
    answer: str | None = None,
    id: str | None = None,
    graded: bool = True,
) -> tuple[Problem, ...]:
    """The first ``count`` problems of a data set, in its order.

    ``split`` None is the test split of a set known by name, and of a path all there is, if its
    files are not of several splits. ``prompt``,
    ``answer`` and ``id`` name columns where they are not called as usual
    (:mod:`mull.sets.shapes`). Ids are the rows' own where these differ, else NAME-1, NAME-2, ...
    With ``graded`` a problem without a gold answer is an error.

    Raises :class:`MullError` for what is not there (with the command that fetches it), and with
    file and row for a row that cannot be used.
    """
    if count is not None and count < 1:
        raise MullError(f"count is {count}; it must be at least 1")
    known, name, rows = _rows(str(source), split)
    if known is None and rows and prompt is None:
        known = recognised(set(rows[0][1]))
    if known is not None and known.shape is not plain and (prompt or answer):
        raise MullError(f"data set {known.name!r} has columns of its own; prompt and answer cannot be named")
    made: list[Made] = []
    names: list[str | None] = []
    for where, row in islice(rows, count):
        shaped = known is not None and known.shape is not plain
        made.append(known.shape(row, where) if shaped and known else plain(row, where, prompt, answer))
        names.append(name_of(row, id, where))
    if None in names or len(set(names)) < len(names):
        if id is not None:
            twice = next((n for n in names if n is None or names.count(n) > 1), None)
            raise MullError(f"{source}: column {id!r} is no id: {twice!r} occurs twice or is empty")
        names = [f"{name}-{number}" for number in range(1, len(made) + 1)]
    return validate(
        (Problem(str(n), m.prompt, m.gold, m.meta) for n, m in zip(names, made, strict=True)), graded=graded
    )


def default_grader(source: str | Path) -> str | None:
    """The name of a set's grader (:func:`mull.grading.grader`); None where the set is not known by name."""
    known = find(str(source)) or find(str(source).partition(":")[0])
    return None if known is None else known.grader


def _rows(source: str, split: str | None) -> tuple[DataSet | None, str, list[tuple[str, Row]]]:
    """The set if it is known, a name for it, and its rows."""
    named, colon, rest = source.partition(":")
    known = find(named) if colon else None
    if known is not None:
        return known, known.name, _local(Path(rest).expanduser(), split, "test")
    path = Path(source).expanduser()
    if path.exists():
        return None, path.name.partition(".")[0], _local(path, split, None)
    known = find(source)
    if known is not None:
        return known, known.name, hub.rows_for(known, split)
    if source.count("/") == 1 and not path.suffix:
        found = hub.cached(source, None, split)
        if found:
            return None, path.name, read(found)
        if hub.has_library():
            return None, path.name, hub.downloaded(Place(source), split)
        raise MullError(
            f"there is no file {source}, and no such repository in the cache; fetch it with "
            f"'hf download {source} --repo-type dataset', or install mull[sets]"
        )
    raise MullError(f"there is no file {source}, and no data set of that name; known: {', '.join(SETS)}")


def _local(path: Path, split: str | None, usual: str | None) -> list[tuple[str, Row]]:
    return read(files_in(path, split, usual=usual) if path.is_dir() else [path])
