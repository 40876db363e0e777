"""From frames, one after the other, to segments that are final: cuts collected, short ones merged, long ones split.

The contract of `Segmenter`: segments don't overlap, cover [0, end), come in order, and are as short as `min_length` and as
long as `max_length` allow (a movie shorter than `min_length` is one segment). The outcome depends on the frames alone, and
no more than about 2·`max_length` seconds are ever held.

How alike two neighbouring stretches are is measured on thumbnails of 8 × 8 pixels, averaged over at most `WINDOW` seconds on
each side: motion within a shot averages out, another place or other light does not.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode, Timecode

from chunkv2l.scenes import MAX_LENGTH, MIN_LENGTH, Detector, Segment, check_lengths

WINDOW = 1.0
"""Seconds on each side of a border that are compared."""
_MICRO = Fraction(1, 1_000_000)
_GRID = 8


class Segmenter:
    """Feed `push` with every analysed frame, then call `finish`; both return the segments that became final."""

    def __init__(
        self, detector: Detector, fps: float, min_length: float = MIN_LENGTH, max_length: float = MAX_LENGTH
    ) -> None:
        check_lengths(min_length, max_length)
        self._detector = detector
        self._rate = Fraction(fps).limit_denominator(10_000)
        self._min, self._max = min_length, max_length
        self._margin = max(min_length, max_length / 8)  # splits leave no sliver
        self._start = 0.0  # of the first segment that is not final
        self._cuts: list[float] = []  # reported, after _start, ascending
        self._times: list[float] = []
        self._sums: list[NDArray[np.float64]] = [np.zeros(_GRID * _GRID * 3)]  # running sums of thumbnails, one longer

    @property
    def start(self) -> float:
        """Start of the first segment that is not final yet, seconds: nothing before it is needed any more."""
        return self._start

    def push(self, time: float, image: NDArray[np.uint8]) -> list[Segment]:
        """One frame: its time in seconds (ascending) and a small uint8 BGR [h, w, 3]."""
        timecode = FrameTimecode(Timecode(round(time / _MICRO), _MICRO), fps=self._rate)
        found = self._detector.algorithm.process_frame(timecode, image)
        self._times.append(time)
        thumbnail = cv2.resize(image, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
        self._sums.append(self._sums[-1] + thumbnail.reshape(-1))
        self._add(found)
        lag = max(self._detector.lag_frames, 1)
        settled = self._times[-1 - lag] if len(self._times) > lag else 0.0
        return self._advance(time, min(settled, time - self._detector.lag_seconds))

    def finish(self, end: float) -> list[Segment]:
        """No more frames: the movie ends at `end` seconds. Returns what is left (at least one segment in all)."""
        if self._times:
            last = FrameTimecode(Timecode(round(self._times[-1] / _MICRO), _MICRO), fps=self._rate)
            self._add(self._detector.algorithm.post_process(last))
        self._cuts = [c for c in self._cuts if c < end - 1e-6]
        segments = self._advance(np.inf, np.inf, end)
        if self._cuts and end - self._cuts[-1] < self._min:
            self._cuts.pop()
        for cut in self._cuts:
            segments += self._close(cut)
        self._cuts = []
        return segments + self._close(end)

    def _add(self, found: list[Any]) -> None:
        """Take in reported cuts; one that comes after its place became final, or out of order, is too late."""
        for cut in found:
            last = self._cuts[-1] if self._cuts else self._start
            if cut.seconds > last + 1e-6:
                self._cuts.append(cut.seconds)

    def _advance(self, now: float, settled: float, end: float = np.inf) -> list[Segment]:
        """Close every segment whose both ends can't change any more. Cuts up to `settled` are all known."""
        segments: list[Segment] = []
        while True:
            if not self._cuts:
                if settled == np.inf or settled - self._start < 2 * self._max:
                    return segments
                border = self._least_alike(self._start, settled)
                segments += self._close(border)
                continue
            cut = self._cuts[0]
            if cut - self._start < self._min:  # nothing before it to merge with
                self._cuts.pop(0)
                continue
            after = self._cuts[1] if len(self._cuts) > 1 else min(end, np.inf)
            if after - cut >= self._min and settled - cut >= self._min:
                segments += self._close(cut)
                continue
            if len(self._cuts) == 1:  # the last stretch: finish() decides; or still growing
                return segments
            if after - cut >= self._min or now - after < WINDOW:
                return segments
            following = self._cuts[2] if len(self._cuts) > 2 else end
            weaker = self._change(self._start, cut, after) <= self._change(cut, after, following)
            self._cuts.pop(0 if weaker else 1)

    def _close(self, end: float) -> list[Segment]:
        """The stretch from the current start to `end`, split where it is too long."""
        borders = [self._start, *self._split(self._start, end), end]
        self._start = end
        keep = max(0, bisect_left(self._times, end - WINDOW) - 1)
        del self._times[:keep], self._sums[:keep]
        return [Segment(a, b) for a, b in zip(borders, borders[1:], strict=False)]

    def _split(self, start: float, end: float) -> list[float]:
        if end - start <= self._max + 1e-6:
            return []
        border = self._least_alike(start, end)
        return [*self._split(start, border), border, *self._split(border, end)]

    def _least_alike(self, start: float, end: float) -> float:
        """The frame time in [start + margin, end − margin] whose two sides differ most; the middle if none is there."""
        first, last = bisect_left(self._times, start + self._margin), bisect_left(self._times, end - self._margin)
        times = self._times[first:last]
        if not times:
            return (start + end) / 2
        middle = (start + end) / 2
        changes = [round(self._change(start, t, end), 6) for t in times]
        return max(zip(changes, times, strict=True), key=lambda pair: (pair[0], -abs(pair[1] - middle)))[1]

    def _change(self, lo: float, border: float, hi: float) -> float:
        """Mean absolute difference (grey levels) of what is seen within WINDOW before and after a border."""
        before = self._mean(max(lo, border - WINDOW), border)
        after = self._mean(border, min(hi, border + WINDOW))
        return float(np.abs(before - after).mean())

    def _mean(self, start: float, end: float) -> NDArray[np.float64]:
        """Mean thumbnail of the frames shown in [start, end); the one on screen at `start` if none begins there."""
        first, last = bisect_left(self._times, start - 1e-6), bisect_left(self._times, end - 1e-6)
        if last <= first:
            first, last = max(0, first - 1), max(1, first)
        mean: NDArray[np.float64] = (self._sums[last] - self._sums[first]) / (last - first)
        return mean
