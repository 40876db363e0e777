"""Decoding in a thread of its own: ahead of who uses the frames, and watched, so that a stall is noticed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator

from chunkv2l.video.readers.base import Frame, Reader, ReaderError

AHEAD = 8  # decoded frames that may wait


def watched(open_reader: Callable[[], Reader], start: float, timeout: float) -> Generator[Frame, None, None]:
    """The frames from `start` (seconds) on, decoded in a thread; closing this generator stops it.

    Args:
        timeout: seconds to wait for a frame before the reader counts as stalled.

    Raises:
        ReaderError: the reader's own, or because it stalled. A stalled thread is left behind: nothing can end a call
            that hangs inside a decoder, and being a daemon it does not keep the program alive.
    """
    frames: queue.Queue[Frame | BaseException | None] = queue.Queue(maxsize=AHEAD)
    stop = threading.Event()

    def put(item: Frame | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                frames.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def decode() -> None:
        try:
            reader = open_reader()
            try:
                for frame in reader.frames(start):
                    if not put(frame):
                        return
            finally:
                reader.close()
            put(None)
        except BaseException as error:  # whatever it is, the other side must see it
            put(error)

    thread = threading.Thread(target=decode, name="chunkv2l-decode", daemon=True)
    thread.start()
    stalled = False
    try:
        while True:
            try:
                item = frames.get(timeout=timeout)
            except queue.Empty:
                stalled = True
                raise ReaderError(f"no picture came for {timeout:g} s") from None
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        if not stalled:
            thread.join(timeout=5.0)
