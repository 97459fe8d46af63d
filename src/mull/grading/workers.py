"""math-verify in a few worker processes, and what becomes of those that fail.

A judgement costs at most its time limit. The limit is of processor time, kept by the system
inside the worker, so that a busy machine does not change verdicts; a wall clock twenty times
as long stands behind it. A worker that hangs, dies or outgrows its memory is ended, replaced when
the next one is needed, and its judgement is a :class:`NoVerdictError`: never a verdict. Nothing here
looks at what the answers mean.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

from mull.errors import MullError
from mull.grading.worker import READY, STAGES

_PROF = getattr(signal, "SIGPROF", 27)  # what ends a worker whose time is up
TIME, DEATH = "time limit", "the worker died"
WALL = 20  # wall time a judgement may take, in its time limits: for workers that hang without working
START_SECONDS = 120.0  # wall time for a worker to import math-verify
LEAST_SECONDS = 0.2  # what a judgement gets, however much of its verdict's time has gone
REMEMBERED = 65_536  # verdicts kept, 16 bytes of key each


class NoVerdictError(Exception):
    """A judgement that was not made; the message says why."""


class MathVerify:
    """math-verify in at most ``workers`` processes, which start when first needed (POSIX systems).

    ``seconds`` is the processor time a judgement may take, ``memory_mb`` the address space
    of a worker in MiB (not enforced where the system has no such limit). Verdicts are
    remembered, and so are texts that could not be read: a hostile answer costs its limit once.
    Any number of threads may ask; a pool used after a fork starts workers of its own. As a
    context manager it ends its workers on leaving; they also end with this process.
    """

    def __init__(self, workers: int = 2, *, seconds: float = 5.0, memory_mb: int = 1024) -> None:
        if workers < 1 or seconds <= 0 or memory_mb < 256:
            raise MullError("math-verify: at least 1 worker, more than 0 seconds and 256 MB are needed")
        self.workers, self.seconds, self.memory_mb = workers, seconds, memory_mb
        self.judged = self.failed = 0  # judgements that workers made, and that they did not survive
        self.spent = 0.0  # processor time of those that were made
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(workers)
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._verdicts: OrderedDict[bytes, bool | str] = OrderedDict()
        self._hopeless: OrderedDict[bytes, str] = OrderedDict()  # texts that no judgement survives
        # Sides of comparisons that failed; each is tried alone before it costs the next its time.
        self._suspects: OrderedDict[bytes, None] = OrderedDict()
        atexit.register(self.close)

    def judge(
        self, gold: str, target: str, settings: Mapping[str, Any], seconds: float | None = None
    ) -> tuple[bool, float]:
        """Whether math-verify calls the two equal, and the processor time that took (0 if remembered).

        ``settings`` are those of :data:`mull.grading.worker.DEFAULTS`; ``seconds`` may cut
        the time limit short. Raises :class:`NoVerdictError` if there was no verdict in time or in
        memory, :class:`MullError` where math-verify is not installed or does not start.
        """
        pair = _digest(json.dumps(settings, sort_keys=True), gold, target)
        limit = self.seconds if seconds is None else min(seconds, self.seconds)
        self._after_fork()
        with self._lock:
            found, spent = self._verdicts.get(pair), 0.0
        if found is None:
            for text in (gold, target):
                found, cost = self._hopeless_alone(text, settings, limit - spent)
                spent += cost
                if found is not None:
                    break
        if found is None:
            left = max(LEAST_SECONDS, limit - spent)
            found, cost, stage = self._ask([gold, target], settings, left)
            spent += cost
            if not isinstance(found, str) or left == self.seconds:
                self._learn(pair, (_digest(gold), _digest(target)), found, stage)
        if isinstance(found, str):
            raise NoVerdictError(found)
        return found, spent

    def _learn(self, pair: bytes, sides: tuple[bytes, bytes], found: bool | str, stage: str) -> None:
        """Remember a verdict, or what failed and at which stage."""
        with self._lock:
            if isinstance(found, str) and stage in STAGES[:2]:
                _remember(self._hopeless, sides[STAGES.index(stage)], found)
                return
            _remember(self._verdicts, pair, found)
            for side in sides if isinstance(found, str) else ():
                _remember(self._suspects, side, None)

    def _hopeless_alone(
        self, text: str, settings: Mapping[str, Any], limit: float
    ) -> tuple[str | None, float]:
        """Why a text can't be judged against anything (None if it can), and the time it took to know."""
        side = _digest(text)
        with self._lock:
            why, suspect = self._hopeless.get(side), side in self._suspects
            self._suspects.pop(side, None)
        if why is not None or not suspect:
            return why, 0.0
        found, spent, _ = self._ask([text], settings, max(LEAST_SECONDS, limit))
        if not isinstance(found, str):
            return None, spent
        with self._lock:
            _remember(self._hopeless, side, found)
        return found, spent

    def pids(self) -> list[int]:
        """The process ids of the workers there are now."""
        with self._lock:
            return [worker.process.pid for worker in (*self._idle, *self._busy)]

    def close(self) -> None:
        """End the workers, after the judgements they are at; the next one starts new workers."""
        if self._owner == os.getpid():
            with self._lock:
                idle, self._idle = self._idle, []
            for worker in idle:
                worker.end()

    def __enter__(self) -> MathVerify:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        atexit.unregister(self.close)

    def _after_fork(self) -> None:
        """Leave the workers of the process this one was forked from to it."""
        if self._owner != os.getpid():
            for worker in (*self._idle, *self._busy):
                worker.abandon()
            self._owner = os.getpid()
            self._lock = threading.Lock()
            self._places = threading.BoundedSemaphore(self.workers)
            self._idle, self._busy = [], []

    def _ask(
        self, texts: list[str], settings: Mapping[str, Any], limit: float
    ) -> tuple[bool | str, float, str]:
        """A verdict or why there is none, the processor time it took, and the last stage reached."""
        request = json.dumps([texts, dict(settings), limit])
        with self._places:
            for fresh in (False, True):
                with self._lock:
                    worker = self._idle.pop() if self._idle and not fresh else None
                used = worker is not None
                worker = worker or _Worker(self.memory_mb)
                with self._lock:
                    self._busy.append(worker)
                found: bool | str = DEATH
                try:
                    found, spent, stage = worker.ask(request, limit)
                finally:  # after an interrupt, say, nobody knows what the worker would answer next
                    with self._lock:
                        self._busy.remove(worker)
                        if isinstance(found, bool):
                            self.judged, self.spent = self.judged + 1, self.spent + spent
                            self._idle.append(worker)
                        else:
                            self.failed += 1
                    if not isinstance(found, bool):
                        worker.end()
                if found != DEATH or not used:
                    break  # else it may have died while idle, or of what it had kept: once more, afresh
        return found, spent, stage


