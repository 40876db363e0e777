"""Decoders behind one interface: the frames of a movie in order, each with its presentation time.

`read_frames` is the door: it picks a reader, watches it, and lets the other one go on where it fails or stalls.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from functools import partial
from types import MappingProxyType

from chunkv2l.defaults import READER, READERS
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers.base import Frame, Opener, ReaderError
from chunkv2l.video.readers.decord import DecordReader, decord_installed
from chunkv2l.video.readers.pyav import PyAVReader
from chunkv2l.video.readers.watch import watched

logger = logging.getLogger("chunkv2l")

OPENERS: Mapping[str, Opener] = MappingProxyType({"pyav": PyAVReader, "decord": DecordReader})
STALL_TIMEOUT = 60.0
"""Seconds without a picture after which a reader is given up."""


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
    stall_timeout: float = STALL_TIMEOUT,
    openers: Mapping[str, Opener] = OPENERS,
    gpu: int | None = None,
) -> Generator[Frame, None, None]:
    """Every frame from `start` (seconds) on, in order, decoded ahead in a thread; closing the generator stops it.

    Where a reader fails or gives no frame for `stall_timeout` seconds, a warning names the time and the other reader
    goes on from there.

    Args:
        side: pixels of the longer side of the largest picture that will be asked for; None for whole ones.
        gpu: the number of an NVIDIA GPU that is to decode for the reader "auto"; None: the CPU does.

    Raises:
        InputError: no such reader.
        ChunkV2LError: no reader can go on.
    """
    if openers is OPENERS:
        check_reader(reader)
    first = "pyav" if reader == "auto" else reader
    names = [first, *(name for name in openers if name != first)]
    if gpu is not None and reader == "auto":
        openers = {**openers, "pyav on the GPU": partial(PyAVReader, gpu=gpu)}
        names.insert(0, "pyav on the GPU")
    if "decord" in names[1:] and openers.get("decord") is DecordReader and not decord_installed():
        names.remove("decord")
    last: float | None = None
    for position, name in enumerate(names):
        begin = start if last is None else last
        frames = watched(lambda name=name: openers[name](info, side), begin, stall_timeout)  # type: ignore[misc]
        try:
            for frame in frames:
                if last is None or frame.time > last + 1e-3:
                    last = frame.time
                    yield frame
            return
        except ReaderError as error:
            reason = str(error).rstrip(".")
            where = f"at {begin if last is None else last:.2f} s"
            if position + 1 == len(names):
                raise ChunkV2LError(f"{info.path} can't be read on {where}: {reason}.") from error
            logger.warning("The reader %s is given up %s (%s); %s goes on.", name, where, reason, names[position + 1])
        finally:
            frames.close()
