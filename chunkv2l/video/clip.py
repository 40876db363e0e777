"""Clips: the frames sampled from a segment, and a way to read one exactly by presentation time.

Times are seconds from presentation timestamps on the movie's timeline (`probe`), never a frame's number over a frame
rate. The frame on screen at a moment is the last one presented at or before it.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkv2l.errors import InputError
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import Image

_SAME = 2e-3  # seconds within which two readers mean the same frame


@dataclass(frozen=True)
class Clip:
    """The frames sampled from one segment.

    Attributes:
        frames: F images uint8 [H, W, 3] RGB, upright.
        times: when each is first shown, seconds from the segment's start (0 for one that was there before), ascending.
        duration: the segment's length, seconds.
        fps: the movie's mean frame rate.
    """

    frames: tuple[NDArray[np.uint8], ...]
    times: tuple[float, ...]
    duration: float
    fps: float


def tolerance(fps: float) -> float:
    """Return the seconds by which a frame may come after the moment asked for and still count as shown then.

    Moments are computed as number / fps, and stamps are rounded to the file's clock (a millisecond in Matroska):
    without a tolerance, the frame before would often be taken.
    """
    return min(0.01, 0.25 / fps)


def read_clip(
    path: str | os.PathLike[str],
    sample_times: Callable[[float, float], list[float]],
    shrink: Callable[[Image], Image],
    start: float | None = None,
    end: float | None = None,
    reader: str = "auto",
) -> Clip:
    """Read one clip, each frame exactly the one that is shown at its sample time. For short movies and intervals.

    The interval is decoded twice: for its frames' times, then for the pictures.

    Args:
        sample_times: (duration, fps) -> seconds from the interval's start, as `FrameSampling.times`.
        shrink: a picture, uint8 RGB [H, W, 3] -> what the model needs of it, as `FrameSampling.shrink`.
        start, end: seconds on the movie's timeline; by default from the first frame to the end of the last.

    Raises:
        InputError: not a movie; no frame in the interval.
    """
    info = probe(path)
    times, finish = _frame_times(info, start, end, reader)
    if not times or (end is not None and end <= (start or 0.0)):
        raise InputError(f"{info.path} has no picture between {start or 0:.2f} and {end or info.duration:.2f} s.")
    begin = times[0] if start is None else start
    duration = round(finish - begin, 6)
    slack = tolerance(info.fps)
    moments = [min(begin + t, finish) + slack for t in sample_times(duration, info.fps)]
    frame_times = [times[max(0, bisect_right(times, moment) - 1)] for moment in moments]
    pictures: dict[float, Image] = {}
    with closing(read_frames(info, reader, times[0])) as frames:
        for frame in frames:
            if frame.time > max(frame_times) + _SAME:
                break
            for time in {t for t in frame_times if abs(t - frame.time) <= _SAME} - pictures.keys():
                pictures[time] = shrink(frame.picture())
    decoded = [t for t in frame_times if t in pictures]
    return Clip(
        tuple(pictures[t] for t in decoded), tuple(round(max(0.0, t - begin), 6) for t in decoded), duration, info.fps
    )


def _frame_times(info: MovieInfo, start: float | None, end: float | None, reader: str) -> tuple[list[float], float]:
    """Return the times of the frames shown in [start, end), the one on screen at `start` first, and the end."""
    times: list[float] = []
    finish = 0.0
    for back in (1.0, 60.0, math.inf):  # how long before `start` the frame on screen may have come
        times.clear()
        begin = max(0.0, (start or 0.0) - back)
        with closing(read_frames(info, reader, begin)) as frames:
            for frame in frames:
                if end is not None and frame.time >= end - 1e-6:
                    finish = end
                    break
                if start is not None and frame.time <= start + 1e-6:
                    times.clear()
                times.append(frame.time)
                finish = frame.time + (frame.duration or 1 / info.fps)
        if start is None or begin == 0.0 or (times and times[0] <= start + 1e-6):
            break
    return times, finish if end is None else min(end, finish)