class _Worker:
    """One worker process and the two ends of its pipes."""

    def __init__(self, memory_mb: int) -> None:
        if not available():
            raise MullError("math-verify is not installed: pip install 'mull[math]'")
        source = str(Path(__file__).resolve().parents[2])
        paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from mull.grading.worker import main; main({memory_mb:d})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._to, False)
        self._rest = b""
        if self._line(time.monotonic() + START_SECONDS) != READY:
            self.end()
            raise MullError("a math-verify worker did not start; try: python -c 'import math_verify'")

    def ask(self, request: str, limit: float) -> tuple[bool | str, float, str]:
        """A verdict, or :data:`TIME` or :data:`DEATH`; its processor time; the last stage entered."""
        deadline, stage = time.monotonic() + WALL * limit, ""
        if not self._send(request.encode() + b"\n", deadline):
            return self._why(), 0.0, stage
        while (line := self._line(deadline)) is not None:
            if line in STAGES:
                stage = line
            else:
                found, spent = json.loads(line)
                return found is True, spent, stage
        return self._why(), limit, stage

    def end(self) -> None:
        """Kill it; it holds nothing that wants saving."""
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        self.abandon()

    def abandon(self) -> None:
        """Close the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()

    def _why(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=1.0)
            return TIME if code == -_PROF else DEATH
        return TIME

    def _send(self, data: bytes, deadline: float) -> bool:
        with selectors.DefaultSelector() as ready:
            ready.register(self._to, selectors.EVENT_WRITE)
            while data:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    return False
                try:
                    data = data[os.write(self._to, data) :]
                except BlockingIOError:
                    continue
                except OSError:
                    return False
        return True

    def _line(self, deadline: float) -> str | None:
        """The next line, None if the worker ended or the deadline passed."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._from, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    return None
                found = os.read(self._from, 65536)
                if not found:
                    return None
                self._rest += found
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace")


def available() -> bool:
    """Whether math-verify is installed."""
    return importlib.util.find_spec("math_verify") is not None


def _digest(*parts: str) -> bytes:
    return blake2b("\0".join(map(repr, parts)).encode("utf-8", "backslashreplace"), digest_size=16).digest()


def _remember(store: OrderedDict[bytes, Any], name: bytes, value: Any) -> None:
    store[name] = value
    if len(store) > REMEMBERED:
        store.popitem(last=False)


_shared: MathVerify | None = None
_shared_lock = threading.Lock()


def shared() -> MathVerify:
    """The workers that are used where none are named."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = MathVerify()
        return _shared
