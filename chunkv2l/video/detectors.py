"""Segments of a movie, and the scene detectors that propose where one ends: names, defaults, construction.

The algorithms are PySceneDetect's. This module names them, holds the one table of their settings (`DETECTORS`), and
turns what a user typed ("adaptive", "fixed:8") into a detector. Making segments out of cuts is `segmenter.py`'s work,
feeding frames is `cutting.py`'s.
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

from chunkv2l import defaults
from chunkv2l.errors import InputError

DEFAULT_DETECTOR, MIN_LENGTH, MAX_LENGTH = defaults.DETECTOR, defaults.MIN_LENGTH, defaults.MAX_LENGTH


@dataclass(frozen=True)
class Segment:
    """A stretch [start, end) of a movie, seconds on the movie's timeline (`movies.py`)."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.start


class FixedDetector(SceneDetector):  # type: ignore[misc]
    """A ruler in a detector's clothes: a cut every `seconds`, wherever the frames are and whatever they show."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._next = 1

    def process_frame(self, timecode: FrameTimecode, frame_img: Any) -> list[FrameTimecode]:
        """The multiples of `seconds` that lie between the last frame and this one, this one included."""
        cuts = []
        while self._next * self.seconds <= timecode.seconds + 1e-6:
            cuts.append(FrameTimecode(self._next * self.seconds, fps=timecode))
            self._next += 1
        return cuts


class MixedDetector(SceneDetector):  # type: ignore[misc]
    """Hard cuts and dissolves: PySceneDetect's content detector on every frame, its histogram detector on few.

    In a dissolve neighbouring frames hardly differ, frames a quarter of a second apart do. Histograms and not content
    for the slow look, because a moving camera changes them less.
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
        """What either finds; the content detector reports up to `min_scene_len` seconds late."""
        cuts: list[FrameTimecode] = self._content.process_frame(timecode, frame_img)
        cell = math.floor(timecode.seconds * self._rate + 1e-6)
        if cell > self._cell:
            self._cell = cell
            cuts = cuts + self._histogram.process_frame(timecode, frame_img)
        return cuts


@dataclass(frozen=True)
class DetectorKind:
    """A detector that can be asked for by name.

    Attributes:
        settings: what it is made with; lengths are seconds, rates frames a second.
        lag_frames, lag_seconds: how long after a frame a cut at it may still be reported.
        confirm: whether a cut between stretches that look alike is dropped (`segmenter.py`): right for detectors that
            compare neighbouring frames and so report flashes and jerks; wrong where the cut lies in the dark.
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
"""Every detector and its settings, in one place. `mixed` is the default: it has the best ceiling over hard cuts and
dissolves (docs/measurements.md#scene-detectors)."""


@dataclass(frozen=True)
class Detector:
    """A fresh detector and what `Segmenter` must know about it; see `DetectorKind`."""

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
            f"not {max_length:g}: otherwise some stretches can't be cut."
        )


def make_detector(
    detector: str | SceneDetector = DEFAULT_DETECTOR, min_length: float = MIN_LENGTH, max_length: float = MAX_LENGTH
) -> Detector:
    """A fresh detector from its name ("adaptive", "fixed:8"), or a PySceneDetect detector of the caller's own.

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
    kind = DETECTORS[name]
    return Detector(name, kind.make(**kind.settings), kind.lag_frames, kind.lag_seconds, kind.confirm)


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
