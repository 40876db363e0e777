"""Reading with PyAV (FFmpeg): the default reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from chunkv2l.readers.base import Frame, Image

logger = logging.getLogger("chunkv2l")


def open_container(path: Path | str) -> Any:
    """FFmpeg's demuxer on a local file; a name that looks like a protocol, or a playlist, opens nothing else."""
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"})


def video_stream(container: Any) -> Any | None:
    """The first stream of moving pictures (cover art doesn't count), or None."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def origin(container: Any) -> Fraction:
    """Seconds at which the file's clock stands where its timeline begins: the earliest start of all its streams."""
    return Fraction(container.start_time or 0, av.time_base)


@dataclass(frozen=True)
class AVFrame:
    """A decoded frame, still in the codec's own pixel format."""

    time: float
    duration: float
    raw: Any
    convert: VideoReformatter
    shrink: VideoReformatter

    def small(self, width: int, height: int) -> Image:
        return self.shrink.reformat(self.raw, width, height, "bgr24", interpolation="AREA").to_ndarray()  # type: ignore[no-any-return, union-attr]

    def picture(self) -> Image:
        image = self.convert.reformat(self.raw, format="rgb24").to_ndarray()  # type: ignore[union-attr]
        turns = round(self.raw.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image  # type: ignore[no-any-return]


class PyAVReader:
    """Walks a movie with PyAV; a packet that can't be decoded is skipped with a warning that names the time."""

    def __init__(self, path: Path | str) -> None:
        self._container = open_container(path)
        self._stream = video_stream(self._container)
        self._origin = origin(self._container)
        if self._stream is not None:
            self._stream.thread_type = "AUTO"

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        convert, shrink = VideoReformatter(), VideoReformatter()
        stream, last = self._stream, -1.0
        assert stream is not None
        base = Fraction(stream.time_base)
        step = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
        if start > 0:
            self._container.seek(int((Fraction(start) + self._origin) / base), stream=stream)
        for packet in self._container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                logger.warning("The picture near %.2f s can't be decoded (%s); going on after it.", max(last, 0), error)
                continue
            for raw in frames:
                stamp = raw.pts if raw.pts is not None else raw.dts
                time = float(stamp * base - self._origin) if stamp is not None else last + step
                if time <= last:
                    continue
                last = time
                if time >= start - 1e-6:
                    yield AVFrame(time, float((raw.duration or 0) * base), raw, convert, shrink)

    def close(self) -> None:
        self._container.close()
