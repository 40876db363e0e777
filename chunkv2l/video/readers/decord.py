"""Reads with decord, in a process of its own: slower and no longer maintained; wheels for x86-64 Linux only."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO

import cv2
import numpy as np

from chunkv2l.video.child import python_command
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo, turns
from chunkv2l.video.readers import decord_process as protocol
from chunkv2l.video.readers.base import Frame, Image, ReaderError, fitted
from chunkv2l.video.readers.timestamps import Clock
from chunkv2l.video.refusals import looks_like_list

ROOM = 1 << 30
"""Bytes that the frames which decord reads ahead may take, about."""
MAX_FRAMES = 20_000_000
"""Frames of the longest movie: 90 hours at 60 a second."""
_AHEAD = 1200  # frames


@dataclass(frozen=True)
class DecordFrame:
    """A decoded frame; decord has turned it upright already."""

    time: float
    duration: float
    _image: Image  # RGB
    _info: MovieInfo

    @property
    def nbytes(self) -> int:
        return self._image.nbytes

    def small(self, width: int, height: int) -> Image:
        image = self._image
        quarters = turns(self._info.rotation)
        if quarters:  # back to how it is stored, as the other reader gives it
            image = np.ascontiguousarray(np.rot90(image, -quarters))
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small[:, :, ::-1])

    def picture(self, side: int | None = None) -> Image:
        size = fitted(self._info.width, self._info.height, side)
        if self._image.shape[1::-1] == size:
            return self._image
        is_smaller = size[0] < self._info.width
        interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR  # larger: pixels that aren't square
        return np.asarray(cv2.resize(self._image, size, interpolation=interpolation), dtype=np.uint8)


def decord_installed() -> bool:
    """Return whether decord is installed, without loading it."""
    return find_spec("decord") is not None


class DecordReader:
    """Reads a movie with decord.

    decord reads ahead of slower code, a thousand frames and more. Therefore frames are scaled down to the size that is
    needed, to about `ROOM` in all at the most, and one thread decodes. So whole pictures of a large and long movie have
    less detail than the file, though its size.
    """

    def __init__(self, info: MovieInfo, side: int | None = None, notes: Notes | None = None) -> None:
        if len(info.video_streams) > 1:
            raise ReaderError("decord can't choose among several video streams.")
        if info.jumps:
            raise ReaderError("decord can't mend the clock of a transport stream.")
        if looks_like_list(info.path):
            raise ReaderError(f"decord may take {info.path} for a list of other files.")
        path = info.path.absolute()  # of a relative one decord may take what lies before a colon for a protocol
        if "%" in str(path):  # with an ending of pictures
            raise ReaderError(f"decord may take the name {info.path} for a pattern of other files' names.")
        if not decord_installed():
            raise ReaderError("decord is not installed.")
        self._info, self._notes = info, notes
        self._width, self._height = decoded_size(info, side)
        self._process = subprocess.Popen(
            python_command("chunkv2l.video.readers.decord_process"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        request = {"path": str(path), "width": self._width, "height": self._height, "parent": os.getpid(), "room": ROOM}
        try:
            self._write(json.dumps(request).encode() + b"\n")
            spans = self._receive(protocol.TIMES, 16 * MAX_FRAMES) or b""
            self._spans = np.frombuffer(spans, np.float64).reshape(-1, 2)
        except BaseException:
            self.close()
            raise

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        clock = Clock(self._info, start, self._notes)
        times = [clock.read(self._info.first + float(begin)) for begin, _ in self._spans]  # from decord's first frame
        count = len(times)
        first = next((i for i, time in enumerate(times) if time is not None and time >= start - 1e-3), count)
        self._write(b"%d\n" % first)
        size = self._width * self._height * 3
        for time, (since, until) in zip(times[first:], self._spans[first:], strict=True):
            pixels = self._receive(protocol.FRAME, size)
            if pixels is None or len(pixels) != size:
                raise ReaderError("decord has given fewer pictures than it said.")
            image = np.frombuffer(pixels, np.uint8).reshape(self._height, self._width, 3)
            if time is not None:
                yield DecordFrame(time, max(0.0, float(until) - float(since)), image, self._info)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _write(self, request: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ReaderError("The process in which decord reads has ended.") from error

    def _receive(self, tag: bytes, limit: int) -> bytes | None:
        """Return the next message's bytes, at most `limit`; None at the end.

        Raises:
            ReaderError: decord's own, or because the process has ended or sent something else.
        """
        assert self._process.stdout is not None
        sent_tag, length = protocol.HEADER.unpack(_read_exactly(self._process.stdout, protocol.HEADER.size))
        if sent_tag == protocol.END:
            return None
        is_failure = sent_tag == protocol.FAILURE
        if not (is_failure or sent_tag == tag) or length > (4096 if is_failure else limit):
            raise ReaderError("The process in which decord reads has sent something unexpected.")
        payload = _read_exactly(self._process.stdout, length)
        if is_failure:
            raise ReaderError(payload.decode(errors="replace"))
        return payload


def decoded_size(info: MovieInfo, side: int | None) -> tuple[int, int]:
    """Return the width and height at which frames are decoded: for `side`, or less where `ROOM` holds no more."""
    width, height = fitted(info.width, info.height, side)
    frames = min(info.frames or _AHEAD, _AHEAD)
    share = ROOM / (3 * width * height * frames)
    return (width, height) if share >= 1 else fitted(width, height, int(max(width, height) * math.sqrt(share)))


def _read_exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ReaderError("The process in which decord reads has ended.")
    return data
