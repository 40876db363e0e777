"""What is kept of a movie's frames on the way: small ones for detection, and pictures from which clips are made.

Detection looks at about `DETECT_RATE` frames a second: of a 60 fps movie at every other one. Beside them candidates for
sampling are kept, at most `CANDIDATE_RATE` a second and every frame that stays longer on screen than that, none larger
than `KEPT_SIDE` pixels. A segment's clip is put together from those on screen nearest to the moments that the model
asks for: a sampled frame is off by at most half of 1/`CANDIDATE_RATE` seconds. Only these go through the model's
`shrink`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np

from chunkv2l.frames import Clip, tolerance
from chunkv2l.movies import MovieInfo
from chunkv2l.readers.base import Frame, Image, fitted
from chunkv2l.scenes import Segment

CANDIDATE_RATE = 8.0
"""Pictures a second among which a clip's frames are chosen."""
KEPT_SIDE = 512
"""Pixels that the longer side of these pictures has at most; no model looks at more."""
DETECT_RATE = 30.0
"""Frames a second that detection looks at, about, where there are more."""
THUMBNAIL_SIDE = 256
"""Pixels of a thumbnail's longer side at most."""
_SMALL_SIDE = 256  # pixels of the longer side of what detection sees
_LONGEST = 16.0  # seconds for which a header may say that a movie's last frame is shown

SampleTimes = Callable[[float, float], list[float]]
Shrink = Callable[[Image], Image]


@dataclass(frozen=True)
class Candidate:
    """A kept picture, on screen in [time, until) seconds.

    Attributes:
        image: uint8 RGB, to make the clip of: the picture, or what `shrink` left of it.
        view: uint8 RGB, to make a thumbnail of, or None.
    """

    time: float
    until: float
    image: Image
    view: Image | None


@dataclass(frozen=True)
class Look:
    """One frame, looked at.

    Attributes:
        time: when it is first shown, seconds.
        end: where the movie ends if no other frame comes, seconds.
        small: uint8 BGR for detection, or None: a frame that detection skips, or the closing item.
        kept: the frame *before*, if it is a candidate; only now is it known how long it was on screen.
    """

    time: float
    end: float
    small: Image | None
    kept: Candidate | None


def look(
    frames: Generator[Frame, None, None], info: MovieInfo, shrink: Shrink | None = None
) -> Generator[Look, None, None]:
    """Look at every frame once; a closing item brings the last candidate. Closing this closes `frames`.

    Args:
        shrink: given, every frame is a candidate, shrunk from its full size at once.
    """
    small_size = fitted(info.stored_width, info.stored_height, _SMALL_SIDE)
    last: Frame | None = None
    cell, seen, end = -1, -1.0, 0.0
    with closing(frames):
        for frame in frames:
            kept = None
            if last is not None:
                kept = _candidate(last, frame.time, cell, shrink)
                cell = _cell(last)
            small = None
            if frame.time - seen > 0.75 / DETECT_RATE - 1e-4:
                small, seen = frame.small(*small_size), frame.time
            end = frame.time + _shown_for(frame, info)
            yield Look(frame.time, end, small, kept)
            last = frame
    if last is not None:
        yield Look(last.time, end, None, _candidate(last, end, cell, shrink))


class Sampler:
    """Holds the candidates that a segment may need that is still open, and makes clips of them."""

    def __init__(self, sample_times: SampleTimes, shrink: Shrink, fps: float, shrunk: bool = False) -> None:
        self._sample_times, self._shrink, self._fps, self._shrunk = sample_times, shrink, fps, shrunk
        self._kept: deque[Candidate] = deque()

    def keep(self, candidate: Candidate) -> None:
        """Take one more; they come in order."""
        self._kept.append(candidate)

    def take(self, segment: Segment) -> tuple[Clip, Image]:
        """A segment's clip and thumbnail (uint8 RGB); pictures from before the segment are let go."""
        while len(self._kept) > 1 and self._kept[1].time <= segment.start:
            self._kept.popleft()
        seen = [c for c in self._kept if c.time < segment.end - 1e-6 and c.until > segment.start + 1e-6]
        seen = seen or list(self._kept)
        slack = tolerance(self._fps)
        moments = self._sample_times(segment.duration, self._fps)
        chosen = [_nearest(seen, min(segment.start + t, segment.end) + slack) for t in moments]
        images = tuple(c.image if self._shrunk else self._shrink(c.image) for c in chosen)
        times = tuple(round(max(0.0, c.time - segment.start), 6) for c in chosen)
        views = [c for c in seen if c.view is not None] or [c for c in self._kept if c.view is not None]
        view = _nearest(views, (segment.start + segment.end) / 2).view
        assert view is not None  # a movie's first candidate has one
        size = fitted(view.shape[1], view.shape[0], THUMBNAIL_SIDE)
        thumbnail = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return Clip(images, times, segment.duration, self._fps), thumbnail


def _candidate(frame: Frame, until: float, cell: int, shrink: Shrink | None) -> Candidate | None:
    """What is kept of a frame on screen until then; `cell` is the last one that has its candidate."""
    wanted = _cell(frame) > cell or until - frame.time > 1 / CANDIDATE_RATE
    if shrink is not None:
        return Candidate(frame.time, until, shrink(frame.picture()), frame.picture(KEPT_SIDE) if wanted else None)
    if not wanted:
        return None
    picture = frame.picture(KEPT_SIDE)
    return Candidate(frame.time, until, picture, picture)


def _cell(frame: Frame) -> int:
    """Which stretch of 1/CANDIDATE_RATE seconds a frame falls into."""
    return math.floor(frame.time * CANDIDATE_RATE + 1e-6)


def _nearest(candidates: list[Candidate], time: float) -> Candidate:
    """The candidate on screen at `time`, or else the one that was so nearest to it."""

    def distance(candidate: Candidate) -> float:
        if candidate.time <= time < candidate.until:
            return -1.0
        return max(candidate.time - time, time - candidate.until)

    return min(candidates, key=distance)


def _shown_for(frame: Frame, info: MovieInfo) -> float:
    """Seconds for which a movie's last frame is shown: what the file says, within reason."""
    usual = 1 / info.fps
    return frame.duration if 0 < frame.duration <= max(_LONGEST, usual) else usual
