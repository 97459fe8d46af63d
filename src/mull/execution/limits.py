"""What a program may use, and what keeps it to that on this system.

Data only: nothing here starts a process. :data:`GUARANTEES` is the promise of each level of
isolation, in words; :mod:`mull.execution.sandbox` finds out which level a system offers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mull.errors import MullError

#: How candidate programs are kept apart from the system, strongest first.
Level = Literal["namespaces", "seccomp", "weak"]

#: What each level promises.
GUARANTEES: Mapping[Level, str] = {
    "namespaces": (
        "Linux namespaces and a system-call filter: no network (an empty network namespace, and no sockets "
        "can be made); no other process can be seen, signalled or started, nor a thread; the file system is "
        "the interpreter's own library, read-only, and an empty in-memory working directory; all limits are "
        "held by the kernel"
    ),
    "seccomp": (
        "a Linux system-call filter alone: no network (no sockets can be made); no other process can be "
        "signalled or started, nor a thread; no file can be written, made, renamed or removed; all limits "
        "are held by the kernel. Files that you can read can be read, and where the kernel lets processes "
        "of one user read each other's memory a program can look for its tests there"
    ),
    "weak": (
        "resource limits and an audit hook that refuses sockets, processes, signals and writing files: it "
        "stops accidents, not a program written to get around it"
    ),
}


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    ``cpu_seconds`` and ``idle_seconds`` bound loading the program and each test, the test's own
    work included: how long it computes, and how long it does nothing, sleeping or waiting. Time
    that a busy machine gives to others counts as neither, where the kernel tells it (Linux), so
    that load changes no verdict; elsewhere it is idle time. After ``strikes`` tests on which the
    program ran out of time or died the rest are not run. ``memory_mb`` is address space; ``file_mb``
    one file's size (the working directory holds four such); ``value_kb`` one call's arguments or
    value on the wire; ``output_chars`` what is kept of what it prints. With ``packages`` the programs
    can import what is installed beside mull, without only the standard library.
    """

    cpu_seconds: float = 1.0
    idle_seconds: float = 3.0
    memory_mb: int = 1024
    file_mb: int = 1
    value_kb: int = 4096
    output_chars: int = 1000
    strikes: int = 3
    packages: bool = False

    def __post_init__(self) -> None:
        """Refuse limits under which no program could run."""
        for name, least in (("cpu_seconds", 0.01), ("idle_seconds", 0.01), ("file_mb", 0), ("value_kb", 1)):
            if not getattr(self, name) >= least:
                raise MullError(f"limits: {name} = {getattr(self, name)}; it needs at least {least}")
        if self.memory_mb < 128:
            raise MullError(f"limits: memory_mb = {self.memory_mb}; the interpreter alone needs 128")
        if self.output_chars < 0 or self.strikes < 1:
            raise MullError("limits: output_chars cannot be negative, and strikes must be 1 or more")
