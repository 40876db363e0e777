"""Movies and the frames taken from them: what a file holds (`probe`), and clips of it (`read_clip`).

Time is seconds from presentation timestamps, counted from where the file's timeline begins (the earliest start of all its
streams, as players do): never a frame's number over a frame rate. A moment shows the last frame presented at or before it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from chunkv2l.errors import InputError
from chunkv2l.readers.pyav import open_container, origin, video_stream


@dataclass(frozen=True)
class Clip:
    """The frames sampled from one segment.

    frames: F images uint8 [H, W, 3] RGB, upright; times: seconds from the segment's start, ascending; duration: the
    segment's length in seconds; fps: the movie's mean frame rate.
    """

    frames: tuple[NDArray[np.uint8], ...]
    times: tuple[float, ...]
    duration: float
    fps: float


@dataclass(frozen=True)
class MovieInfo:
    """What a movie's header says. Sizes are as shown: upright.

    duration: seconds from the timeline's begin to the end of the pictures; fps: mean frame rate; frames: their number as
    far as the header tells; origin: what the file's own clock says at the timeline's begin, seconds.
    """

    path: Path
    duration: float
    fps: float
    width: int
    height: int
    frames: int | None
    codec: str
    origin: float
    rotation: int


def probe(path: str | os.PathLike[str]) -> MovieInfo:
    """Look at a movie without reading it through: opens it and decodes one frame.

    Raises:
        InputError: with a sentence for everything that is not a movie.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if path.is_dir():
        raise InputError(f"{path} is a directory; give the movie file itself.")
    try:
        container = open_container(path)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path} is not a movie that can be read ({error}).") from error
    with container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{path} has no video stream.")
        try:
            first = next(container.decode(stream), None)
        except av.FFmpegError as error:
            raise InputError(f"{path}: its pictures can't be decoded ({error}).") from error
        if first is None:
            raise InputError(f"{path} has a video stream without a single picture.")
        start = float(origin(container))
        if stream.duration:
            duration = float((stream.duration + (stream.start_time or 0)) * stream.time_base) - start
        else:
            duration = (container.duration or 0) / av.time_base
        width, height = first.width, first.height
        if round(first.rotation / 90) % 2:
            width, height = height, width
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        return MovieInfo(
            path, duration, fps, width, height, stream.frames or None, stream.codec_context.name, start, first.rotation
        )
