"""A worker's loop for models outside mull: as many units at a time as keep the servers busy.

Another unit is begun when a server has room. When everything of a unit has failed the next waits
longer and longer for the server to come back; then the loop gives up and leaves the rest for another
run. A mistake to put right ends it, once the units at hand are written.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mull.models import model_spec
from mull.study import units
from mull.study.config import SAMPLING, Study
from mull.study.models import Models, within
from mull.study.plan import Unit

#: Units at a time at most.
MOST = 8
#: Units one after the other of which everything failed, after which the rest is left.
STRIKES = 5
#: Seconds before the first unit after such a one; it doubles. With ``retries = 0`` there is no waiting.
FIRST_WAIT = 2.0


async def serve(
    models: Models,
    study: Study,
    planned: Mapping[str, Unit],
    place: Path,
    tasks: queue.SimpleQueue[str],
    done: Callable[[dict[str, Any]], None],
    look: Callable[[], Awaitable[None]],
) -> None:
    """Compute units as their tasks come, telling ``done``; ``look`` records the trees. Never returns.

    Raises the :class:`MullError` that a model's server or a unit ends the run with.
    """
    loop, lines = _Loop(models, study, planned, place), asyncio.Queue[str]()
    here = asyncio.get_running_loop()

    def listen() -> None:
        while True:
            here.call_soon_threadsafe(lines.put_nowait, tasks.get())

    # Not in the loop's own pool of threads, which is waited for when the loop ends.
    threading.Thread(target=listen, daemon=True).start()
    over = asyncio.create_task(loop.over.wait())
    while True:
        line = asyncio.create_task(lines.get())
        await asyncio.wait({line, over}, return_when=asyncio.FIRST_COMPLETED)
        if line.done():
            task = json.loads(line.result())
            if "unit" not in task:
                await look()
                done(task)
                continue
            await loop.room()
        if loop.fatal is not None:
            if loop.running:
                await asyncio.wait(loop.running)
            raise loop.fatal
        loop.begin(task, done)


class _Loop:
    """The units at hand, and how the servers have been."""

    def __init__(self, models: Models, study: Study, planned: Mapping[str, Unit], place: Path) -> None:
        self.models, self.study, self.planned, self.place = models, study, planned, place
        self.running: set[asyncio.Task[None]] = set()
        self.fatal: Exception | None = None
        self.over = asyncio.Event()
        self.strikes, self.not_before = 0, 0.0
        patient = [model_spec(m) for role in SAMPLING if (m := getattr(study, role)) is not None]
        self.patient = any(spec.served and spec.retries and not spec.replay for spec in patient)

    async def room(self) -> None:
        """Wait until another unit can be begun, or none is to be any more."""
        if self.running:
            await asyncio.sleep(0.02)  # the one that was begun last is to make its requests first
        while self.running and self.fatal is None and (len(self.running) >= MOST or not self._spare()):
            await asyncio.wait(self.running, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        wait = self.not_before - time.monotonic()
        if self.fatal is None and self.strikes < STRIKES and wait > 0:
            await asyncio.sleep(wait)

    def _spare(self) -> bool:
        """Whether a server could take more requests; a model without one takes a unit at a time."""
        wires = [m.wire for m in map(within, vars(self.models).values()) if hasattr(m, "wire")]
        return any(wire.pace.in_flight < int(wire.pace.limit) for wire in wires)

    def begin(self, task: dict[str, Any], done: Callable[[dict[str, Any]], None]) -> None:
        """Start a unit, unless the servers have been given up."""
        if self.strikes >= STRIKES:
            done(task)
            return
        work = asyncio.create_task(self._unit(task, done, self.not_before))
        self.running.add(work)
        work.add_done_callback(self.running.discard)

    async def _unit(self, task: dict[str, Any], done: Callable[[dict[str, Any]], None], since: float) -> None:
        try:
            frame = await units.record_outside(
                self.models, self.study, self.planned[task["unit"]], self.place
            )
        except Exception as error:  # a mistake to put right, or a bug: the worker ends with it
            self.fatal = self.fatal or error
            self.over.set()
            return
        if frame["failed"].null_count():
            self.strikes = 0
        elif since == self.not_before:  # units that were under way at one strike are one strike
            self.strikes += 1
            wait = FIRST_WAIT * 2 ** (self.strikes - 1) if self.patient else 0.0
            self.not_before = time.monotonic() + wait
        done(task)
