"""Reading with PyAV (FFmpeg): the default reader."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from chunkv2l.video.probe import MovieInfo, open_container, origin, packets, shown_width, turns, video_stream
from chunkv2l.video.readers import on_gpu
from chunkv2l.video.readers.base import Frame, Image, ReaderError, fitted
from chunkv2l.video.readers.damage import Damage
from chunkv2l.video.readers.timestamps import Clock

_RETRIES = 8  # times in a row that the demuxer may fail before the file is given up


class _Scalers(threading.local):
    """FFmpeg's scalers, which remember their last sizes; each thread has its own."""

    def __init__(self) -> None:
        self.picture, self.small, self.planes = VideoReformatter(), VideoReformatter(), VideoReformatter()


@dataclass(frozen=True)
class AVFrame:
    """A decoded frame, still in the codec's own pixel format."""

    time: float
    duration: float
    width: int  # in square pixels, before turning
    _raw: Any
    _scalers: _Scalers

    @property
    def nbytes(self) -> int:
        return sum(plane.buffer_size for plane in self._raw.planes)

    def small(self, width: int, height: int) -> Image:
        raw: Any = self._scalers.small.reformat(self._raw, width, height, "bgr24", interpolation="AREA")
        image: Image = raw.to_ndarray()
        return image

    def picture(self, side: int | None = None) -> Image:
        width, height = fitted(self.width, self._raw.height, side)
        how = "AREA" if width < self.width else "BILINEAR"
        given: Any = self._raw
        if given.format.name == on_gpu.GIVEN:  # FFmpeg's way from there to RGB is another one
            given = self._scalers.planes.reformat(given, format=on_gpu.FORMAT)
        raw: Any = self._scalers.picture.reformat(given, width, height, "rgb24", interpolation=how)
        image: Image = raw.to_ndarray()
        quarters = turns(self._raw.rotation)
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


class PyAVReader:
    """Walks a movie with PyAV.

    Args:
        gpu: the number of the one that decodes, if it can; None: the CPU does.
    """

    def __init__(self, info: MovieInfo, side: int | None = None, gpu: int | None = None) -> None:
        self._info, self._gpu = info, gpu
        self._open()

    def _open(self) -> None:
        try:
            path = self._info.path
            self._container = open_container(path) if self._gpu is None else on_gpu.open_on(path, self._gpu)
        except (av.FFmpegError, OSError) as error:
            raise ReaderError(f"PyAV can't open {self._info.path} ({error}).") from error
        stream: Any = video_stream(self._container)
        if stream is None:
            raise ReaderError(f"PyAV finds no pictures in {self._info.path}.")
        stream.thread_type = "AUTO"
        self._stream = stream
        self._base = Fraction(stream.time_base)
        self._origin = origin(self._container, stream)

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        scalers = _Scalers()
        damage = Damage(start)
        clock = Clock(self._info, start)
        for raw in self._from(start, damage):
            time = clock.read(self._time(raw))
            if time is None:
                continue
            if raw.is_corrupt:
                damage.bad()
            else:
                damage.good(time)
            if time >= start - 1e-6:
                width = shown_width(raw.width, self._stream)
                yield AVFrame(time, float((raw.duration or 0) * self._base), width, raw, scalers)
        damage.close()

    def close(self) -> None:
        self._container.close()

    def _time(self, raw: Any) -> float | None:
        """Seconds on the timeline at which a raw frame is shown."""
        stamp = raw.pts if raw.pts is not None else raw.dts
        return None if stamp is None else float(stamp * self._base - self._origin)

    def _from(self, start: float, damage: Damage) -> Iterator[Any]:
        """Raw frames from the one on screen at `start`, or from one before it."""
        backs = [math.inf] if start <= self._info.first + 1e-6 else [0.0, 15.0, math.inf]
        for back in backs:
            if back < start:
                try:
                    stamp = int((Fraction(start - back) + self._origin) / self._base)
                    self._container.seek(stamp, stream=self._stream)
                except av.FFmpegError:  # no index to seek in
                    continue
            elif back is not backs[0]:
                self._container.close()
                self._open()
            frames = self._decode(damage)
            first = next(frames, None)
            time = None if first is None else self._time(first)
            # where frames can only be guessed at from bytes, seeking may end behind the key frame
            if first is not None and (back >= start or (time is not None and time <= start + 1e-6)):
                yield first
                yield from frames
                return

    def _decode(self, damage: Damage) -> Iterator[Any]:
        """Raw frames; packets that fail are counted and passed over."""
        failures = 0
        while True:
            try:
                for packet in packets(self._container, self._stream):
                    failures = 0
                    try:
                        frames = packet.decode()
                    except av.FFmpegError:
                        damage.bad()
                        continue
                    yield from frames
                return
            except av.FFmpegError as error:  # the demuxer stumbles: try again behind the place
                damage.bad()
                failures += 1
                if failures > _RETRIES:
                    damage.close()
                    raise ReaderError(f"PyAV can't read on ({error}).") from error
