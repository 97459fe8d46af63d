"""Starting the sandbox's processes, watching their clocks, and ending them.

The caller's side of :mod:`mull.execution.inside`. It reads frames with a deadline, and takes none
for more than it is: a frame that is not JSON, or too long, counts as the end of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mull.errors import MullError
from mull.execution.limits import Level, Limits
from mull.execution.wire import Channel, Ended

_INSIDE = Path(__file__).with_name("inside.py")
#: How long a process that runs no foreign code may take to answer.
_PATIENCE = 60.0
#: After the first look at the clocks they are read this often.
_TICK = 0.05
_PASSCRED: int | None = getattr(socket, "SO_PASSCRED", None)
_CREDENTIALS = struct.Struct("3i")
#: Levels that failed on this system, and why.
_unavailable: dict[Level, str] = {}


def _ready(end: socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the end of it, within that time."""
    poll = select.poll()  # not select(), which fails in a process with many open files
    poll.register(end, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Running:
    """One confined process: frames to and from it, and its CPU clock."""

    def __init__(self, end: socket.socket, limit: int) -> None:
        self.channel = Channel(end, limit)
        self.pid = 0
        # From before the process is there: the kernel then says who sends, in our own numbering.
        if _PASSCRED is not None:
            end.setsockopt(socket.SOL_SOCKET, _PASSCRED, 1)

    def greet(self) -> None:
        """Learn the process's number as seen from here, from its first frame."""
        end = self.channel.socket
        if not _ready(end, _PATIENCE):
            raise Ended
        data, notes, _, _ = end.recvmsg(64, 256)
        if len(data) < 5:
            raise Ended
        self.pid = int(data[4:])
        for level, kind, body in notes:
            if level == socket.SOL_SOCKET and kind == getattr(socket, "SCM_CREDENTIALS", -1):
                self.pid = _CREDENTIALS.unpack(body)[0]
        if _PASSCRED is not None:
            end.setsockopt(socket.SOL_SOCKET, _PASSCRED, 0)

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Send a frame, and a file descriptor with it."""
        self.channel.send(frame, fd)

    def used(self) -> float:
        """CPU seconds so far; 0 where the system cannot say."""
        with contextlib.suppress(OSError, AttributeError, OverflowError):
            return time.clock_gettime((~self.pid << 3) | 2)  # that clock's number: clock_getcpuclockid(3)
        return 0.0

    def waited(self) -> float:
        """Seconds it was ready to run while others ran; 0 where the system cannot say."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        return 0.0

    def receive(self, limits: Limits, *watched: Running) -> Any:
        """The next frame, decoded; None when the ``watched`` processes use up CPU or idle time first.

        Raises :class:`Ended` where the process is gone or sends what is no frame.
        """
        begun = time.monotonic()
        used = sum(process.used() for process in watched)
        waited: float | None = None  # read late, for it costs as much as a test
        wait = min(limits.cpu_seconds, limits.idle_seconds)
        while (frame := self.channel.take()) is None:
            if _ready(self.channel.socket, wait):
                self.channel.grow(self.channel.socket.recv(1 << 16))
            gone = time.monotonic() - begun
            if gone < wait:
                continue
            wait = _TICK
            computed = sum(process.used() for process in watched) - used
            queued = sum(process.waited() for process in watched)
            waited = queued - min(queued, gone) if waited is None else waited
            if computed >= limits.cpu_seconds or gone - computed - (queued - waited) >= limits.idle_seconds:
                return None
        try:
            return json.loads(frame)
        except (ValueError, RecursionError):
            raise Ended from None


class Launch:
    """One copy of the program inside, at one level; it holds at most one running process."""

    def __init__(self, part: Literal["subject", "examiner"], limits: Limits, level: Level) -> None:
        self.level = level
        self.frame = limits.value_kb << 10
        self.running: Running | None = None
        self._due = self._last = 0
        root = tempfile.mkdtemp(prefix="mull-")
        readable = _readable(limits.packages)
        # Nothing that has to be read may lie beneath the working directory, which hides it.
        below = [path.split("/")[1] for path in readable]
        work = next(f"/{name}" for name in ("tmp", "work", "mull") if name not in below)
        if level != "namespaces":
            work = root
        self._control, theirs = socket.socketpair()
        settings = {
            "part": part,
            "level": level,
            "control": theirs.fileno(),
            "root": root,
            "readable": readable,
            "work": work,
            "work_mb": 4 * limits.file_mb or 1,
            **{name: getattr(limits, name) for name in ("memory_mb", "file_mb", "value_kb", "output_chars")},
        }
        # As python -I, but with a fixed hash seed, which -I would ignore: the environment is ours.
        flags = ["-s", "-P", "-B", *([] if limits.packages else ["-S"])]
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(_INSIDE), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=_ENVIRONMENT | {"HOME": work, "TMPDIR": work},
            cwd=root,
            start_new_session=True,
        )
        theirs.close()
        self.close = weakref.finalize(self, _end, os.getpid(), self._control, self.process, root)
        said = self._hear(4096).decode("utf-8", "replace").strip()
        if said != "ready":
            self.close()
            raise OSError(said or f"{sys.executable} did not start")

    @staticmethod
    def strongest(part: Literal["subject", "examiner"], limits: Limits, levels: Sequence[Level]) -> Launch:
        """A launch at the first of the levels that works; :class:`MullError` if none does."""
        if os.name != "posix":
            raise MullError("programs can be run on Linux and other Unix systems only")
        for level in levels:
            if level in _unavailable:
                continue
            try:
                return Launch(part, limits, level)
            except OSError as error:
                _unavailable[level] = str(error)
        why = "; ".join(f"{level}: {_unavailable[level]}" for level in levels)
        hint = "" if "weak" in levels else ". weak=True runs them with limits that a program can get around"
        raise MullError(f"programs cannot be isolated on this system ({why}){hint}")

    def start(self, cpu: int) -> Running:
        """A fresh confined process in the place of the last one; ``cpu`` 0 sets no CPU limit."""
        self.kill()
        ours, theirs = socket.socketpair()
        running = Running(ours, self.frame)
        with contextlib.closing(theirs):
            socket.send_fds(self._control, [struct.pack(">cI", b"S", cpu)], [theirs.fileno()])
        try:
            running.greet()
        except (Ended, OSError):
            raise MullError("the system refuses to start or to confine a process for a program") from None
        self.running = running
        self._settle()
        return running

    def kill(self) -> None:
        """Have the running process ended, if there is one."""
        if self.running is not None:
            self.running.channel.close()
            self.running = None
            self._control.sendall(struct.pack(">cI", b"K", 0))
            self._due += 4

    def status(self) -> int:
        """End the running process; the wait status of the last one that was ended."""
        self.kill()
        self._settle()
        return self._last

    def _settle(self) -> None:
        """Take in the wait statuses of the processes that were ended since."""
        said = b""
        while len(said) < self._due:
            more = self._hear(self._due - len(said))
            if not more:
                raise MullError("the sandbox's process was ended from outside; start a new sandbox")
            said += more
        self._due = 0
        if said:
            self._last = int(struct.unpack(">I", said[-4:])[0])

    def _hear(self, size: int) -> bytes:
        """What the copy says; it runs no foreign code, so silence means that it was ended."""
        return self._control.recv(size) if _ready(self._control, _PATIENCE) else b""


_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


def _readable(packages: bool) -> list[str]:
    """What a private file system shows: the interpreter's library and the system's shared libraries."""
    paths = sysconfig.get_paths()
    found = [paths["stdlib"], os.path.join(sys.base_prefix, "lib"), sysconfig.get_config_var("DESTSHARED")]
    found += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    if packages:
        found += [paths["purelib"], paths["platlib"]]
    return [path for path in found if path]


def _end(owner: int, control: socket.socket, process: subprocess.Popen[bytes], root: str) -> None:
    """Let a copy go: it ends when its control socket closes, and all that it started with it."""
    control.close()
    if os.getpid() != owner:  # a fork of the caller's has only its copy of the socket to close
        return
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(root, ignore_errors=True)
