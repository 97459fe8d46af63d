"""The crew: worker processes, a task each at a time, and no task lost without a word.

Workers are plain subprocesses (no fork, nothing of the caller's main module is run
again), so a study can be started from anywhere. They end when this process does,
however it ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mull
from mull.errors import MullError

#: One thread a worker: results are then bit-identical, and workers do not fight for cores.
SINGLE = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def cores() -> int:
    """How many cores this process may use."""
    with suppress(AttributeError):  # not on macOS or Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Crew:
    """Running workers, each with up to ``depth`` tasks at a time; use it through :func:`crew`."""

    def __init__(self, size: int, first: dict[str, Any], depth: int = 1) -> None:
        source = str(Path(mull.__file__).resolve().parents[1])
        paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = {**os.environ, **SINGLE, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
        self._selector = selectors.DefaultSelector()
        self._members: list[subprocess.Popen[bytes]] = []
        self._idle: list[subprocess.Popen[bytes]] = []
        # A Ctrl-C reaches the whole group: the workers are to ignore it, this process is not.
        before = signal.getsignal(signal.SIGINT)
        main = _in_main_thread()
        if main:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for _ in range(size):
                member = subprocess.Popen(
                    [sys.executable, "-m", "mull.study.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    env=environment,
                )
                self._members.append(member)
        finally:
            if main:
                signal.signal(signal.SIGINT, before)
        for member in self._members:
            self._selector.register(member.stdout, selectors.EVENT_READ, (member, bytearray()))  # type: ignore[arg-type]
            self._send(member, first)
        self._idle = [*self._members] * depth

    def work(self, tasks: Sequence[dict[str, Any]], pause: float = 1.0) -> Iterator[int | None]:
        """Have the tasks done; yields an index when one is, None after ``pause`` seconds of nothing."""
        left = list(enumerate(tasks))[::-1]
        busy = 0
        while left or busy:
            while left and self._idle:
                index, task = left.pop()
                self._send(self._idle.pop(), {**task, "at": index})
                busy += 1
            events = self._selector.select(pause)
            if not events:
                yield None
            for key, _ in events:
                member, buffer = key.data
                data = os.read(key.fd, 1 << 16)
                if not data:
                    raise MullError(f"a worker died ({_how(member.wait())}); the same command goes on")
                buffer += data
                while b"\n" in buffer:
                    line, _, rest = bytes(buffer).partition(b"\n")
                    buffer[:] = rest
                    answer = json.loads(line)
                    _check(answer)
                    self._idle.append(member)
                    busy -= 1
                    yield answer["done"]["at"]

    def _send(self, member: subprocess.Popen[bytes], task: dict[str, Any]) -> None:
        assert member.stdin is not None
        with suppress(BrokenPipeError):  # its end is noticed when it is read from
            member.stdin.write(json.dumps(task).encode() + b"\n")

    def close(self) -> None:
        """End every worker now."""
        for member in self._members:
            member.kill()
        for member in self._members:
            member.wait()
            for pipe in (member.stdin, member.stdout):
                if pipe is not None:
                    pipe.close()
        self._selector.close()


@contextmanager
def crew(size: int, first: dict[str, Any], depth: int = 1) -> Iterator[Crew]:
    """``size`` workers, told ``first`` what they are to work on; ended when the block is left."""
    made = Crew(size, first, depth)
    try:
        yield made
    finally:
        made.close()


def _check(answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise MullError(answer["error"])
    if "bug" in answer:
        raise RuntimeError(f"a worker failed:\n{answer['bug']}")


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()
