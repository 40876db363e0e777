"""From frames, one after the other, to segments that are final: cuts collected, short ones merged, long ones split.

The contract of `Segmenter`: segments come in order, don't overlap, cover [0, end), and none is shorter than
`min_length` or longer than `max_length` (a movie shorter than `min_length` is one segment). The outcome depends on the
frames alone. About 2·`max_length` seconds of tiny thumbnails are held, however long the movie is.

How alike two neighbouring stretches are is measured on thumbnails of 8 × 8 pixels, averaged over at most `WINDOW`
seconds on each side of the border, relative to the contrast in them: motion within a shot averages out, and dark movies
count like bright ones.
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

from chunkv2l.video.detectors import MAX_LENGTH, MIN_LENGTH, Detector, Segment, check_lengths

WINDOW = 1.0
"""Seconds on each side of a border that are compared."""
ALIKE = 0.5
"""Change relative to contrast below which two stretches count as one shot and a reported cut as a flash or a jerk."""
_LEAST_CONTRAST = 8.0  # grey levels: below it, differences are noise
_MICRO = Fraction(1, 1_000_000)
_NEAR = 1e-6  # seconds that don't matter
_GRID = 8


class Segmenter:
    """Feed `push` with every frame, then call `finish`; both return the segments that became final.

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
        self._cuts: list[float] = []  # reported, after _start, ascending
        self._times: list[float] = []  # of the frames since _start and one before
        self._sums: list[NDArray[np.float64]] = [
            np.zeros(_GRID * _GRID * 3)
        ]  # of their thumbnails, running; one longer

    @property
    def start(self) -> float:
        """Start of the first segment that is not final, seconds; nothing before it is needed any more."""
        return self._start

    def push(self, time: float, image: NDArray[np.uint8]) -> list[Segment]:
        """One frame: its time in seconds, ascending, and a small uint8 BGR image [h, w, 3]."""
        self._times.append(time)
        thumbnail = cv2.resize(image, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
        self._sums.append(self._sums[-1] + thumbnail.reshape(-1))
        self._take(self._detector.algorithm.process_frame(self._timecode(time), image))
        late = 1 + self._detector.lag_frames
        known = min(self._times[-late] if len(self._times) >= late else 0.0, time - self._detector.lag_seconds)
        return self._advance(known)

    def finish(self, end: float) -> list[Segment]:
        """No more frames: the movie ends at `end` seconds. Returns the rest, at least one segment in all."""
        if self._times:
            self._take(self._detector.algorithm.post_process(self._timecode(self._times[-1])))
        del self._cuts[bisect_left(self._cuts, end - _NEAR) :]
        segments = self._advance(inf, end)
        return segments + self._close(end)

    def _timecode(self, time: float) -> FrameTimecode:
        return FrameTimecode(Timecode(round(time / _MICRO), _MICRO), fps=self._rate)

    def _take(self, found: list[Any]) -> None:
        """Keep reported cuts; one before the first open segment's start comes too late."""
        for cut in found:
            place = bisect_left(self._cuts, cut.seconds)
            if cut.seconds > self._start + _NEAR and self._cuts[place : place + 1] != [cut.seconds]:
                self._cuts.insert(place, cut.seconds)

    def _advance(self, known: float, end: float = inf) -> list[Segment]:
        """Close the segments that can't change any more: all cuts up to `known` seconds have been reported."""
        segments: list[Segment] = []
        while True:
            cuts = self._cuts[: min(3, bisect_left(self._cuts, known))]  # no more are looked at
            if not cuts:
                if known == inf or known - self._start < 2 * self._max:
                    return segments
                segments += self._close(self._least_alike(self._start, known))
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
            else:  # a stretch too short to stand alone: it goes to its more similar neighbour
                after = cuts[2] if len(cuts) > 2 else end
                before_it, after_it = self._change(self._start, cut, following), self._change(cut, following, after)
                self._cuts.remove(cut if before_it <= after_it else following)

    def _is_alike(self, lo: float, border: float, hi: float) -> bool:
        return self._detector.confirm and self._change(lo, border, hi) < ALIKE

    def _close(self, end: float) -> list[Segment]:
        """The stretch from the start to `end`, split where it is too long; what follows starts at `end`."""
        borders = [self._start, *self._splits(self._start, end), end]
        self._start = end
        del self._cuts[: bisect_left(self._cuts, end + _NEAR)]
        past = max(0, bisect_left(self._times, end + _NEAR) - 1)
        del self._times[:past], self._sums[:past]
        return [Segment(a, b) for a, b in pairwise(borders)]

    def _splits(self, start: float, end: float) -> list[float]:
        """Borders inside a stretch that make its parts short enough."""
        if end - start <= self._max + _NEAR:
            return []
        border = self._least_alike(start, end)
        return [*self._splits(start, border), border, *self._splits(border, end)]

    def _least_alike(self, start: float, end: float) -> float:
        """The frame's time, not too near the ends, whose two sides differ most; the middle where no frame comes."""
        middle = (start + end) / 2
        times = self._times[
            bisect_left(self._times, start + self._margin) : bisect_left(self._times, end - self._margin)
        ]
        changes = [round(self._change(start, t, end), 6) for t in times]
        ranked = zip(changes, [-abs(t - middle) for t in times], times, strict=True)
        return max(ranked, default=(0.0, 0.0, middle))[2]

    def _change(self, lo: float, border: float, hi: float) -> float:
        """How much the picture changes at a border: mean absolute difference over the contrast, 0 … 2."""
        before = self._mean(max(lo, border - WINDOW), border)
        after = self._mean(border, min(hi, border + WINDOW))
        contrast = np.concatenate([before, after]).reshape(-1, 3).std(axis=0).mean()
        return float(np.abs(before - after).mean() / max(contrast, _LEAST_CONTRAST))

    def _mean(self, start: float, end: float) -> NDArray[np.float64]:
        """Mean thumbnail of the frames that come in [start, end); of the one on screen at `start` if none does."""
        first, last = bisect_left(self._times, start - _NEAR), bisect_left(self._times, end - _NEAR)
        if last <= first:
            first, last = max(0, first - 1), max(1, first)
        mean: NDArray[np.float64] = (self._sums[last] - self._sums[first]) / (last - first)
        return mean
