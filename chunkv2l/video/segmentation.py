"""Cuts a movie into segments in one pass, and takes each segment's clip on the way.

Three threads share the work, each a few frames ahead of the next: one decodes (`readers`), one makes frames small for
detection and keeps frames for sampling (`sampling`), and the caller's detects (`segmenter`) and makes clips. `build`
runs `cut` in a fourth thread, so that the model works beside them. The result depends on the file alone; the memory
depends on the longest segment, not on the movie.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Generator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.background import BackgroundIterator
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import Segment, make_detector
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import AHEAD, ROOM_AHEAD, STALL_TIMEOUT, read_frames
from chunkv2l.video.readers.base import Image, count_frames
from chunkv2l.video.refusals import count_pages
from chunkv2l.video.sampling import DETECT_RATE, KEPT_SIDE, ROOM, Sampler, scan
from chunkv2l.video.segmenter import Segmenter
from chunkv2l.video.settings import SegmentationSettings

_MISSING = 2.0  # seconds (and 2 %) by which the pictures may end before the header's end until some are missing
_SHORTER, _LONGER = 1.0, 0.3  # seconds by which they may end before (sound may go on) and after it without a note


class CutSegment(NamedTuple):
    """A segment with what was taken of it: its clip, and a thumbnail from its middle (uint8 RGB, longer side 256)."""

    segment: Segment
    clip: Clip
    thumbnail: Image


@dataclass(frozen=True)
class Part:
    """The interval of a movie that is read, seconds. The first segment starts at `start`, whatever is there; segments
    that aren't final at `stop` are left out."""

    start: float = 0.0
    stop: float = inf


@dataclass(frozen=True)
class Resources:
    """Limits and devices with which a process reads a movie.

    Attributes:
        room: bytes that whole frames may take, where they are kept.
        gpu: number of the GPU that decodes, if it can; None for the CPU.
        stall_timeout: seconds without a picture after which a reader is given up.
    """

    room: int = ROOM
    gpu: int | None = None
    stall_timeout: float = STALL_TIMEOUT


def cut(
    path: str | os.PathLike[str],
    sampling: FrameSampling,
    settings: SegmentationSettings | None = None,
    *,
    part: Part | None = None,
    resources: Resources | None = None,
    notes: Notes | None = None,
) -> Generator[CutSegment, None, bool]:
    """Yield a movie's segments in order, each with its clip and a thumbnail.

    The same file gives the same segments and frames every time. Closing the generator stops the threads.

    Args:
        part: the interval to read; the whole movie by default.
        notes: collects what was repaired or left out; by default it is logged.

    Returns:
        Whether the movie has ended.

    Raises:
        InputError: at the first `next`: not a movie.
        ChunkV2LError: the movie can't be read on.
    """
    settings = settings or SegmentationSettings()
    part, resources, notes = part or Part(), resources or Resources(), Notes() if notes is None else notes
    # a detector remembers frames: each pass over the movie needs a fresh one
    detector = make_detector(copy.deepcopy(settings.detector), settings.min_length, settings.max_length)
    info = probe(path, settings.stream)
    if settings.stream is None and (choice := info.describe_choice()):
        notes.add("stream", choice)
    if (pages := count_pages(info.path) if info.container == "tiff_pipe" else 1) > 1:
        notes.add(
            "stream", f"Of the {pages} pages of {info.path.name} only the first is read: make a movie of them first."
        )
    if info.scrambled:
        notes.add("stream", info.describe_scrambled())
    for time in info.jumps:
        notes.add("clock", f"The movie's clock jumps at {time:.2f} s; what follows is taken to go on there.")
    lengths = (settings.min_length, settings.max_length)
    segmenter = Segmenter(detector, min(info.fps, DETECT_RATE), *lengths, part.start)
    end = 0.0
    frames = read_frames(
        info,
        settings.reader,
        part.start,
        None if sampling.exact else KEPT_SIDE,
        gpu=resources.gpu,
        stall_timeout=resources.stall_timeout,
        notes=notes,
    )
    with Sampler(sampling.times, info.fps, resources.room) as sampler:
        depth = count_frames(info, ROOM_AHEAD, AHEAD)
        with BackgroundIterator(scan(frames, info, sampling), depth, name="scan") as scanned_frames:
            for scanned in scanned_frames:
                if scanned.time >= part.stop:
                    return False
                end = scanned.end
                if scanned.kept is not None:
                    sampler.keep(scanned.kept)
                if scanned.small is not None:
                    for segment in segmenter.push(scanned.time, scanned.small):
                        yield CutSegment(segment, *sampler.take(segment))
        if not end:
            raise ChunkV2LError(f"No picture of {info.path} could be decoded.")
        if end < info.duration * 0.98 - _MISSING:
            promised = f"although the file promises {info.duration:.2f} s"
            notes.add("length", f"The pictures end at {end:.2f} s, {promised}: the rest is missing.")
        elif not -_SHORTER < end - info.duration < _LONGER:
            notes.add("length", f"The movie lasts {end:.2f} s, although the file says {info.duration:.2f} s.")
        for segment in segmenter.finish(end):
            yield CutSegment(segment, *sampler.take(segment))
    return True


def detect(path: str | os.PathLike[str], settings: SegmentationSettings | None = None) -> list[Segment]:
    """Return a movie's segments, without clips; errors as `cut`'s."""
    return [segment for segment, _, _ in cut(path, FrameSampling(_no_times, _one_pixel), settings)]


def _no_times(duration: float, fps: float) -> list[float]:
    return []


def _one_pixel(image: Image) -> Image:
    return image[:1, :1]
