"""What was freed goes back to the system, where the C library can do that; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from chunkv2l.indexing import allocator as memory

GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_what_was_freed_goes_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    assert memory.keep_freed()
    blocks = [bytearray(100_000) for _ in range(1500)]  # 150 MB, too small for mappings of their own
    last = bytearray(100_000)  # keeps the heap's end where it is
    full = resident()
    del blocks
    assert memory.give_back()
    assert full - resident() > 100e6 and len(last) == 100_000


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # a C library without them
    assert not memory.keep_freed() and not memory.give_back()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_freed() and not memory.give_back()
