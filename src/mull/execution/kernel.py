"""The kernel's part in the sandbox: namespaces, a private file system, resource limits, a call filter.

Run inside the sandbox's own process, before any candidate's code; standard library only, and
nothing of mull is imported. Every function either does what it says or raises ``OSError``; none
falls back silently. Linux on x86-64 and arm64; elsewhere :func:`available` is False.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable

_NEW_USER, _NEW_NS, _NEW_PID = 0x10000000, 0x00020000, 0x20000000
_NEW_NET, _NEW_IPC, _NEW_UTS = 0x40000000, 0x08000000, 0x04000000
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_DETACH = 2
_PDEATHSIG, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVS = 1, 4, 22, 38
_EPERM, _ENOSYS = 1, 38

#: System calls by machine: the ELF audit number, then numbers by name.
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: name -> (x86-64, arm64); -1 where the machine has no such call.
_REFUSED = {
    # network, and ways around the filter
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # new processes, threads and programs (clone3 has its flags in memory: the C library falls back)
    "fork": (57, -1),
    "vfork": (58, -1),
    "clone": (56, 220),
    "execve": (59, 221),
    "execveat": (322, 281),
    # other processes
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    # what outlives a process or is shared between processes
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # the kernel's own attack surface
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "memfd_secret": (447, 447),
    "personality": (135, 92),
    "modify_ldt": (154, -1),
}
#: Refused as well where the file system is not a private one.
_WRITES = {
    "creat": (85, -1),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "rename": (82, -1),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "rmdir": (84, -1),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "truncate": (76, 45),
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
#: Answered "no such call", so that the C library uses the older call that the filter can read.
_ABSENT = {"clone3": (435, 435), "openat2": (437, 437)}
_PRCTL, _PRLIMIT, _OPEN, _OPENAT = (157, 167), (302, 261), (2, -1), (257, 56)
#: Newer calls than this are answered "no such call": nobody has judged them for this filter.
_NEWEST = 462
#: Any of these opens a file for more than reading (access mode, creat, trunc, append, tmpfile).
_WRITING = 0o3 | 0o100 | 0o1000 | 0o2000 | 0o20000000


def available() -> bool:
    """Whether this is a system whose calls the filter knows."""
    return sys.platform == "linux" and platform.machine() in _ARCH


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare() -> None:
    """Leave for new user, network, process, mount, IPC and host-name namespaces, as nobody.

    The calling process itself stays in its process namespace; its first child is that
    namespace's process 1, with whose end the kernel ends all that is in it.
    """
    user, group = os.geteuid(), os.getegid()
    flags = _NEW_USER | _NEW_NS | _NEW_PID | _NEW_NET | _NEW_IPC | _NEW_UTS
    _checked(_libc().unshare(flags), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"65534 {user} 1"),
        ("gid_map", f"65534 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    args = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _checked(_libc().mount(*args), f"mount {target}")


def _read_only(target: str) -> None:
    attributes = struct.pack("QQQQ", _RDONLY | _NOSUID | _NODEV, 0, 0, 0)
    result = _libc().syscall(442, -100, target.encode(), 0x8000, attributes, len(attributes))
    _checked(result, f"mount_setattr {target}")


def private_root(root: str, readable: Iterable[str], work: str, work_mb: int) -> None:
    """Make the empty folder ``root`` the file system: ``readable`` paths read-only, and ``work``.

    A path that does not exist is left out; a symbolic link is followed. ``work``, which becomes
    the working directory, is held in memory, ``work_mb`` large.
    """
    _mount("none", "/", "none", _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=0755")
    for path in dict.fromkeys(map(os.path.abspath, readable)):
        place = root + path
        if os.path.isdir(path):
            os.makedirs(place, exist_ok=True)
        elif os.path.isfile(path):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            open(place, "w").close()
        else:
            continue
        _mount(os.path.realpath(path), place, "none", _BIND | _REC)
        _read_only(place)
    os.makedirs(root + "/dev", exist_ok=True)
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        open(root + device, "w").close()
        _mount(device, root + device, "none", _BIND)
    os.makedirs(root + work)
    os.chdir(root)
    _checked(_libc().syscall(155 if platform.machine() == "x86_64" else 41, b".", b"."), "pivot_root")
    _checked(_libc().umount2(b".", _DETACH), "leaving the old root")
    _mount("none", "/", "none", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    _empty(work, work_mb)


def fresh_work(work: str, work_mb: int) -> None:
    """Replace the working directory by an empty one, and stand in it."""
    os.chdir("/")
    _checked(_libc().umount2(work.encode(), _DETACH), f"umount {work}")
    _empty(work, work_mb)


def _empty(work: str, work_mb: int) -> None:
    _mount("tmpfs", work, "tmpfs", _NOSUID | _NODEV, f"size={work_mb}m,mode=0700,nr_inodes=1k")
    os.chdir(work)


class Confinement:
    """What :meth:`enter` does to a process, made ready beforehand, for it is done often.

    It gives up all privileges for good and refuses the calls above. Without ``writing`` opening a
    file for more than reading is refused too.
    """

    def __init__(self, *, writing: bool) -> None:
        program = _filter(writing)
        self._libc = _libc()
        self._code = ctypes.create_string_buffer(program, len(program))
        self._head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(self._code))
        self._capset = 126 if platform.machine() == "x86_64" else 91

    def enter(self) -> None:
        """Confine the process that calls."""
        call = self._libc
        header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
        _checked(call.syscall(self._capset, header, nothing), "capset")
        for option, value in ((_PDEATHSIG, 9), (_DUMPABLE, 0), (_NO_NEW_PRIVS, 1)):
            _checked(call.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")
        _checked(call.prctl(_SECCOMP, ctypes.c_ulong(2), self._head, 0, 0), "seccomp")


def _filter(writing: bool) -> bytes:
    """The call filter as a classic BPF program (the kernel's seccomp_filter documentation)."""
    column = 0 if platform.machine() == "x86_64" else 1
    load, equal, above, mask, give = 0x20, 0x15, 0x25, 0x45, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000

    def line(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, k)

    parts = [line(load, 4), line(equal, _ARCH[platform.machine()], 1, 0), line(give, kill), line(load, 0)]
    parts += [line(above, _NEWEST, 0, 1), line(give, refuse | _ENOSYS)]
    refused = _REFUSED if writing else _REFUSED | _WRITES
    for table, number in ((refused, _EPERM), (_ABSENT, _ENOSYS)):
        for numbers in table.values():
            if numbers[column] >= 0:
                parts += [line(equal, numbers[column], 0, 1), line(give, refuse | number)]
    # A call judged by one argument: reload the number afterwards, for the tests that follow.
    for numbers, argument, test, values in (
        (_PRCTL, 0, equal, (_PDEATHSIG, _DUMPABLE)),
        (_PRLIMIT, 0, above, (0,)),
        *(() if writing else ((_OPEN, 1, mask, (_WRITING,)), (_OPENAT, 2, mask, (_WRITING,)))),
    ):
        if numbers[column] >= 0:
            body = [line(load, 16 + 8 * argument)]
            for value in values:
                body += [line(test, value, 0, 1), line(give, refuse | _EPERM)]
            body.append(line(load, 0))
            parts += [line(equal, numbers[column], 0, len(body)), *body]
    return b"".join([*parts, line(give, allow)])
