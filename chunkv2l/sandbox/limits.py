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


def _data_bytes() -> int:
    """Return the memory that RLIMIT_DATA counts, in bytes: 4 GiB where the system doesn't tell."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 4 << 30
