"""Segments of a movie, and the scene detectors that propose where one ends: names, defaults, construction.

The algorithms are PySceneDetect's. This module names them, holds their settings (`DETECTORS`), and turns what a user
typed ("adaptive", "fixed:8", "FILE.py:CLASS") into a detector. `segmenter` makes segments of cuts, `segmentation` feeds
frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

from chunkv2l.defaults import DETECTOR, MAX_LENGTH, MIN_LENGTH
from chunkv2l.errors import InputError
from chunkv2l.files import load_from_file


@dataclass(frozen=True)
class Segment:
    """An interval [start, end) of a movie, seconds on the movie's timeline (`probe`)."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.start


class FixedDetector(SceneDetector):  # type: ignore[misc]
    """Proposes a cut every `seconds`, whatever the frames show."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._next = 1

    def process_frame(self, timecode: FrameTimecode, frame_img: Any) -> list[FrameTimecode]:
        """Return the multiples of `seconds` after the last frame, up to and including this one."""
        cuts = []
        while self._next * self.seconds <= timecode.seconds + 1e-6:
            cuts.append(FrameTimecode(self._next * self.seconds, fps=timecode))
            self._next += 1
        return cuts


class MixedDetector(SceneDetector):  # type: ignore[misc]
    """Finds hard cuts and dissolves: PySceneDetect's content detector on every frame, its histogram detector on few.

    In a dissolve neighbouring frames hardly differ, but frames a quarter of a second apart do. Those are compared by
    histogram and not by content, because a moving camera changes histograms less.
    """

    def __init__(
        self, content_threshold: float, histogram_threshold: float, histogram_rate: float, min_scene_len: float
    ) -> None:
        super().__init__()
        self._content = ContentDetector(threshold=content_threshold, min_scene_len=min_scene_len)
        self._histogram = HistogramDetector(threshold=histogram_threshold, min_scene_len=min_scene_len)
        self._rate = histogram_rate  # frames a second, at most
        self._cell = -1

    def process_frame(self, timecode: FrameTimecode, frame_img: Any) -> list[FrameTimecode]:
        """Return the cuts of both detectors; the content detector reports up to `min_scene_len` seconds late."""
        cuts: list[FrameTimecode] = self._content.process_frame(timecode, frame_img)
        cell = math.floor(timecode.seconds * self._rate + 1e-6)
        if cell > self._cell:
            self._cell = cell
            cuts = cuts + self._histogram.process_frame(timecode, frame_img)
        return cuts


@dataclass(frozen=True)
class DetectorKind:
    """Describes a detector that can be asked for by name.

    Attributes:
        make: makes it from its settings.
        settings: lengths in seconds, rates in frames a second.
        about: one line for lists of detectors.
        lag_frames, lag_seconds: how long after a frame a cut at that frame may still be reported.
        confirm: drop a cut between intervals that look alike (`segmenter`). Right for detectors that compare
            neighbouring frames and so report flashes and jerks; wrong for cuts that lie in the dark.
    """

    make: Callable[..., SceneDetector]
    settings: Mapping[str, float]
    about: str
    lag_frames: int = 0
    lag_seconds: float = 0.0
    confirm: bool = True


DETECTORS: Mapping[str, DetectorKind] = MappingProxyType(
    {
        "mixed": DetectorKind(
            MixedDetector,
            {"content_threshold": 31.0, "histogram_threshold": 0.15, "histogram_rate": 4.0, "min_scene_len": 0.6},
            "hard cuts and dissolves: content on every frame, histogram on four a second",
            lag_frames=1,
            lag_seconds=0.6,
        ),
        "adaptive": DetectorKind(
            AdaptiveDetector,
            {"adaptive_threshold": 3.5, "window_width": 3, "min_scene_len": 0.6},
            "colour change that stands out from its neighbourhood; calm under camera motion",
            lag_frames=3,
        ),
        "content": DetectorKind(
            ContentDetector,
            {"threshold": 31.0, "min_scene_len": 0.6},
            "colour change between neighbouring frames",
            lag_frames=1,
            lag_seconds=0.6,
        ),
        "hash": DetectorKind(
            HashDetector,
            {"threshold": 0.35, "size": 8, "lowpass": 2, "min_scene_len": 0.6},
            "change of a perceptual hash",
        ),
        "histogram": DetectorKind(
            HistogramDetector,
            {"threshold": 0.2, "bins": 128, "min_scene_len": 0.6},
            "change of the brightness histogram",
        ),
        "threshold": DetectorKind(
            ThresholdDetector,
            {"threshold": 12, "fade_bias": 0.0, "min_scene_len": 0.6},
            "fades through black only",
            lag_seconds=MAX_LENGTH,
            confirm=False,
        ),
    }
)
"""Every detector and its settings. `mixed` is the default: it has the best ceiling over hard cuts and dissolves
(docs/measurements.md#scene-detectors)."""


@dataclass(frozen=True)
class Detector:
    """A fresh detector with what `Segmenter` must know about it; attributes as in `DetectorKind`."""

    name: str
    algorithm: SceneDetector
    lag_frames: int
    lag_seconds: float
    confirm: bool


def check_lengths(min_length: float, max_length: float) -> None:
    """Raise InputError unless segments of these lengths (seconds) can always be made: 0 < min, 2·min ≤ max."""
    if not (math.isfinite(min_length) and min_length > 0):
        raise InputError(f"The shortest segment (--min-length) must be some seconds long, not {min_length:g}.")
    if not (math.isfinite(max_length) and max_length >= 2 * min_length):
        raise InputError(
            f"The longest segment (--max-length) must be at least twice the shortest ({2 * min_length:g} s), "
            f"not {max_length:g}: otherwise some intervals can't be cut."
        )


def make_detector(
    detector: str | SceneDetector = DETECTOR, min_length: float = MIN_LENGTH, max_length: float = MAX_LENGTH
) -> Detector:
    """Make a fresh detector from its name ("adaptive", "fixed:8"), or wrap a PySceneDetect detector.

    Raises:
        InputError: no such detector, or a fixed length that `min_length` and `max_length` (seconds) forbid.
    """
    check_lengths(min_length, max_length)
    if isinstance(detector, SceneDetector):
        return Detector(type(detector).__name__, detector, detector.event_buffer_length, 0.0, confirm=False)
    name, colon, argument = detector.strip().lower().partition(":")
    if name == "fixed" and colon:
        seconds = _fixed_seconds(argument, min_length, max_length)
        return Detector(f"fixed:{seconds:g}", FixedDetector(seconds), 0, 0.0, confirm=False)
    if name not in DETECTORS or colon:
        known = ", ".join(DETECTORS)
        raise InputError(f"There is no scene detector {detector!r}; choose one of {known}, or fixed:SECONDS.")
    entry = DETECTORS[name]
    return Detector(name, entry.make(**entry.settings), entry.lag_frames, entry.lag_seconds, entry.confirm)


def _fixed_seconds(text: str, min_length: float, max_length: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"fixed:{text} needs a length in seconds, as in fixed:8.")
    if not min_length <= seconds <= max_length:
        raise InputError(
            f"fixed:{text} lies outside the lengths that a segment may have, {min_length:g} to {max_length:g} s; "
            "change it, or --min-length and --max-length."
        )
    return seconds


def load_detector(spec: str) -> str | SceneDetector:
    """Load the detector that "FILE.py:CLASS" names; return any other name unchanged, for `make_detector`.

    Raises:
        InputError: no such file or class, one that isn't a SceneDetector, or one that can't be made without arguments.
    """
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py"):
        return spec
    detector_class = load_from_file(spec, "detector", "FILE.py:CLASS")
    if not (isinstance(detector_class, type) and issubclass(detector_class, SceneDetector)):
        raise InputError(f'"{name}" in {file} is no class that derives from PySceneDetect\'s SceneDetector.')
    try:
        return detector_class()
    except Exception as error:
        raise InputError(
            f"The detector {name} can't be made without arguments ({type(error).__name__}: {error}): "
            "give its parameters defaults."
        ) from error
