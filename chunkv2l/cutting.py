"""One pass over a movie: its segments, and each one's clip taken on the way.

`cut` decodes every frame once, in a thread (`readers`). The caller's thread makes frames small for the `Segmenter`, at
about `DETECT_RATE` a second: of a 60 fps movie every other one. Beside them it keeps candidates for sampling, at most
`CANDIDATE_RATE` a second and every frame that stays longer on screen than that, none larger than `KEPT_SIDE` pixels.
When a segment is final, its clip is put together from those on screen nearest to the moments that the model asks for,
so that a sampled frame is off by at most half of 1/`CANDIDATE_RATE` seconds; only these go through the model's own
`shrink`. Memory depends on the longest segment, not on the movie.
"""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import cv2
import numpy as np
from scenedetect.detector import SceneDetector

from chunkv2l.errors import ChunkV2LError
from chunkv2l.frames import Clip, tolerance
from chunkv2l.movies import MovieInfo, probe
from chunkv2l.readers import STALL_TIMEOUT, check_reader, read_frames
from chunkv2l.readers.base import Frame, Image, fitted
from chunkv2l.scenes import DEFAULT_DETECTOR, MAX_LENGTH, MIN_LENGTH, Segment, make_detector
from chunkv2l.segmenter import Segmenter

logger = logging.getLogger("chunkv2l")

CANDIDATE_RATE = 8.0
"""Pictures a second among which a clip's frames are chosen."""
KEPT_SIDE = 512
"""Pixels that the longer side of these pictures has at most; no model looks at more."""
DETECT_RATE = 30.0
"""Frames a second that detection looks at, about, where there are more."""
THUMBNAIL_SIDE = 256
"""Pixels of a thumbnail's longer side at most."""
_SMALL_SIDE = 256  # pixels of the longer side of what detection sees
_MISSING = 2.0  # seconds (and 2 %) by which the pictures may end before the header says

SampleTimes = Callable[[float, float], list[float]]
Shrink = Callable[[Image], Image]


def cut(
    path: str | os.PathLike[str],
    sample_times: SampleTimes,
    shrink: Shrink,
    detector: str | SceneDetector = DEFAULT_DETECTOR,
    reader: str = "auto",
    min_length: float = MIN_LENGTH,
    max_length: float = MAX_LENGTH,
    exact: bool = False,
    stall_timeout: float = STALL_TIMEOUT,
) -> Generator[tuple[Segment, Clip, Image], None, None]:
    """A movie's segments in order, each with its clip and a thumbnail (uint8 RGB, longer side 256, from its middle).

    The same file gives the same segments and frames every time. Closing the generator stops the decoding thread.

    Args:
        sample_times: (duration, fps) -> seconds from a segment's start, ascending, as `VLM.sample_times`.
        shrink: a picture, uint8 RGB [H, W, 3] -> what the model wants of it, as `VLM.shrink`.
        detector: a name as `make_detector` takes it, or a fresh PySceneDetect detector.
        reader: "auto", "pyav" or "decord".
        min_length, max_length: of a segment, seconds.
        exact: shrink and keep every frame, so that clips are those of `read_clip`, to the pixel; takes more time and
            memory.
        stall_timeout: seconds without a picture after which a reader is given up.

    Raises:
        InputError: at the first `next`: not a movie, no such detector or reader.
        ChunkV2LError: the movie can't be read on.
    """
    check_reader(reader)
    found = make_detector(detector, min_length, max_length)
    info = probe(path)
    segmenter = Segmenter(found, min(info.fps, DETECT_RATE), min_length, max_length)
    sampler = _Sampler(info, sample_times, shrink, exact)
    small = fitted(info.stored_width, info.stored_height, _SMALL_SIDE)
    end = 0.0
    frames = read_frames(info, reader, side=None if exact else KEPT_SIDE, stall_timeout=stall_timeout)
    try:
        looked = -1.0
        for frame in frames:
            sampler.push(frame)
            end = frame.time + _shown_for(frame, info)
            if frame.time - looked > 0.75 / DETECT_RATE - 1e-4:
                looked = frame.time
                for segment in segmenter.push(frame.time, frame.small(*small)):
                    yield sampler.take(segment)
    finally:
        frames.close()
    if not end:
        raise ChunkV2LError(f"No picture of {info.path} could be decoded.")
    if end < info.duration * 0.98 - _MISSING:
        logger.warning(
            "The pictures end at %.2f s, although the file promises %.2f s: the rest is missing.", end, info.duration
        )
    sampler.finish(end)
    for segment in segmenter.finish(end):
        yield sampler.take(segment)


