"""Settings that decide a movie's segments: one frozen value from the caller to the process that cuts."""

from __future__ import annotations

from dataclasses import dataclass, field

from scenedetect.detector import SceneDetector

from chunkv2l.defaults import DETECTOR, MAX_LENGTH, MIN_LENGTH, READER
from chunkv2l.video.detectors import make_detector
from chunkv2l.video.readers import check_reader


@dataclass(frozen=True)
class SegmentationSettings:
    """Choices that decide a movie's segments.

    Attributes:
        detector: proposes cuts: a name as `--detector` takes it, or a PySceneDetect detector of the caller's own, which
            is copied before it is used.
        min_length, max_length: seconds that a segment has at least and at most.
        reader: decodes the movie: "auto", "pyav" or "decord".
        stream: FFmpeg's number of the video stream to read; None for the one that players show.

    Raises:
        InputError: no such detector or reader, or impossible lengths.
    """

    detector: str | SceneDetector = DETECTOR
    min_length: float = MIN_LENGTH
    max_length: float = MAX_LENGTH
    reader: str = READER
    stream: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_reader(self.reader)
        make_detector(self.detector, self.min_length, self.max_length)
