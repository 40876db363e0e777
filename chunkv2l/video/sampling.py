"""Keeps, of a movie's frames on the way, small ones for scene detection and those from which clips are made.

Detection sees about `DETECT_RATE` frames a second: every other frame of a 60 fps movie. Besides, frames are kept for
sampling: at most `KEEP_RATE` a second, and every frame that stays on screen longer than that. A segment's clip consists
of the kept frames on screen nearest to the times that the model asks for, so that a sampled frame is off by at most
half of 1/`KEEP_RATE` seconds. The model's `shrink` gets pictures of at most `KEPT_SIDE` pixels.

Where clips must be exact, every frame is kept, and `shrink` gets whole pictures.

A kept frame stays as the decoder left it, and pictures are made only of those that a clip consists of. Where waiting
frames take more than `ROOM`, pictures of the oldest ones are made earlier, in threads.
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
from chunkv2l.video.frame_sampling import FrameSampling, SampleTimes
from chunkv2l.video.probe import MovieInfo
from chunkv2l.video.readers.base import Frame, Image, fitted

KEEP_RATE = 8.0
"""Frames a second among which a clip's frames are chosen."""
KEPT_SIDE = 512
"""Pixels of the longer side of these pictures at most; no model looks at more."""
DETECT_RATE = 30.0
"""Frames a second that detection sees, about, where there are more."""
ROOM = 512 << 20
"""Bytes that whole frames may take (docs/measurements.md#frames-held-whole)."""
THUMBNAIL_SIDE = 256
"""Pixels of a thumbnail's longer side at most."""
_SMALL_SIDE = 256  # pixels of the longer side of what detection sees
_LONGEST_HOLD = 16.0  # seconds for which a header may say that a movie's last frame is shown


class PendingFrame:
    """A frame as the decoder left it, whose pictures are made when they are asked for or when it is settled.

    Attributes:
        is_viewable: `view` may be asked for.
        nbytes: memory that the frame takes.
    """

    def __init__(self, frame: Frame, sampling: FrameSampling, *, is_viewable: bool) -> None:
        self.is_viewable, self.nbytes = is_viewable, frame.nbytes
        self._frame: Frame | None = frame
        self._shrink, self._is_whole = sampling.shrink, sampling.exact
        self._image: Image | None = None
        self._view: Image | None = None
        self._lock = Lock()

    def image(self) -> Image:
        """Return what `shrink` leaves of the picture, uint8 RGB."""
        if not self._is_whole:
            return self._shrink(self.view())
        with self._lock:
            if self._image is None:
                assert self._frame is not None
                self._image = self._shrink(self._frame.picture())
            return self._image

    def view(self) -> Image:
        """Return a picture to make a thumbnail of, uint8 RGB."""
        with self._lock:
            if self._view is None:
                assert self._frame is not None and self.is_viewable
                self._view = self._frame.picture(KEPT_SIDE)
            return self._view

    def settle(self) -> None:
        """Make the pictures that may be asked for, and release the frame."""
        if self._is_whole:
            self.image()
        if self.is_viewable:
            self.view()
        self._frame = None


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """A frame that is kept for sampling, on screen in [time, until) seconds."""

    time: float
    until: float
    pending: PendingFrame


@dataclass(frozen=True)
class ScannedFrame:
    """The result of scanning one frame.

    Attributes:
        time: when it is first shown, seconds.
        end: where the movie ends if no other frame comes, seconds.
        small: uint8 BGR for detection; None for a frame that detection skips and for the closing item.
        kept: the frame *before*, if it is kept: only now is it known how long it was on screen.
    """

    time: float
    end: float
    small: Image | None
    kept: KeptFrame | None


def scan(
    frames: Generator[Frame, None, None], info: MovieInfo, sampling: FrameSampling
) -> Generator[ScannedFrame, None, None]:
    """Scan every frame once; a closing item brings the last kept frame. Closing this closes `frames`."""
    small_size = fitted(info.stored_width, info.stored_height, _SMALL_SIDE)
    last: Frame | None = None
    cell, last_small = -1, -1.0
    end = 0.0
    with closing(frames):
        for frame in frames:
            kept = None
            if last is not None:
                kept = _keep(last, frame.time, cell, sampling)
                cell = _cell(last)
            small = None
            if frame.time - last_small > 0.75 / DETECT_RATE - 1e-4:
                small, last_small = frame.small(*small_size), frame.time
            end = frame.time + _shown_for(frame, info)
            yield ScannedFrame(frame.time, end, small, kept)
            last = frame
    if last is not None:
        yield ScannedFrame(last.time, end, None, _keep(last, end, cell, sampling))