def detect(
    path: str | os.PathLike[str],
    detector: str | SceneDetector = DEFAULT_DETECTOR,
    min_length: float = MIN_LENGTH,
    max_length: float = MAX_LENGTH,
    reader: str = "auto",
) -> list[Segment]:
    """A movie's segments, without clips; arguments and errors as `cut`'s."""
    return [segment for segment, _, _ in cut(path, lambda *_: [], _nothing, detector, reader, min_length, max_length)]


@dataclass(frozen=True)
class _Candidate:
    """A kept picture, on screen in [time, until) seconds."""

    time: float
    until: float
    image: Image  # to make the clip of
    view: Image | None  # to make the thumbnail of


class _Sampler:
    """Keeps what a segment that is still open may need of the frames, and makes clips of it.

    A frame is decided on when the next one comes: only then is it known how long it was on screen.
    """

    def __init__(self, info: MovieInfo, sample_times: SampleTimes, shrink: Shrink, exact: bool) -> None:
        self._info, self._sample_times, self._shrink, self._exact = info, sample_times, shrink, exact
        self._kept: deque[_Candidate] = deque()
        self._last: Frame | None = None
        self._cell = -1  # number of the stretch of 1/CANDIDATE_RATE seconds that has its candidate

    def push(self, frame: Frame) -> None:
        self._decide(frame.time)
        self._last = frame

    def finish(self, end: float) -> None:
        self._decide(end)
        self._last = None

    def take(self, segment: Segment) -> tuple[Segment, Clip, Image]:
        """The clip and thumbnail of a segment; pictures from before it are let go."""
        while len(self._kept) > 1 and self._kept[1].time <= segment.start:
            self._kept.popleft()
        seen = [c for c in self._kept if c.time < segment.end - 1e-6 and c.until > segment.start + 1e-6]
        seen = seen or list(self._kept)
        slack = tolerance(self._info.fps)
        moments = self._sample_times(segment.duration, self._info.fps)
        chosen = [_nearest(seen, min(segment.start + t, segment.end) + slack) for t in moments]
        clip = Clip(
            tuple(c.image if self._exact else self._shrink(c.image) for c in chosen),
            tuple(round(max(0.0, c.time - segment.start), 6) for c in chosen),
            segment.duration,
            self._info.fps,
        )
        views = [c for c in seen if c.view is not None] or [c for c in self._kept if c.view is not None]
        view = _nearest(views, (segment.start + segment.end) / 2).view
        assert view is not None
        size = fitted(view.shape[1], view.shape[0], THUMBNAIL_SIDE)
        return segment, clip, np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _decide(self, until: float) -> None:
        frame = self._last
        if frame is None:
            return
        cell = math.floor(frame.time * CANDIDATE_RATE + 1e-6)
        wanted = cell > self._cell or until - frame.time > 1 / CANDIDATE_RATE
        self._cell = cell
        if self._exact:
            image = self._shrink(frame.picture())
            view = frame.picture(THUMBNAIL_SIDE) if wanted or not self._kept else None
            self._kept.append(_Candidate(frame.time, until, image, view))
        elif wanted:
            image = frame.picture(KEPT_SIDE)
            self._kept.append(_Candidate(frame.time, until, image, image))


def _nearest(candidates: list[_Candidate], time: float) -> _Candidate:
    """The candidate on screen at `time`, or else the one that was so nearest to it."""

    def distance(candidate: _Candidate) -> float:
        if candidate.time <= time < candidate.until:
            return -1.0
        return max(candidate.time - time, time - candidate.until)

    return min(candidates, key=distance)


def _shown_for(frame: Frame, info: MovieInfo) -> float:
    """Seconds for which a movie's last frame is shown: what the file says, within reason."""
    usual = 1 / info.fps
    return frame.duration if 0 < frame.duration <= max(MAX_LENGTH, usual) else usual


def _nothing(image: Image) -> Image:
    return image[:1, :1]
