"""Keep freed memory for the next tensor while a build runs, and give it back to the system now and then.

Left alone, glibc returns the end of its heap to the system as soon as some of it is free, and every layer's tensors
begin as pages that the kernel has to find and clear. But memory that is kept falls to pieces, in which tensors of
other sizes fit less and less. So large tensors have mappings of their own, which go back as soon as they are freed;
the rest is kept, and a build gives back what is free of it after each few clips (docs/measurements.md has the numbers).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

LARGE: Final = 16 << 20
"""Bytes of a block that gets a mapping of its own during a build."""
_KEPT: Final = (1 << 31) - 1  # bytes at the heap's end: the most that mallopt's int holds
_ADAPTED: Final = (
    32 << 20
)  # glibc's DEFAULT_MMAP_THRESHOLD_MAX, which it reaches by itself once large blocks were freed
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep what this process frees inside the block until `trim_heap`, large blocks excepted.

    Afterwards the C library has the thresholds that it adapts itself to in a process that has freed large blocks, and
    what is free goes back to the system.

    Yields:
        Whether this C library can: glibc does; musl and those of macOS and Windows do without.
    """
    kept = _set_thresholds(LARGE, _KEPT)
    try:
        yield kept
    finally:
        if kept:
            _set_thresholds(_ADAPTED, 2 * _ADAPTED)
            trim_heap()


def trim_heap() -> bool:
    """Return unused pages to the system, while other threads go on. Takes some milliseconds.

    Returns:
        True if this C library can.
    """
    trim = _function("malloc_trim")
    if trim is None:
        return False
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    trim(0)
    return True


def _set_thresholds(mapped: int, trimmed: int) -> bool:
    """Set from what size in bytes blocks are mapped, and how many free bytes at the heap's end are returned."""
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, mapped) and mallopt(_M_TRIM_THRESHOLD, trimmed))


def _function(name: str) -> Any:
    """Return a function of the C library, or None where it has none of this name."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):  # another C library
        return None
