"""What is kept of a movie's frames on the way: small ones for detection, and pictures from which clips are made.

Detection looks at about `DETECT_RATE` frames a second: of a 60 fps movie at every other one. Beside them candidates for
sampling are kept, at most `CANDIDATE_RATE` a second and every frame that stays longer on screen than that. A segment's
clip is put together from those on screen nearest to the moments that the model asks for: a sampled frame is off by at
most half of 1/`CANDIDATE_RATE` seconds. The model's `shrink` gets pictures no larger than `KEPT_SIDE` pixels.

Where clips must be exact, every frame is a candidate, and `shrink` gets whole pictures.

Either way a candidate is held as the decoder left it, and pictures are made of those only that a clip consists of; of
the oldest ones they are made before that, in threads, where frames would take more than `ROOM`.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Lock

import cv2
import numpy as np

from chunkv2l.video.clip import Clip, tolerance
from chunkv2l.video.detectors import Segment
from chunkv2l.video.frame_sampling import SampleTimes, Shrink
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers.base import Frame, Image, fitted

CANDIDATE_RATE = 8.0
"""Pictures a second among which a clip's frames are chosen."""
KEPT_SIDE = 512
"""Pixels that the longer side of these pictures has at most; no model looks at more."""
DETECT_RATE = 30.0
"""Frames a second that detection looks at, about, where there are more."""
ROOM = 512 << 20
"""Bytes that frames held whole may take (docs/measurements.md#frames-held-whole)."""
THUMBNAIL_SIDE = 256
"""Pixels of a thumbnail's longer side at most."""
_SMALL_SIDE = 256  # pixels of the longer side of what detection sees
_LONGEST = 16.0  # seconds for which a header may say that a movie's last frame is shown


class Held:
    """A frame as the decoder left it, until it is settled: what may be wanted of it is made, and the frame let go.

    Attributes:
        viewable: whether `view` may be asked for.
        nbytes: what the frame takes.
    """

    def __init__(self, frame: Frame, shrink: Shrink, *, whole: bool, viewable: bool) -> None:
        """
        Args:
            whole: the model gets the picture in its full size to shrink, not one of `KEPT_SIDE`.
        """
        self.viewable, self.nbytes = viewable, frame.nbytes
        self._frame: Frame | None = frame
        self._shrink, self._whole = shrink, whole
        self._image: Image | None = None
        self._view: Image | None = None
        self._lock = Lock()

    def image(self) -> Image:
        """uint8 RGB, what `shrink` leaves of the picture."""
        if not self._whole:
            return self._shrink(self.view())
        with self._lock:
            if self._image is None:
                assert self._frame is not None
                self._image = self._shrink(self._frame.picture())
            return self._image

    def view(self) -> Image:
        """uint8 RGB, to make a thumbnail of."""
        with self._lock:
            if self._view is None:
                assert self._frame is not None and self.viewable
                self._view = self._frame.picture(KEPT_SIDE)
            return self._view

    def settle(self) -> None:
        """Make what may be asked for, and let the frame go."""
        if self._whole:
            self.image()
        if self.viewable:
            self.view()
        self._frame = None


@dataclass(frozen=True, eq=False)
class Candidate:
    """What is kept of a frame, on screen in [time, until) seconds."""

    time: float
    until: float
    held: Held


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
    frames: Generator[Frame, None, None], info: MovieInfo, shrink: Shrink, exact: bool = False
) -> Generator[Look, None, None]:
    """Look at every frame once; a closing item brings the last candidate. Closing this closes `frames`.

    Args:
        exact: every frame is a candidate, to be shrunk from its full size.
    """
    small_size = fitted(info.stored_width, info.stored_height, _SMALL_SIDE)
    last: Frame | None = None
    cell, seen, end = -1, -1.0, 0.0
    with closing(frames):
        for frame in frames:
            kept = None
            if last is not None:
                kept = _candidate(last, frame.time, cell, shrink, exact)
                cell = _cell(last)
            small = None
            if frame.time - seen > 0.75 / DETECT_RATE - 1e-4:
                small, seen = frame.small(*small_size), frame.time
            end = frame.time + _shown_for(frame, info)
            yield Look(frame.time, end, small, kept)
            last = frame
    if last is not None:
        yield Look(last.time, end, None, _candidate(last, end, cell, shrink, exact))


class Sampler:
    """Holds the candidates that a segment may need that is still open, and makes clips of them.

    A context manager: leaving it ends its threads.

    Args:
        room: bytes that frames may take before the oldest are settled.
    """

    def __init__(self, sample_times: SampleTimes, fps: float, room: int = ROOM) -> None:
        self._sample_times, self._fps, self._room = sample_times, fps, room
        self._kept: deque[Candidate] = deque()
        self._unsettled: deque[Held] = deque()  # those of the kept ones, in order
        self._bytes = 0  # that they take
        self._settling: deque[Future[None]] = deque()
        self._threads = cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="chunkv2l-shrink")

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def keep(self, candidate: Candidate) -> None:
        """Take one more; they come in order."""
        self._kept.append(candidate)
        self._unsettled.append(candidate.held)
        self._bytes += candidate.held.nbytes
        while self._bytes > self._room and self._unsettled:
            oldest = self._unsettled.popleft()
            self._bytes -= oldest.nbytes
            self._settling.append(self._pool.submit(oldest.settle))
        while len(self._settling) > 2 * self._threads:
            self._settling.popleft().result()

    def take(self, segment: Segment) -> tuple[Clip, Image]:
        """A segment's clip and thumbnail (uint8 RGB); pictures from before the segment are let go."""
        while len(self._kept) > 1 and self._kept[1].time <= segment.start:
            gone = self._kept.popleft().held
            if self._unsettled and self._unsettled[0] is gone:
                self._unsettled.popleft()
                self._bytes -= gone.nbytes
        seen = [c for c in self._kept if c.time < segment.end - 1e-6 and c.until > segment.start + 1e-6]
        seen = seen or list(self._kept)
        slack = tolerance(self._fps)
        moments = self._sample_times(segment.duration, self._fps)
        chosen = [_nearest(seen, min(segment.start + t, segment.end) + slack) for t in moments]
        images = tuple(self._pool.map(_image, chosen))
        times = tuple(round(max(0.0, c.time - segment.start), 6) for c in chosen)
        views = [c for c in seen if c.held.viewable] or [c for c in self._kept if c.held.viewable]
        view = _nearest(views, (segment.start + segment.end) / 2).held.view()  # a movie's first candidate is viewable
        size = fitted(view.shape[1], view.shape[0], THUMBNAIL_SIDE)
        thumbnail = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return Clip(images, times, segment.duration, self._fps), thumbnail


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _image(candidate: Candidate) -> Image:
    return candidate.held.image()


def _candidate(frame: Frame, until: float, cell: int, shrink: Shrink, exact: bool) -> Candidate | None:
    """What is kept of a frame on screen until then; `cell` is the last one that has its candidate."""
    wanted = _cell(frame) > cell or until - frame.time > 1 / CANDIDATE_RATE
    if not (wanted or exact):
        return None
    return Candidate(frame.time, until, Held(frame, shrink, whole=exact, viewable=wanted))


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
