"""Memory that was freed but not given back to the system.

glibc keeps what is freed, to use it again, and behind tensors of ever other sizes it fits less and less: over half an
hour of movie a build's peak rose by 5 %, in a heap of which a third was free. So large tensors get mappings of their
own, which go back as soon as they are freed, and the rest goes back after each few clips. Pages that come again
are cleared first, which takes time: builds were some 5 % slower where blocks from 4 MiB on had their own.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

LARGE: Final = 16 << 20
"""Bytes of a block that gets a mapping of its own; left alone, glibc raises this to 32 MiB on the way."""
_M_MMAP_THRESHOLD: Final = -3  # malloc.h


def set_large_apart() -> bool:
    """From now on, large blocks of this process go back to the system as soon as they are freed.

    Returns:
        Whether this C library can: glibc does; musl and those of macOS and Windows do without.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE))


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
