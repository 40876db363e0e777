"""Keep freed memory for the next tensors, and return it to the system now and then.

Left alone, glibc returns the end of its heap to the system as soon as some of it is free, and every layer's tensors
begin as pages that the kernel has to find and clear. But kept memory is fragmented by tensors of ever other sizes, and
a build's peak rises. So large tensors have mappings of their own, which go back as soon as they are freed; the rest is
kept, and `build` gives back what is free of it after each few clips (docs/measurements.md#memory-allocator).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

LARGE: Final = 16 << 20
"""Bytes of a block that gets a mapping of its own; left alone, glibc raises this to 32 MiB on the way."""
_KEPT: Final = (1 << 31) - 1  # bytes at the heap's end: all that mallopt's int holds
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3


def keep_freed() -> bool:
    """From now on this process keeps what it has freed until `give_back`, large blocks excepted.

    Returns:
        Whether this C library can: glibc does; musl and those of macOS and Windows do without.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE) and mallopt(_M_TRIM_THRESHOLD, _KEPT))


def give_back() -> bool:
    """Return the pages in which nothing lives to the system, in milliseconds; other threads go on meanwhile.

    Returns:
        Whether this C library can.
    """
    trim = _function("malloc_trim")
    if trim is None:
        return False
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    trim(0)
    return True


def _function(name: str) -> Any:
    """That function of the C library; None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):  # another C library
        return None
