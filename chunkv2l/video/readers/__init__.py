"""Decoders behind one interface: the frames of a movie in order, each with its presentation time.

`read_frames` chooses a reader, runs it in a thread, and lets another one go on where it fails or stalls.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from chunkv2l.defaults import READER, READERS
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.background import BackgroundIterator, Stalled
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers.base import Frame, Opener, Reader, ReaderError, count_frames
from chunkv2l.video.readers.decord import DecordReader, decord_installed
from chunkv2l.video.readers.pyav import PyAVReader

OPENERS: Mapping[str, Opener] = MappingProxyType({"pyav": PyAVReader, "decord": DecordReader})
STALL_TIMEOUT = 60.0
"""Seconds without a picture after which a reader is given up."""
AHEAD: Final = 8
"""Decoded frames that may wait for the next thread."""
ROOM_AHEAD: Final = 128 << 20
"""Bytes that they may take."""
_ON_GPU = "pyav on the GPU"


def check_reader(reader: str) -> None:
    """Raise InputError unless there is such a reader, and it is installed."""
    if reader not in READERS:
        raise InputError(f"There is no reader {reader!r}; choose one of {', '.join(READERS)}.")
    if reader == "decord" and not decord_installed():
        raise InputError("decord is not installed (it has wheels for x86-64 Linux only); use --reader pyav.")


def read_frames(
    info: MovieInfo,
    reader: str = READER,
    start: float = 0.0,
    side: int | None = None,
    *,
    gpu: int | None = None,
    stall_timeout: float = STALL_TIMEOUT,
    notes: Notes | None = None,
    openers: Mapping[str, Opener] = OPENERS,
) -> Generator[Frame, None, None]:
    """Yield every frame from `start` (seconds) on, decoded ahead in a thread; closing the generator stops it.

    Where a reader fails or gives no frame for `stall_timeout` seconds, a note names the time and the next reader goes
    on from there.

    Args:
        side: pixels of the longer side of the largest picture that will be asked for; None for whole ones.
        gpu: number of the NVIDIA GPU that decodes for the reader "auto"; None for the CPU.
        notes: collects what was repaired or left out; by default it is logged.

    Raises:
        InputError: no such reader.
        ChunkV2LError: no reader can go on.
    """
    if openers is OPENERS:
        check_reader(reader)
    notes = Notes() if notes is None else notes
    names = _order_readers(reader, openers)
    if gpu is not None and reader == "auto":
        openers = {**openers, _ON_GPU: partial(PyAVReader, gpu=gpu)}
        names.insert(0, _ON_GPU)
    last: float | None = None
    for name, following in zip(names, [*names[1:], None], strict=True):
        begin = start if last is None else last
        depth = count_frames(info, ROOM_AHEAD, AHEAD)
        frames = _decode_ahead(partial(openers[name], info, side, notes), begin, depth, stall_timeout)
        try:
            for frame in frames:
                if last is None or frame.time > last + 1e-3:
                    last = frame.time
                    yield frame
            return
        except ReaderError as error:
            reason = str(error).rstrip(".")
            where = f"at {begin if last is None else last:.2f} s"
            if following is None:
                raise ChunkV2LError(f"{info.path} can't be read on {where}: {reason}.") from error
            notes.add("reader", f"The reader {name} is given up {where} ({reason}); {following} goes on.")
        finally:
            frames.close()


def _order_readers(reader: str, openers: Mapping[str, Opener]) -> list[str]:
    """Return the names of the readers to try, in order: "auto" is PyAV alone, and PyAV goes on where decord fails."""
    if reader in ("auto", "pyav"):
        return ["pyav"]
    return [reader, *(name for name in openers if name not in (reader, "decord"))]


def _decode_ahead(
    open_reader: partial[Reader], start: float, depth: int, timeout: float
) -> Generator[Frame, None, None]:
    """Yield the frames of a reader that is opened, used and closed in a thread.

    Raises:
        ReaderError: the reader's own, or because no frame came for `timeout` seconds.
    """

    def decode() -> Iterator[Frame]:
        reader = open_reader()
        try:
            yield from reader.frames(start)
        finally:
            reader.close()

    with BackgroundIterator(decode(), depth, name="decode", timeout=timeout) as frames:
        try:
            yield from frames
        except Stalled:
            raise ReaderError(f"no picture came for {timeout:g} s") from None
