"""Reading with decord: the other reader, slower and no longer maintained; wheels for x86-64 Linux only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np

from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo, turns
from chunkv2l.video.readers.base import Frame, Image, ReaderError, fitted
from chunkv2l.video.readers.timestamps import Clock

ROOM = 1 << 30
"""Bytes that the frames which decord reads ahead may take, about."""
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
        smaller = size[0] < self._info.width
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR  # larger: pixels that aren't square
        return np.asarray(cv2.resize(self._image, size, interpolation=how), dtype=np.uint8)


def decord_installed() -> bool:
    """Whether decord is there; it is loaded only when it is used."""
    return find_spec("decord") is not None


class DecordReader:
    """Walks a movie with decord.

    It reads far ahead of who is slower, a thousand frames and more. That they are scaled down to what is needed, to
    about `ROOM` in all at the most, and that one thread decodes, keeps this from being gigabytes. So whole pictures of
    a large and long movie have less detail than the file, though its size.
    """

    def __init__(self, info: MovieInfo, side: int | None = None, notes: Notes | None = None) -> None:
        try:
            import decord
        except (ImportError, OSError, RuntimeError) as error:
            raise ReaderError(f"decord is not installed, or does not work here ({error}).") from error
        if len(info.video_streams) > 1:
            raise ReaderError("decord can't choose among several video streams.")
        decord.logging.set_level(decord.logging.QUIET)
        self._info, self._notes = info, notes
        self._errors: Any = (decord.DECORDError, IndexError, RuntimeError)
        try:
            width, height = decoded_size(info, side)
            path, cpu = str(info.path), decord.cpu(0)
            self._video: Any = decord.VideoReader(path, cpu, width=width, height=height, num_threads=1)
            self._count = len(self._video)
        except self._errors as error:
            raise ReaderError(f"decord can't open {info.path} ({_first_line(error)}).") from error

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        spans = [self._video.get_frame_timestamp(i) for i in range(self._count)]
        clock = Clock(self._info, start, self._notes)
        times = [clock.read(self._info.first + float(a)) for a, _ in spans]  # decord counts from its first frame
        begin = next((i for i, time in enumerate(times) if time is not None and time >= start - 1e-3), self._count)
        if 0 < begin < self._count:
            self._video.seek_accurate(begin)
        for time, (since, until) in zip(times[begin:], spans[begin:], strict=True):
            try:
                image = _pixels(self._video.next())
            except self._errors as error:  # it does not recover from a damaged picture
                raise ReaderError(f"decord can't read on ({_first_line(error)}).") from error
            if time is not None:
                yield DecordFrame(time, max(0.0, float(until) - float(since)), image, self._info)

    def close(self) -> None:
        self._video = None  # its destructor frees what it holds


def decoded_size(info: MovieInfo, side: int | None) -> tuple[int, int]:
    """Width and height at which frames are decoded: what `side` asks for, or less where `ROOM` holds no more."""
    width, height = fitted(info.width, info.height, side)
    frames = min(info.frames or _AHEAD, _AHEAD)
    share = ROOM / (3 * width * height * frames)
    return (width, height) if share >= 1 else fitted(width, height, int(max(width, height) * math.sqrt(share)))


def _pixels(frame: Any) -> Image:
    """RGB [H, W, 3]. Where decord pads rows to a multiple of the width, it calls the padding a fourth channel."""
    array: Image = frame.asnumpy()
    height, width = array.shape[:2]
    return np.ascontiguousarray(array.reshape(height, -1)[:, : width * 3].reshape(height, width, 3))


def _first_line(error: Exception) -> str:
    """What decord says went wrong, without the places in its own source."""
    lines = str(error).strip().splitlines()
    return lines[0].rpartition("Check failed: ")[2][:120] if lines else type(error).__name__
