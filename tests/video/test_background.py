"""Running a generator ahead in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from chunkv2l.video.background import BackgroundIterator, Stalled


def test_all_items_in_order_computed_ahead_but_not_far() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    with BackgroundIterator(items(), depth=3) as ahead:
        for i, got in enumerate(ahead):
            assert got == i
            assert len(made) <= i + 1 + 3 + 1  # read, waiting in the queue, and waiting to get into it
            if i < 5:
                time.sleep(0.02)
                assert len(made) >= i + 4
    assert len(made) == 50


def test_an_error_comes_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    got = []
    with pytest.raises(ValueError, match="broken"), BackgroundIterator(items(), depth=8) as ahead:
        for item in ahead:
            got.append(item)
    assert got == [1, 2]


def test_leaving_early_stops_the_thread_and_closes_the_generator() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    with BackgroundIterator(items(), depth=2) as ahead:
        assert next(iter(ahead)) == 0
    assert closed.is_set()
    assert not [t for t in threading.enumerate() if t.name == "chunkv2l-background"]


def test_waiting_for_a_full_queue_isnt_counted_as_work() -> None:
    def items() -> Iterator[int]:
        for i in range(4):
            time.sleep(0.02)
            yield i

    with BackgroundIterator(items(), depth=1) as ahead:
        for _ in ahead:
            time.sleep(0.1)
    assert 0.08 <= ahead.seconds < 0.3


def test_an_item_that_never_comes_is_a_stall_and_the_thread_is_left_behind() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        release.wait()

    with pytest.raises(Stalled), BackgroundIterator(items(), depth=2, name="stuck", timeout=0.2) as ahead:
        for item in ahead:
            assert item == 1
    assert [thread.name for thread in threading.enumerate() if thread.name == "chunkv2l-stuck"]
    release.set()
