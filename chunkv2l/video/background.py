"""Runs an iterator ahead in a thread, so that decoding, scene detection and the model work side by side."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL = 0.1  # seconds between checks of whether the other side has stopped
_JOIN = 10.0  # seconds to wait for the thread to end


class Stalled(Exception):
    """No item came within the time allowed."""


class BackgroundIterator(Generic[T]):
    """Iterates over `items`, of which a thread computes up to `depth` ahead. Use it as a context manager.

    An exception in `items` is raised here, after the items before it. Leaving the `with` block stops the thread, which
    then closes `items` if it is a generator.

    Args:
        name: of the thread, after "chunkv2l-".
        timeout: seconds to wait for an item; None for as long as it takes. After that, iterating raises `Stalled`, and
            the thread is left behind: nothing can end a call that hangs inside a library, and a daemon thread doesn't
            keep the program alive.

    Attributes:
        seconds: how long the thread has spent computing items, without the time that it waited for a free slot.
    """

    def __init__(
        self, items: Iterable[T], depth: int, *, name: str = "background", timeout: float | None = None
    ) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"chunkv2l-{name}", daemon=True)
        self._timeout = timeout
        self._stalled = False
        self.seconds = 0.0

    def __enter__(self) -> BackgroundIterator[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if not self._stalled:
            self._thread.join(timeout=_JOIN)

    def __iter__(self) -> Iterator[T]:
        while (entry := self._next_entry()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]

    def _next_entry(self) -> tuple[T] | BaseException | None:
        """Return the next item in a tuple, an exception of the thread's, or None at the end."""
        started = time.monotonic()
        while True:
            try:
                return self._queue.get(timeout=_POLL)  # short waits let Ctrl+C in on every system
            except queue.Empty:
                if self._timeout is not None and time.monotonic() - started >= self._timeout:
                    self._stalled = True
                    raise Stalled from None

    def _run(self) -> None:
        iterator = iter(self._items)
        try:
            while not self._stop.is_set():
                started = time.perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    self._put(None)
                    return
                finally:
                    self.seconds += time.perf_counter() - started
                self._put((item,))
        except BaseException as error:  # whatever it is, the iterating side raises it
            self._put(error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _put(self, entry: tuple[T] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=_POLL)
                return
            except queue.Full:
                continue
