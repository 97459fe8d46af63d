"""One worker: a process of its own that loads the models once and computes units.

Of a study with models outside mull it computes several units at a time (:mod:`mull.study.outside`).
It reads one JSON line a task on standard input and answers each with one line; when
standard input ends it leaves at once, so no worker outlives the study. It is started
by :mod:`mull.study.run` with single-threaded matrix products.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

from mull.errors import MullError


def serve(tasks: queue.SimpleQueue[str], answers: TextIO) -> None:
    """Compute units until the process is told to end; the first task says which study."""
    from mull.study import folder, models, outside, trees, units

    first = json.loads(tasks.get())
    place = Path(first["folder"])
    study, recorded = folder.parse(first["study"]), folder.open_folder(place)
    planned = {unit.file: unit for unit in recorded.units}
    loaded = models.load(study)

    def done(task: dict[str, Any]) -> None:
        print(json.dumps({"done": task}), file=answers, flush=True)

    async def look() -> None:
        await units.record_trees(loaded, study, trees.choose(recorded), place)

    if study.outside:
        asyncio.run(outside.serve(loaded, study, planned, place, tasks, done, look))
    while True:
        task = json.loads(tasks.get())
        if "unit" in task:
            units.record(loaded, study, planned[task["unit"]], place)
        else:
            asyncio.run(look())
        done(task)


def main() -> None:
    """Run as ``python -m mull.study.worker``."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    try:
        serve(tasks, answers)
    except MullError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
    except BaseException:
        print(json.dumps({"bug": traceback.format_exc()}), file=answers, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
