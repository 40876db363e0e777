"""What the C library does with memory that was freed: kept for the next tensor, and given back now and then.

Left alone, glibc returns the end of its heap as soon as 128 KiB or some more of it are free and maps large blocks anew,
so that every layer's tensors begin as pages that the kernel has to find and clear: encoding a clip took a fifth to a
quarter longer (2 cores, `mini`). But kept memory falls to pieces, in which tensors of ever other sizes fit less and
less: over half an hour of movie a build's peak rose by 5 %, in a heap of which a third was free. So all is kept, and
`build` gives back what is free after each batch.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

MOST: Final = (1 << 31) - 1
"""Bytes: what mallopt's int holds. Smaller blocks come from the heap; the heap's free end shrinks when it is larger."""
_OLD_MOST: Final = 32 << 20  # of blocks from the heap, before glibc 2.35
_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3


def keep_freed() -> bool:
    """From now on this process keeps what it has freed, for itself.

    Returns:
        Whether this C library can: glibc does; musl and those of macOS and Windows do without.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    from_heap = mallopt(_M_MMAP_THRESHOLD, MOST) or mallopt(_M_MMAP_THRESHOLD, _OLD_MOST)
    return bool(mallopt(_M_TRIM_THRESHOLD, MOST) and from_heap)


def give_back() -> bool:
    """Return the pages in which nothing lives to the system. Takes 1 to 13 ms, and other threads go on meanwhile.

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
