"""Attempts one after another, as Reflexion's runs have them: a folder with a file a trial.

Each ``env_results_trial_N.json`` lists every task after trial N: ``{name, memory, is_success}``. A
solved task is not run again, so the pool (of kind "trials") has a row for every trial
that was made: the failures and, if there is one, the success that ends them. The text is the
reflection that was written after the trial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mull.errors import MullError
from mull.pools.adapters.base import Asked, Source, adapter, source
from mull.pools.inputs import document, need
from mull.pools.schema import Info

_FILE = "env_results_trial_*.json*"
_TRIAL = re.compile(r"trial_(\d+)\.json")


@adapter("reflexion")
def reflexion(asked: Asked) -> Source:
    """Trials in order on each task, the next only after a failure (a Reflexion run's folder)."""
    folder = _run(asked.path)
    files = sorted(folder.glob(_FILE), key=_number)
    if [_number(file) for file in files] != list(range(len(files))):
        raise MullError(f"{folder}: the trials are not numbered from 0 without a gap")
    return source(_rows(files), info=Info("reflexion", "trials"))


def _run(path: Path) -> Path:
    """The folder that holds one run's files: ``path`` or the only one under it."""
    if not path.is_dir():
        raise MullError(f"{path} is no folder; give the folder of one run")
    found = sorted({file.parent for file in path.rglob(_FILE)})
    if len(found) != 1:
        names = ", ".join(str(p.relative_to(path)) for p in found)
        raise MullError(f"{path} holds {len(found)} runs; give the folder of one of them: {names or 'none'}")
    return found[0]


def _number(file: Path) -> int:
    found = _TRIAL.search(file.name)
    return int(found[1]) if found else -1


def _rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    solved: set[str] = set()
    for trial, file in enumerate(files):
        for number, record in enumerate(need(document(file), list, str(file))):
            where = f"{file}, entry {number}"
            name, success = need(record, str, where, "name"), need(record, bool, where, "is_success")
            if name in solved:
                if not success:
                    raise MullError(
                        f"{where}: {name!r} was solved before and is not now; outcomes must add up"
                    )
                continue
            if success:
                solved.add(name)
            memory = need(record, list, where, "memory")
            text = need(memory[-1], str, where) if memory and not success else None
            yield {"problem": name, "sample": trial, "correct": success, "text": text}