class Sampler:
    """Holds the kept frames that a segment may need that is still open, and makes clips of them.

    A context manager: leaving it ends its threads.

    Args:
        fps: the movie's mean frame rate.
        room: bytes that frames may take before the oldest are settled.
    """

    def __init__(self, sample_times: SampleTimes, fps: float, room: int = ROOM) -> None:
        self._sample_times, self._fps, self._room = sample_times, fps, room
        self._kept: deque[KeptFrame] = deque()
        self._unsettled: deque[PendingFrame] = deque()  # those of the kept frames, in order
        self._bytes = 0  # that they take
        self._settling: deque[Future[None]] = deque()
        self._threads = count_cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="chunkv2l-shrink")

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        """Return the number of frames that are kept."""
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes of the frames that aren't settled."""
        return self._bytes

    def keep(self, frame: KeptFrame) -> None:
        """Add a frame; frames come in order."""
        self._kept.append(frame)
        self._unsettled.append(frame.pending)
        self._bytes += frame.pending.nbytes
        while self._bytes > self._room and self._unsettled:
            oldest = self._unsettled.popleft()
            self._bytes -= oldest.nbytes
            self._settling.append(self._pool.submit(oldest.settle))
        while len(self._settling) > 2 * self._threads:
            self._settling.popleft().result()

    def take(self, segment: Segment) -> tuple[Clip, Image]:
        """Return a segment's clip and thumbnail (uint8 RGB), and release the frames before the segment."""
        while len(self._kept) > 1 and self._kept[1].time <= segment.start:
            released = self._kept.popleft().pending
            if self._unsettled and self._unsettled[0] is released:
                self._unsettled.popleft()
                self._bytes -= released.nbytes
        visible = [f for f in self._kept if f.time < segment.end - 1e-6 and f.until > segment.start + 1e-6]
        visible = visible or list(self._kept)
        slack = tolerance(self._fps)
        moments = self._sample_times(segment.duration, self._fps)
        chosen = [_nearest(visible, min(segment.start + t, segment.end) + slack) for t in moments]
        images = tuple(self._pool.map(_image, chosen))
        times = tuple(round(max(0.0, frame.time - segment.start), 6) for frame in chosen)
        return Clip(images, times, segment.duration, self._fps), self._thumbnail(segment, visible)

    def _thumbnail(self, segment: Segment, visible: list[KeptFrame]) -> Image:
        """Return a small picture from the segment's middle."""
        viewable = [frame for frame in visible if frame.pending.is_viewable]
        viewable = viewable or [frame for frame in self._kept if frame.pending.is_viewable]  # a movie's first frame is
        view = _nearest(viewable, (segment.start + segment.end) / 2).pending.view()
        size = fitted(view.shape[1], view.shape[0], THUMBNAIL_SIDE)
        return np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def count_cores() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _image(frame: KeptFrame) -> Image:
    return frame.pending.image()


def _keep(frame: Frame, until: float, cell: int, sampling: FrameSampling) -> KeptFrame | None:
    """Return the frame to keep, on screen until then, or None; `cell` is the last one that has its kept frame."""
    is_regular = _cell(frame) > cell or until - frame.time > 1 / KEEP_RATE
    if not (is_regular or sampling.exact):
        return None
    return KeptFrame(frame.time, until, PendingFrame(frame, sampling, is_viewable=is_regular))


def _cell(frame: Frame) -> int:
    """Return the number of the interval of 1/KEEP_RATE seconds in which a frame is first shown."""
    return math.floor(frame.time * KEEP_RATE + 1e-6)


def _nearest(frames: list[KeptFrame], time: float) -> KeptFrame:
    """Return the frame on screen at `time`, or else the one that was on screen nearest to it."""

    def distance(frame: KeptFrame) -> float:
        if frame.time <= time < frame.until:
            return -1.0
        return max(frame.time - time, time - frame.until)

    return min(frames, key=distance)


def _shown_for(frame: Frame, info: MovieInfo) -> float:
    """Return the seconds for which a movie's last frame is shown: what the file says, if that is plausible."""
    usual = 1 / info.fps
    return frame.duration if 0 < frame.duration <= max(_LONGEST_HOLD, usual) else usual
