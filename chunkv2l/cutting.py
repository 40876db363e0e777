"""One pass over a movie: its segments, and each one's clip taken on the way.

`cut` decodes every frame once, in a thread (`readers`). The caller's thread makes frames small for the `Segmenter`, and
keeps candidates for sampling, shrunk by the model's own rule: at most `CANDIDATE_RATE` a second, and every frame that
stays longer on screen than that. When a segment is final, its clip is put together from those on screen nearest to the
moments that the model asks for, so that a sampled frame is off by at most half of 1/`CANDIDATE_RATE` seconds. Memory
depends on the longest segment, not on the movie.

Detection looks at about `DETECT_RATE` frames a second: of a 60 fps movie at every other one.
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
from chunkv2l.readers.base import Frame, Image
from chunkv2l.scenes import DEFAULT_DETECTOR, MAX_LENGTH, MIN_LENGTH, Segment, make_detector
from chunkv2l.segmenter import Segmenter

logger = logging.getLogger("chunkv2l")

CANDIDATE_RATE = 8.0
"""Pictures a second among which a clip's frames are chosen."""
DETECT_RATE = 30.0
"""Frames a second that detection looks at, about, where there are more."""
SMALL_SIDE = 256  # pixels of the longer side of what detection sees, and of thumbnails
_THUMBNAIL_RATE = 2.0  # a second
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
    candidate_rate: float = CANDIDATE_RATE,
    stall_timeout: float = STALL_TIMEOUT,
) -> Generator[tuple[Segment, Clip, Image], None, None]:
    """A movie's segments in order, each with its clip and a thumbnail (uint8 RGB, longer side 256, from its middle).

    The same file gives the same segments and frames every time. Closing the generator stops the decoding thread.

    Args:
        sample_times: (duration, fps) -> seconds from a segment's start, ascending, as `VLM.sample_times`.
        shrink: a picture, uint8 RGB [H, W, 3] -> what is kept of it, as `VLM.shrink`.
        detector: a name as `make_detector` takes it, or a fresh PySceneDetect detector.
        reader: "auto", "pyav" or "decord".
        min_length, max_length: of a segment, seconds.
        candidate_rate: pictures a second that are kept to choose from; `math.inf` keeps every frame, so that clips are
            exact, for three times the memory.
        stall_timeout: seconds without a picture after which a reader is given up.

    Raises:
        InputError: at the first `next`: not a movie, no such detector or reader.
        ChunkV2LError: the movie can't be read on.
    """
    check_reader(reader)
    found = make_detector(detector, min_length, max_length)
    info = probe(path)
    segmenter = Segmenter(found, min(info.fps, DETECT_RATE), min_length, max_length)
    sampler = _Sampler(info, sample_times, shrink, candidate_rate)
    small = _small_size(info.stored_width, info.stored_height)
    end = 0.0
    frames = read_frames(info, reader, stall_timeout=stall_timeout)
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
    image: Image
    thumbnail: Image | None


class _Sampler:
    """Keeps what a segment that is still open may need of the frames, and makes clips of it.

    A frame is decided on when the next one comes: only then is it known how long it was on screen.
    """

    def __init__(self, info: MovieInfo, sample_times: SampleTimes, shrink: Shrink, rate: float) -> None:
        self._info, self._sample_times, self._shrink, self._rate = info, sample_times, shrink, rate
        self._kept: deque[_Candidate] = deque()
        self._last: Frame | None = None
        self._cell = -1  # number of the stretch of 1/rate seconds that has its candidate
        self._drawn = -1  # the same for thumbnails

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
            tuple(c.image for c in chosen),
            tuple(round(max(0.0, c.time - segment.start), 6) for c in chosen),
            segment.duration,
            self._info.fps,
        )
        drawn = [c for c in seen if c.thumbnail is not None] or [c for c in self._kept if c.thumbnail is not None]
        thumbnail = _nearest(drawn, (segment.start + segment.end) / 2).thumbnail
        assert thumbnail is not None  # the first candidate of a movie has one
        return segment, clip, thumbnail

    def _decide(self, until: float) -> None:
        frame = self._last
        if frame is None:
            return
        cell = math.floor(frame.time * self._rate + 1e-6) if self._rate < math.inf else self._cell + 1
        if cell == self._cell and until - frame.time <= 1 / self._rate:
            return
        picture = frame.picture()
        half = math.floor(frame.time * _THUMBNAIL_RATE)
        thumbnail = _thumbnail(picture) if half > self._drawn else None
        self._cell, self._drawn = cell, half
        self._kept.append(_Candidate(frame.time, until, self._shrink(picture), thumbnail))


def _nearest(candidates: list[_Candidate], time: float) -> _Candidate:
    """The candidate on screen at `time`, or else the one that was so nearest to it."""
    return min(
        candidates, key=lambda c: max(c.time - time, time - c.until, 0.0) if not c.time <= time < c.until else -1
    )


def _thumbnail(picture: Image) -> Image:
    size = _small_size(picture.shape[1], picture.shape[0])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _small_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SMALL_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shown_for(frame: Frame, info: MovieInfo) -> float:
    """Seconds for which a movie's last frame is shown: what the file says, within reason."""
    usual = 1 / info.fps
    return frame.duration if 0 < frame.duration <= max(MAX_LENGTH, usual) else usual


def _nothing(image: Image) -> Image:
    return image[:1, :1]
