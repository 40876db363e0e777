"""One pass over a movie: detection on small frames, and sampling of each segment's clip on the way.

`cut` decodes every frame once. Each analysed frame goes, made small, to the `Segmenter`; at most `CANDIDATE_RATE` pictures a
second are shrunk by the model's own rule and kept until their segment is closed. When it is, the clip is put together from
those nearest to the times that the model asks for: a sampled frame is off by at most half of 1/`CANDIDATE_RATE` seconds.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
from scenedetect.detector import SceneDetector

from chunkv2l.frames import Clip, MovieInfo, probe
from chunkv2l.readers.base import Frame, Image
from chunkv2l.readers.pyav import PyAVReader
from chunkv2l.scenes import DEFAULT_DETECTOR, MAX_LENGTH, MIN_LENGTH, Segment, make_detector
from chunkv2l.segmenter import Segmenter

CANDIDATE_RATE = 8.0
SMALL_SIDE = 256


@dataclass(frozen=True)
class _Candidate:
    """A kept picture, shown in [time, until)."""

    time: float
    until: float
    image: Image
    thumbnail: Image


def cut(
    path: str | os.PathLike[str],
    sample_times: Callable[[float, float], list[float]],
    shrink: Callable[[Image], Image],
    detector: str | SceneDetector = DEFAULT_DETECTOR,
    reader: str = "auto",
    min_length: float = MIN_LENGTH,
    max_length: float = MAX_LENGTH,
) -> Iterator[tuple[Segment, Clip, Image]]:
    """A movie's segments in order, each with its clip and a thumbnail (uint8 RGB, longest side 256, from its middle).

    Args:
        sample_times: (duration, fps) -> seconds from a segment's start, as `VLM.sample_times`.
        shrink: a picture, uint8 RGB [H, W, 3] -> what the model wants kept of it, as `VLM.shrink`.
    """
    info = probe(path)
    segmenter = Segmenter(make_detector(detector, min_length, max_length), info.fps, min_length, max_length)
    source = PyAVReader(info.path)
    kept: deque[_Candidate] = deque()
    small_size = _small_size(info)
    end = 0.0
    cell = -1
    last: tuple[Frame, Image] | None = None
    try:
        for frame in source.frames():
            small = frame.small(*small_size)
            if last is not None:
                _keep(kept, last, frame.time, cell, shrink)
                cell = int(last[0].time * CANDIDATE_RATE + 1e-6)
            last = (frame, small)
            end = frame.time + (frame.duration or 1 / info.fps)
            for segment in segmenter.push(frame.time, small):
                yield _assemble(segment, kept, sample_times, info)
        if last is not None:
            _keep(kept, last, end, -1, shrink)
            for segment in segmenter.finish(end):
                yield _assemble(segment, kept, sample_times, info)
    finally:
        source.close()


def _small_size(info: MovieInfo) -> tuple[int, int]:
    width, height = (info.height, info.width) if info.rotation % 180 else (info.width, info.height)
    scale = min(1.0, SMALL_SIDE / max(width, height))
    return max(8, round(width * scale)), max(8, round(height * scale))


def _keep(
    kept: deque[_Candidate], last: tuple[Frame, Image], until: float, cell: int, shrink: Callable[[Image], Image]
) -> None:
    frame, _small = last
    if int(frame.time * CANDIDATE_RATE + 1e-6) == cell and until - frame.time <= 1 / CANDIDATE_RATE:
        return
    picture = frame.picture()
    scale = min(1.0, SMALL_SIDE / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    thumbnail = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    kept.append(_Candidate(frame.time, until, shrink(picture), thumbnail))


def _assemble(
    segment: Segment, kept: deque[_Candidate], sample_times: Callable[[float, float], list[float]], info: MovieInfo
) -> tuple[Segment, Clip, Image]:
    while len(kept) > 1 and kept[0].until <= segment.start and kept[1].time <= segment.start:
        kept.popleft()
    inside = [c for c in kept if c.time < segment.end and c.until > segment.start] or list(kept)
    chosen = [_nearest(inside, segment.start + t) for t in sample_times(segment.duration, info.fps)]
    times = tuple(round(max(0.0, c.time - segment.start), 6) for c in chosen)
    clip = Clip(tuple(c.image for c in chosen), times, segment.duration, info.fps)
    return segment, clip, _nearest(inside, (segment.start + segment.end) / 2).thumbnail


def _nearest(candidates: list[_Candidate], time: float) -> _Candidate:
    """The candidate on screen at `time`, or else the one whose time on screen is nearest."""
    return min(candidates, key=lambda c: max(c.time - time, time - c.until, 0.0))
