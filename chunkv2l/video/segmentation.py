"""One pass over a movie: its segments, and each one's clip taken on the way.

Three threads share the work, each a few frames ahead of the next: one decodes (`readers`), one makes frames small for
detection and keeps pictures for sampling (`sampling`), and the caller's detects (`segmenter`) and puts clips together.
Whoever runs `cut` in yet another thread, as `build` does, has the model work beside all that. What comes out depends on
the file alone. Memory depends on the longest segment, not on the movie.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from math import inf

from scenedetect.detector import SceneDetector

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.background import Prefetch
from chunkv2l.video.clip import Clip
from chunkv2l.video.detectors import DEFAULT_DETECTOR, MAX_LENGTH, MIN_LENGTH, Segment, make_detector
from chunkv2l.video.frame_sampling import SampleTimes, Shrink
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import STALL_TIMEOUT, check_reader, read_frames
from chunkv2l.video.readers.base import Image
from chunkv2l.video.sampling import DETECT_RATE, KEPT_SIDE, ROOM, Sampler, look
from chunkv2l.video.segmenter import Segmenter

logger = logging.getLogger("chunkv2l")

_AHEAD = 8  # frames made small that may wait
_MISSING = 2.0  # seconds (and 2 %) by which the pictures may end before the header says


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
    start: float = 0.0,
    stop: float = inf,
    room: int = ROOM,
    gpu: int | None = None,
) -> Generator[tuple[Segment, Clip, Image], None, bool]:
    """A movie's segments in order, each with its clip and a thumbnail (uint8 RGB, longer side 256, from its middle).

    The same file gives the same segments and frames every time. Closing the generator stops the threads.

    Args:
        sample_times: (duration, fps) -> seconds from a segment's start, ascending, as `FrameSampling.times`.
        shrink: a picture, uint8 RGB [H, W, 3] -> what the model wants of it, as `FrameSampling.shrink`.
        detector: a name as `make_detector` takes it, or a fresh PySceneDetect detector.
        reader: "auto", "pyav" or "decord".
        min_length, max_length: of a segment, seconds.
        exact: keep every frame whole, so that clips are those of `read_clip`, to the pixel; takes more memory.
        stall_timeout: seconds without a picture after which a reader is given up.
        start, stop: the stretch of the movie that is read, seconds. The first segment starts at `start`, whatever is
            there; those that aren't final at `stop` are left out (`side_by_side` has use for that).
        room: bytes that whole frames may take, where they are kept.
        gpu: the number of one that is to decode, if it can.

    Returns:
        Whether the movie has ended.

    Raises:
        InputError: at the first `next`: not a movie, no such detector or reader.
        ChunkV2LError: the movie can't be read on.
    """
    check_reader(reader)
    found = make_detector(detector, min_length, max_length)
    info = probe(path)
    segmenter = Segmenter(found, min(info.fps, DETECT_RATE), min_length, max_length, start)
    end = 0.0
    side = None if exact else KEPT_SIDE
    frames = read_frames(info, reader, start=start, side=side, stall_timeout=stall_timeout, gpu=gpu)
    with Sampler(sample_times, info.fps, room) as sampler:
        with Prefetch(look(frames, info, shrink, exact), _AHEAD) as looks:
            for item in looks:
                if item.time >= stop:
                    return False
                end = item.end
                if item.kept is not None:
                    sampler.keep(item.kept)
                if item.small is not None:
                    for segment in segmenter.push(item.time, item.small):
                        yield segment, *sampler.take(segment)
        if not end:
            raise ChunkV2LError(f"No picture of {info.path} could be decoded.")
        if end < info.duration * 0.98 - _MISSING:
            promised = f"although the file promises {info.duration:.2f} s"
            logger.warning("The pictures end at %.2f s, %s: the rest is missing.", end, promised)
        for segment in segmenter.finish(end):
            yield segment, *sampler.take(segment)
    return True


def detect(
    path: str | os.PathLike[str],
    detector: str | SceneDetector = DEFAULT_DETECTOR,
    min_length: float = MIN_LENGTH,
    max_length: float = MAX_LENGTH,
    reader: str = "auto",
) -> list[Segment]:
    """A movie's segments, without clips; arguments and errors as `cut`'s."""
    return [segment for segment, _, _ in cut(path, lambda *_: [], _nothing, detector, reader, min_length, max_length)]


def _nothing(image: Image) -> Image:
    return image[:1, :1]
