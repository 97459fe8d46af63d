"""The program that runs inside the sandbox: forks a confined process for each thing to be run.

Started by :mod:`mull.execution.sandbox` in two copies. The *subjects'* copy forks one process a
candidate program; the *examiners'* copy forks processes that run tests. A candidate never shares
a process with a test: it cannot touch the verdict, whatever it prints, patches, raises or ends.
Standard library only, and nothing of mull beyond this folder's own few files.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import resource
import signal
import socket
import struct
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any

if __name__ == "__main__":
    # `python -P` keeps mull off the path. These stand in for its packages, so that the files
    # beside this one can be imported without running what those packages import.
    _here = os.path.dirname(os.path.abspath(__file__))
    for _name, _folder in (("mull", os.path.dirname(_here)), ("mull.execution", _here)):
        _package = types.ModuleType(_name)
        _package.__path__ = [_folder]
        sys.modules[_name] = _package

from mull.execution import kernel
from mull.execution.wire import Channel

#: Loaded once, before any fork, so that no program waits for them; each makes every fork dearer.
_PRELOADED = "bisect collections copy functools heapq itertools math operator re string time typing"
Part = Callable[[Channel], None]
_CONTROL = struct.Struct(">cI")


def _limit(settings: dict[str, Any]) -> None:
    """Hold this process, and all that are forked from it, to the settings."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_AS: settings["memory_mb"] << 20,
        resource.RLIMIT_FSIZE: settings["file_mb"] << 20,
    }
    for what, value in limits.items():
        # Where the system knows a limit but cannot hold it, only the weak level goes on without.
        with contextlib.suppress(*((ValueError, OSError) if settings["level"] == "weak" else ())):
            _lower(what, value)


def _lower(what: int, value: int) -> None:
    most = resource.getrlimit(what)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(what, (value, value))


def _child(channel: Channel, cpu: int, confinement: kernel.Confinement | None, part: Part) -> None:
    """Confine this process for good, say hello, and play its part."""
    if cpu:
        _lower(resource.RLIMIT_CPU, cpu)
    if confinement is None:
        _lower(resource.RLIMIT_NPROC, 0)
        sys.addaudithook(_refuse)
    else:
        confinement.enter()
    channel.send(str(os.getpid()).encode())
    part(channel)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    """The weak level's audit hook."""
    if event == "socket.__new__":  # how the examiner takes up its end; to connect or bind is refused
        return
    if event.partition(".")[0] in ("socket", "subprocess", "shutil", "ctypes", "pty") or event in (
        *("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system", "os.kill", "os.killpg"),
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"),
        *("os.chmod", "os.chown", "os.chflags", "os.utime", "os.setxattr", "os.removexattr"),
    ):
        raise PermissionError(f"{event} is refused in the sandbox")
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError("writing files is refused in the sandbox")


def _serve(control: socket.socket, settings: dict[str, Any], part: Part) -> None:
    """Start and end one confined process at a time, as asked, until the asker is gone."""
    private = settings["level"] == "namespaces"
    confinement = None
    if settings["level"] != "weak":
        confinement = kernel.Confinement(writing=private and settings["part"] == "subject")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mull"]:
        del sys.modules[name]  # the stand-ins: no program is to take them for the packages
    gc.collect()
    gc.freeze()
    mark = os.stat(".").st_ctime_ns
    pid = 0
    while True:
        message, fds, _, _ = socket.recv_fds(control, _CONTROL.size, 1)
        if pid:  # one at a time: whatever is asked next, this one is over
            os.kill(pid, signal.SIGKILL)
            status, pid = os.waitpid(pid, 0)[1], 0
            if private and (os.stat(".").st_ctime_ns != mark or os.listdir(".")):
                kernel.fresh_work(settings["work"], settings["work_mb"])
                mark = os.stat(".").st_ctime_ns
            if message:
                control.sendall(struct.pack(">I", status))
        if len(message) < _CONTROL.size:
            os._exit(0)
        what, cpu = _CONTROL.unpack(message)
        if what == b"S":
            try:
                pid = os.fork()
            except OSError:  # the asker sees the socket close
                os.close(fds[0])
                continue
            if pid == 0:
                control.close()
                with contextlib.suppress(BaseException):
                    channel = Channel(socket.socket(fileno=fds[0]), settings["value_kb"] << 10)
                    _child(channel, cpu, confinement, part)
                os._exit(0)
            os.close(fds[0])


def main() -> None:
    """Set the sandbox up as the settings (JSON, the one argument) say, report, and serve."""
    settings = json.loads(sys.argv[1])
    sys.argv = [""]
    control = socket.socket(fileno=settings["control"])
    os.dup2(1, 2)
    for name in _PRELOADED.split():
        __import__(name)
    part = _part(settings)
    random.seed(0)
    # Where memory runs out these go first; without /proc the system's own choice stands.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    try:
        if settings["level"] != "weak" and not kernel.available():
            raise OSError("the call filter knows Linux on x86-64 and arm64 only")
        if settings["level"] == "namespaces":
            kernel.unshare()
            if first := os.fork():
                control.close()
                os.waitpid(first, 0)
                os._exit(0)
            kernel.private_root(*(settings[key] for key in ("root", "readable", "work", "work_mb")))
        else:
            os.chdir(settings["root"])
    except OSError as error:
        control.sendall(f"{error}\n".encode())
        os._exit(1)
    _limit(settings)
    control.sendall(b"ready\n")
    _serve(control, settings, part)


def _part(settings: dict[str, Any]) -> Part:
    """What the processes forked here do; only that part's code is loaded."""
    if settings["part"] == "examiner":
        from mull.execution.examiner import serve

        return serve
    from mull.execution.subject import serve as subject

    return partial(subject, output_chars=settings["output_chars"])


if __name__ == "__main__":
    main()
