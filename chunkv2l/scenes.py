"""Segments of a movie, and the scene detectors that propose where one ends: names, defaults, construction.

The algorithms are PySceneDetect's; this module names them, holds the one table of their settings (`DETECTORS`), and turns
what a user typed ("adaptive", "fixed:8") into a detector. Turning cuts into segments is `segmenter.py`'s work, feeding
frames is `cutting.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from scenedetect.common import FrameTimecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)

from chunkv2l.errors import InputError

MIN_LENGTH = 1.0
"""Shortest segment in seconds, unless asked otherwise."""
MAX_LENGTH = 16.0
"""Longest segment in seconds, unless asked otherwise."""
DEFAULT_DETECTOR = "content"
"""The detector that `build` uses unless asked otherwise: the one with the best ceiling (DESIGN.md, fact 9)."""


@dataclass(frozen=True)
class Segment:
    """A stretch [start, end) of the movie, in seconds on the movie's own timeline (see `frames.MovieInfo.origin`)."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.start


class FixedDetector(SceneDetector):  # type: ignore[misc]
    """A ruler in a detector's clothes: a cut every `seconds`, wherever the frames are; ignores what they show."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._next = 1

    def process_frame(self, timecode: FrameTimecode, frame_img: Any) -> list[FrameTimecode]:
        """The multiples of `seconds` that lie between the last frame and this one (this one included)."""
        cuts = []
        while self._next * self.seconds <= timecode.seconds + 1e-6:
            cuts.append(FrameTimecode(self._next * self.seconds, fps=timecode))
            self._next += 1
        return cuts


@dataclass(frozen=True)
class DetectorKind:
    """A detector that can be asked for by name.

    `lag_frames` and `lag_seconds` bound how long after a frame was shown a cut at it may still be reported.
    """

    make: Callable[..., SceneDetector]
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    lag_frames: int = 0
    lag_seconds: float = 0.0
    about: str = ""


DETECTORS: Mapping[str, DetectorKind] = MappingProxyType(
    {
        "adaptive": DetectorKind(
            AdaptiveDetector,
            {"adaptive_threshold": 3.5, "window_width": 3, "min_scene_len": 0.6},
            lag_frames=3,
            about="colour change that stands out from its neighbourhood; calm under camera motion",
        ),
        "content": DetectorKind(
            ContentDetector,
            {"threshold": 27.0, "min_scene_len": 0.6},
            lag_frames=1,
            lag_seconds=0.6,
            about="colour change between neighbouring frames",
        ),
        "hash": DetectorKind(
            HashDetector,
            {"threshold": 0.35, "size": 8, "lowpass": 2, "min_scene_len": 0.6},
            about="change of a perceptual hash",
        ),
        "histogram": DetectorKind(
            HistogramDetector,
            {"threshold": 0.2, "bins": 128, "min_scene_len": 0.6},
            about="change of the brightness histogram; good with dissolves",
        ),
        "threshold": DetectorKind(
            ThresholdDetector,
            {"threshold": 12, "fade_bias": 0.0, "min_scene_len": 0.6},
            lag_seconds=MAX_LENGTH,
            about="fades to and from black only",
        ),
    }
)
"""Every detector's settings, in one place. Lengths are seconds."""


@dataclass(frozen=True)
class Detector:
    """A fresh detector and how late it may report."""

    name: str
    algorithm: SceneDetector
    lag_frames: int
    lag_seconds: float


def check_lengths(min_length: float, max_length: float) -> None:
    """Raise InputError unless segments of these lengths (seconds) can always be made: 0 < min, 2·min ≤ max."""
    if not (math.isfinite(min_length) and min_length > 0):
        raise InputError(f"--min-length must be a positive number of seconds, not {min_length:g}.")
    if not (math.isfinite(max_length) and max_length >= 2 * min_length):
        raise InputError(
            f"--max-length must be at least twice --min-length ({2 * min_length:g} s), not {max_length:g}: "
            "otherwise some stretches could not be cut."
        )


def check_detector(name: str, min_length: float = MIN_LENGTH, max_length: float = MAX_LENGTH) -> None:
    """Raise InputError, naming what exists, unless `make_detector` would accept this name."""
    make_detector(name, min_length, max_length)


def make_detector(
    detector: str | SceneDetector, min_length: float = MIN_LENGTH, max_length: float = MAX_LENGTH
) -> Detector:
    """A fresh detector from its name ("adaptive", "fixed:8"), or a PySceneDetect detector of the caller's own.

    Raises:
        InputError: no such detector, or a fixed length that `min_length`/`max_length` (seconds) forbid.
    """
    check_lengths(min_length, max_length)
    if isinstance(detector, SceneDetector):
        return Detector(type(detector).__name__, detector, detector.event_buffer_length, 0.0)
    name, colon, argument = detector.strip().lower().partition(":")
    if name == "fixed" and colon:
        return Detector(detector, FixedDetector(_fixed_seconds(argument, min_length, max_length)), 0, 0.0)
    if name not in DETECTORS or colon:
        raise InputError(
            f"There is no scene detector {detector!r}; choose one of {', '.join(DETECTORS)}, or fixed:SECONDS."
        )
    kind = DETECTORS[name]
    return Detector(name, kind.make(**kind.settings), kind.lag_frames, kind.lag_seconds)


def _fixed_seconds(text: str, min_length: float, max_length: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"fixed:{text} needs a length in seconds, as in fixed:8.")
    if not min_length <= seconds <= max_length:
        raise InputError(
            f"fixed:{text} lies outside the allowed segment lengths of {min_length:g} to {max_length:g} s; "
            "change it, or --min-length and --max-length."
        )
    return seconds
