"""Running a generator ahead in a thread: the movie is decoded while the model works on what came before."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL = 0.1  # seconds between looks at whether the other side has stopped


class Prefetch(Generic[T]):
    """Iterate over `items` while a thread computes up to `depth` of them ahead. Use it as a context manager.

    An exception in `items` is raised here, after what came before it. Leaving the `with` block stops the thread, which
    then closes `items` if it is a generator.

    Attributes:
        seconds: how long the thread has spent computing items, waiting for the reader of them not included.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chunkv2l-prefetch", daemon=True)
        self.seconds = 0.0

    def __enter__(self) -> Prefetch[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10.0)  # a decoder that hangs doesn't keep the program from ending: it is a daemon

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                got = self._queue.get(timeout=_POLL)  # a timeout, so that Ctrl+C gets in
            except queue.Empty:
                continue
            if got is None:
                return
            if isinstance(got, BaseException):
                raise got
            yield got[0]

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
        except BaseException as error:  # whatever it is, the reader must see it
            self._put(error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _put(self, item: tuple[T] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
                return
            except queue.Full:
                continue
