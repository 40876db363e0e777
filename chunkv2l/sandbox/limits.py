"""The limits of a sandboxed process: values that travel to it, and the system calls that set them."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CLONE_NEWNET: Final = 0x40000000  # sched.h
_CLONE_NEWUSER: Final = 0x10000000
_PR_SET_PDEATHSIG: Final = 1  # prctl.h
_PR_SET_NO_NEW_PRIVS: Final = 38
_SIGKILL: Final = 9
_LANDLOCK_CREATE: Final = 444  # the numbers of these calls are the same on all machines
_LANDLOCK_RESTRICT: Final = 446
_LANDLOCK_VERSION: Final = 1  # linux/landlock.h
_FILE_RIGHTS: Final = ((1, 0x1FF3), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""Rights to files that Landlock can take, by the version that knows them: all but reading files and listing folders."""
_KNOWS_EMPTYING: Final = 3
_TCP: Final = 3
_SCOPES: Final = 3  # abstract sockets, signals


@dataclass(frozen=True)
class Limits:
    """Resources that a task may use.

    Attributes:
        memory: bytes beyond what its imports take.
        seconds: CPU time after its imports; after ten times as long by the clock it is ended, too.
        files: open files.
        answer: bytes of JSON that it may answer with.
    """

    memory: int = 1 << 30
    seconds: int = 30
    files: int = 64
    answer: int = 16 << 20


def leave_network() -> bool:
    """Leave this process without a network, unable to gain rights, and ended with its parent, as far as Linux lets it.

    To be called while the process has a single thread.

    Returns:
        Whether the network is gone: some systems let only root do that.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)
    except (AttributeError, OSError):  # another C library
        return False


def forbid_changes() -> bool:
    """Let this process change, make, empty or remove no file, run no program, and signal no other, from now on.

    Files that are open stay so, and any may be read. Linux's Landlock does it, from 5.13 on as far as each version can.

    Returns:
        Whether files are safe.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).syscall
        version = call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION))
        if version < 1:
            return False
        rights = sum(since_rights for since, since_rights in _FILE_RIGHTS if version >= since)
        values = [rights] + [every for since, every in ((4, _TCP), (6, _SCOPES)) if version >= since]
        ruleset = call(
            _LANDLOCK_CREATE,
            (ctypes.c_uint64 * len(values))(*values),
            ctypes.c_size_t(8 * len(values)),
            ctypes.c_uint(0),
        )
        is_bound = ruleset >= 0 and call(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0
        return bool(is_bound and version >= _KNOWS_EMPTYING)
    except (AttributeError, OSError):  # another C library
        return False


def set_limits(limits: Limits) -> None:
    """Set the limits of this process, counted from what it uses now. Windows has none but the clock of the parent."""
    if sys.platform == "win32":
        return
    import resource

    limit_memory(limits.memory)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    for resource_number, value in (
        (resource.RLIMIT_CPU, spent + limits.seconds),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_FSIZE, 0),
    ):
        with suppress(ValueError, OSError):  # a stricter limit is in force already
            resource.setrlimit(resource_number, (value, value))


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has now, and leave none of them in a file when it crashes."""
    if sys.platform == "win32":
        return
    import resource

    for resource_number, value in ((resource.RLIMIT_DATA, _data_bytes() + more), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # a stricter limit is in force already
            resource.setrlimit(resource_number, (value, value))


def has_room(more: int) -> bool:
    """Return whether `limit_memory` lets this process take so many bytes more."""
    if sys.platform == "win32":
        return True
    import resource

    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return limit == resource.RLIM_INFINITY or _data_bytes() + more <= limit


def _data_bytes() -> int:
    """Return the memory that RLIMIT_DATA counts, in bytes: 4 GiB where the system doesn't tell."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 4 << 30
