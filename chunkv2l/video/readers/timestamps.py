"""A movie's clock, mended where it is torn.

Gaps are time: a recorder of a variable frame rate writes no frame while nothing moves, and the picture before a gap
stays on screen. But a damaged stamp, or recordings that were joined without a thought, would make one picture stay for
years, or time run backwards: what follows such a place is taken to go on one frame later, and a warning names the time.
"""

from __future__ import annotations

import logging

from chunkv2l.video.probe import MovieInfo

logger = logging.getLogger("chunkv2l")

HOLD = 12 * 3600.0
"""Seconds that one picture may stay on screen: a night."""
_BACK = 1.0  # seconds: set back by less, frames are only out of order
_FORTH = 60.0  # seconds: further than this beyond the header's end, no gap reaches
_MOST = 20  # warnings about one movie


class Clock:
    """Told every frame's stamp in order; tells when the frame is shown.

    Args:
        start: where reading is to start, seconds: jumps before it are mended in silence.
    """

    def __init__(self, info: MovieInfo, start: float = 0.0) -> None:
        self._info, self._start = info, start
        self._last, self._shift = -1.0, 0.0
        self._jumps = 0

    def read(self, stamp: float | None) -> float | None:
        """Seconds on the timeline, above those of the frame before; None: out of order, it is not shown.

        Args:
            stamp: seconds on the timeline as the file's clock has them; None where it has no clock.
        """
        step = 1 / self._info.fps
        if stamp is None:
            time = max(self._start, self._info.first) if self._last < 0 else self._last + step
        else:
            if self._is_torn(stamp + self._shift):
                self._warn()
                self._shift = (self._last + step if self._last >= 0 else 0.0) - stamp
            time = stamp + self._shift
        if time <= self._last or time < -1e-3:
            return None
        self._last = max(time, 0.0)
        return self._last

    def _is_torn(self, time: float) -> bool:
        """Whether no movie shows a frame at `time` seconds after the one before it."""
        if self._last < 0:
            return time > self._start + HOLD
        most = min(self._last + HOLD, max(self._last, self._info.duration) + _FORTH)
        return not self._last - _BACK <= time <= most

    def _warn(self) -> None:
        where = max(0.0, self._last)
        if where < self._start - 1e-6:
            return
        self._jumps += 1
        if self._jumps <= _MOST:
            more = " (Further warnings of this kind are left out.)" if self._jumps == _MOST else ""
            logger.warning("The movie's clock jumps at %.2f s; what follows is taken to go on there.%s", where, more)
