"""A study from its beginning to its summary, and the summary again from what was recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mull.analysis import summary
from mull.errors import MullError
from mull.study import folder
from mull.study.builtin import builtin
from mull.study.config import FEWEST, Study
from mull.study.folder import Recorded
from mull.study.incomplete import IncompleteError, lacks, part
from mull.study.progress import Say, State
from mull.study.run import record


def run_study(
    study: Study | None = None,
    out: Path | str = "mull-study",
    *,
    workers: int | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Run ``study`` (the built-in one if None) in folder ``out``; returns its summary.

    Goes on with what the folder holds of the same study, and refuses a folder that holds
    anything else. ``workers`` defaults to the cores there are; ``say`` is told how far it is,
    every second or so.

    Where models outside mull failed the summary is of the problems of which nothing is missing, with
    what is as ``incomplete``; :class:`~mull.study.incomplete.IncompleteError` if these are too few.
    """
    began = time.monotonic()
    found = concluded(record(study or builtin(), Path(out), workers=workers, say=say))
    if say is not None:
        say(State(1, 1, 1, 1, time.monotonic() - began, "done"))
    return found


def concluded(recorded: Recorded) -> dict[str, Any]:
    """The summary of what is recorded, written; of the whole problems if something is missing."""
    found = lacks(recorded)
    if found is None:
        return summary.write(recorded)
    if len(found.whole) < FEWEST:
        raise IncompleteError(
            f"{recorded.path} is incomplete: {found}; nothing is missing of {len(found.whole)} of "
            f"{len(recorded.problems)} problems, and an analysis needs {FEWEST}"
        )
    return summary.write(part(recorded, found), found)


def report(out: Path | str) -> dict[str, Any]:
    """The summary of a finished study's folder, computed anew from its shards and written.

    With models outside mull an unfinished one will do, if enough problems are whole.
    """
    recorded = folder.open_folder(Path(out))
    if recorded.study.outside:
        return concluded(recorded)
    if missing := recorded.missing():
        raise MullError(
            f"{out} is not finished: {len(missing)} of {len(recorded.units)} units are missing; "
            f"the command that began it goes on (mull study ... --out {out})"
        )
    return summary.write(recorded)
