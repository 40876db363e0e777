"""The limits of a sandboxed process: values that travel to it, and how they are set."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


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
