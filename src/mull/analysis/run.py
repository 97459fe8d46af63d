"""A study from its beginning to its summary, and the summary again from what was recorded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mull.analysis import summary
from mull.errors import MullError
from mull.study import folder
from mull.study.builtin import builtin
from mull.study.config import Study
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
    """
    began = time.monotonic()
    found = summary.write(record(study or builtin(), Path(out), workers=workers, say=say))
    if say is not None:
        say(State(1, 1, 1, 1, time.monotonic() - began, "done"))
    return found


def report(out: Path | str) -> dict[str, Any]:
    """The summary of a finished study's folder, computed anew from its shards and written."""
    recorded = folder.open_folder(Path(out))
    if missing := recorded.missing():
        raise MullError(
            f"{out} is not finished: {len(missing)} of {len(recorded.units)} units are missing; "
            f"the command that began it goes on (mull study ... --out {out})"
        )
    return summary.write(recorded)
