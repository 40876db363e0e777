"""Makes segments of frames as they come: collects cuts, merges segments that are too short, splits those too long.

Segments come in order, don't overlap, cover [0, end), and none is shorter than `min_length` or longer than `max_length`
(a movie shorter than `min_length` is one segment). They depend on the frames alone. The `Segmenter` holds about
2·`max_length` seconds of tiny thumbnails, however long the movie is.

The change at a border is measured on thumbnails of 8 × 8 pixels, averaged over at most `WINDOW` seconds on each side,
relative to their contrast: motion within a shot averages out, and dark movies count like bright ones.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from itertools import pairwise
from math import inf
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode, Timecode

from chunkv2l.defaults import MAX_LENGTH, MIN_LENGTH
from chunkv2l.video.detectors import Detector, Segment, check_lengths

WINDOW = 1.0
"""Seconds on each side of a border that are compared."""
ALIKE = 0.3
"""Change relative to contrast below which both sides of an abrupt cut count as one shot, and the cut as a flash or a
jerk (docs/measurements.md#confirmed-cuts)."""
ALIKE_GRADUAL = 0.6
"""The same for a cut that isn't abrupt: what looks like a dissolve may be a moving camera or a change of light."""
ABRUPT = 0.25
"""Change from one frame to the next, relative to contrast, from which a cut is abrupt."""
_LEAST_CONTRAST = 8.0  # grey levels: below it, differences are noise
_MICRO = Fraction(1, 1_000_000)
_NEAR = 1e-6  # seconds within which two times are the same
_GRID = 8


class Segmenter:
    """Turns frames into segments. Call `push` with every frame, then `finish`; both return segments that became final.

    Args:
        fps: frames a second that will be pushed, on average.
        min_length, max_length: seconds.
        start: where the first segment starts, seconds; no frame comes before it.
    """

    def __init__(
        self,
        detector: Detector,
        fps: float,
        min_length: float = MIN_LENGTH,
        max_length: float = MAX_LENGTH,
        start: float = 0.0,
    ) -> None:
        check_lengths(min_length, max_length)
        self._detector = detector
        self._rate = Fraction(fps).limit_denominator(10_000)
        self._min, self._max = min_length, max_length
        self._margin = max(min_length, max_length / 8)  # a split leaves no sliver
        self._start = start
        self._cuts: list[float] = []  # reported cuts after _start, ascending
        self._times: list[float] = []  # of the frames since _start and one before
        self._sums = [np.zeros(_GRID * _GRID * 3)]  # running sums of their thumbnails, one longer than _times

    @property
    def start(self) -> float:
        """Start of the first segment that isn't final, seconds; no frame before it is needed any more."""
        return self._start

    def __len__(self) -> int:
        """Return the number of thumbnails that are held."""
        return len(self._times)

    def push(self, time: float, image: NDArray[np.uint8]) -> list[Segment]:
        """Take one frame: its time in seconds, ascending, and a small uint8 BGR image [h, w, 3]."""
        self._times.append(time)
        thumbnail = cv2.resize(image, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
        self._sums.append(self._sums[-1] + thumbnail.reshape(-1))
        self._add_cuts(self._detector.algorithm.process_frame(self._timecode(time), image))
        late = 1 + self._detector.lag_frames
        known = min(self._times[-late] if len(self._times) >= late else 0.0, time - self._detector.lag_seconds)
        return self._advance(known)

    def finish(self, end: float) -> list[Segment]:
        """Close the last segments: the movie ends at `end` seconds. There is at least one segment in all."""
        if self._times:
            self._add_cuts(self._detector.algorithm.post_process(self._timecode(self._times[-1])))
        del self._cuts[bisect_left(self._cuts, end - _NEAR) :]
        segments = self._advance(inf, end)
        return segments + self._close(end)

    def _timecode(self, time: float) -> FrameTimecode:
        return FrameTimecode(Timecode(round(time / _MICRO), _MICRO), fps=self._rate)

    def _add_cuts(self, cuts: list[Any]) -> None:
        """Keep reported cuts, except those before the first open segment's start, which come too late."""
        for cut in cuts:
            index = bisect_left(self._cuts, cut.seconds)
            if cut.seconds > self._start + _NEAR and self._cuts[index : index + 1] != [cut.seconds]:
                self._cuts.insert(index, cut.seconds)

    def _advance(self, known: float, end: float = inf) -> list[Segment]:
        """Close the segments that can't change any more, given that all cuts up to `known` seconds are reported."""
        segments: list[Segment] = []
        while True:
            cuts = self._cuts[: min(3, bisect_left(self._cuts, known))]  # later ones don't matter yet
            if not cuts:
                if known == inf or known - self._start < 2 * self._max:
                    return segments
                segments += self._close(self._best_split(self._start, known))
                continue
            cut, following = cuts[0], cuts[1] if len(cuts) > 1 else end
            if known - cut < max(self._min, WINDOW):
                return segments
            if cut - self._start < self._min or self._is_alike(self._start, cut, following):
                self._cuts.remove(cut)
            elif following - cut >= self._min:
                segments += self._close(cut)
            elif len(cuts) == 1:  # the movie ends too soon after it
                self._cuts.remove(cut)
            elif known - following < WINDOW:
                return segments
            else:  # too short to stand alone: it joins its more similar neighbour
                after = cuts[2] if len(cuts) > 2 else end
                before_it, after_it = self._change(self._start, cut, following), self._change(cut, following, after)
                self._cuts.remove(cut if before_it <= after_it else following)

    def _is_alike(self, lo: float, border: float, hi: float) -> bool:
        if not self._detector.confirm:
            return False
        return self._change(lo, border, hi) < (ALIKE if self._is_abrupt(border) else ALIKE_GRADUAL)

    def _is_abrupt(self, border: float) -> bool:
        """Return whether the frame at a border differs from the one before it."""
        index = bisect_left(self._times, border - _NEAR)
        if not 0 < index < len(self._times):
            return False
        before, after = (self._sums[i + 1] - self._sums[i] for i in (index - 1, index))
        return _contrasted(before, after) >= ABRUPT

    def _close(self, end: float) -> list[Segment]:
        """Return [start, end), split where it is too long; the next segment starts at `end`."""
        borders = [self._start, *self._splits(self._start, end), end]
        self._start = end
        del self._cuts[: bisect_left(self._cuts, end + _NEAR)]
        past = max(0, bisect_left(self._times, end + _NEAR) - 1)
        del self._times[:past], self._sums[:past]
        return [Segment(a, b) for a, b in pairwise(borders)]

    def _splits(self, start: float, end: float) -> list[float]:
        """Return borders between `start` and `end` that make all parts short enough."""
        if end - start <= self._max + _NEAR:
            return []
        border = self._best_split(start, end)
        return [*self._splits(start, border), border, *self._splits(border, end)]

    def _best_split(self, start: float, end: float) -> float:
        """Return the time of the frame, not too near the ends, whose two sides differ most; the middle without any."""
        middle = (start + end) / 2
        times = self._times[
            bisect_left(self._times, start + self._margin) : bisect_left(self._times, end - self._margin)
        ]
        changes = [round(self._change(start, t, end), 6) for t in times]
        ranked = zip(changes, [-abs(t - middle) for t in times], times, strict=True)
        return max(ranked, default=(0.0, 0.0, middle))[2]

    def _change(self, lo: float, border: float, hi: float) -> float:
        """Return the change at a border: mean absolute difference of its sides over their contrast, 0 … 2."""
        before = self._mean(max(lo, border - WINDOW), border)
        after = self._mean(border, min(hi, border + WINDOW))
        return _contrasted(before, after)

    def _mean(self, start: float, end: float) -> NDArray[np.float64]:
        """Return the mean thumbnail of the frames in [start, end); of the one on screen at `start` if there is none."""
        first, last = bisect_left(self._times, start - _NEAR), bisect_left(self._times, end - _NEAR)
        if last <= first:
            first, last = max(0, first - 1), max(1, first)
        mean: NDArray[np.float64] = (self._sums[last] - self._sums[first]) / (last - first)
        return mean


def _contrasted(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the mean absolute difference of two thumbnails over their contrast, 0 … 2."""
    contrast = np.concatenate([before, after]).reshape(-1, 3).std(axis=0).mean()
    return float(np.abs(before - after).mean() / max(contrast, _LEAST_CONTRAST))
