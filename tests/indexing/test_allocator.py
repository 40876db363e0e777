"""Freed memory is kept during a build and goes back afterwards where the C library can do that."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from chunkv2l.indexing.allocator import freed_memory_kept, trim_heap

GLIBC = platform.libc_ver()[0] == "glibc"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def fill_and_free() -> tuple[int, bytearray]:
    """Use 150 MB in blocks too small for mappings of their own; return what was resident, and what holds the end."""
    blocks = [bytearray(100_000) for _ in range(1500)]
    last = bytearray(100_000)
    full = resident()
    del blocks
    return full, last


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_what_was_freed_goes_back() -> None:
    with freed_memory_kept() as kept:
        assert kept
        full, last = fill_and_free()
        assert trim_heap()
        assert full - resident() > 100e6 and len(last) == 100_000


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_nothing_is_kept_after_the_block() -> None:
    with freed_memory_kept():
        full, _ = fill_and_free()
        assert full - resident() < 50e6
    assert full - resident() > 100e6


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # a C library without them
    with freed_memory_kept() as kept:
        assert not kept and not trim_heap()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    with freed_memory_kept() as kept:
        assert not kept and not trim_heap()
