"""How far a study is, in words: a bar on a terminal, a line every few seconds elsewhere.

It goes to standard error, so that standard output stays the command's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds between two lines where there is no terminal.
PAUSE = 3.0


@dataclass(frozen=True)
class State:
    """Where a run is: ``done`` of ``total`` units, ``work`` of ``all_work`` (any unit), what it is at.

    A ``total`` of 1 stands for a run whose units are not counted yet, or no more.
    """

    done: int
    total: int
    work: float
    all_work: float
    seconds: float
    note: str

    @property
    def left(self) -> float | None:
        """Seconds left at the speed so far, None before anything is known."""
        return self.seconds * (self.all_work / self.work - 1) if self.work else None

    def __str__(self) -> str:
        share = self.work / self.all_work if self.all_work else 1.0
        units = f"{self.done}/{self.total} units ({share:.0%}), " if self.total > 1 else ""
        left = "" if not round(self.left or 0) or not self.note else f", {clock(self.left or 0)} left"
        return f"{units}{clock(self.seconds)} gone{left}: {self.note}"


Say = Callable[[State], None]


def clock(seconds: float) -> str:
    """Seconds as ``42 s`` or ``3:05 min`` or ``2:10 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def reporter() -> Say:
    """Says states on standard error: rewriting one line on a terminal, else a line now and then."""
    terminal = sys.stderr.isatty()
    last, total = -PAUSE, 0

    def say(state: State) -> None:
        nonlocal last, total
        now = time.monotonic()
        final = state.done == state.total
        if terminal:
            filled = round(24 * (state.work / state.all_work if state.all_work else 1))
            bar = "━" * filled + "╺" * (24 - filled)
            print(f"\r\033[K{bar} {state}"[:200], end="\n" if final else "", file=sys.stderr, flush=True)
        elif final or state.total != total or now - last >= PAUSE:
            last, total = now, state.total
            print(f"mull: {state}", file=sys.stderr, flush=True)

    return say
