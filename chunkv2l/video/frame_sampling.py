"""The rule by which a model samples frames of a segment. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chunkv2l.video.readers.base import Image

SampleTimes = Callable[[float, float], list[float]]
Shrink = Callable[["Image"], "Image"]


@dataclass(frozen=True)
class FrameSampling:
    """A model's rule for taking a clip out of a segment. Can be pickled: other processes read movies by it, too.

    Attributes:
        times: (duration in seconds, the movie's mean frame rate) -> seconds from the segment's start at which frames
            are taken: at least one, ascending.
        shrink: a decoded frame, uint8 RGB [H, W, 3] -> what is kept of it until its clip is complete (uint8 RGB).
        exact: whether the frames must be the very ones shown at those times; if not, neighbours up to 1/16 s away will
            do, which takes less time and memory (`video.segmentation.cut`).
    """

    times: SampleTimes
    shrink: Shrink
    exact: bool = False
