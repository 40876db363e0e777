"""Keeping account of pictures that can't be decoded: a damaged stretch becomes one warning that names its times."""

from __future__ import annotations

import logging
import math

logger = logging.getLogger("chunkv2l")

_QUIET = 1.0  # seconds of good pictures that end a damaged stretch
_MOST = 20  # warnings about one movie


class Damage:
    """Told about every picture in order; logs a warning after each damaged stretch.

    Args:
        start: where reading starts, seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._last = start  # time of the last good picture
        self._hole: tuple[float, float] | None = None  # the widest step between good pictures since the damage began
        self._quiet_since = start
        self._count = 0
        self._warnings = 0

    def bad(self) -> None:
        """A picture could not be decoded, or only in part.

        A decoder with several threads says so late and out of order, so the place is where good pictures are missing.
        """
        if not self._count:
            self._hole = (self._last, self._last)
        self._count += 1
        self._quiet_since = math.inf

    def good(self, time: float) -> None:
        """A picture was decoded; it is shown at `time` seconds."""
        before, self._last = self._last, time
        if self._hole is None:
            return
        if time - before > self._hole[1] - self._hole[0]:
            self._hole = (before, time)
        self._quiet_since = min(self._quiet_since, time)
        if time - self._quiet_since >= _QUIET:
            self._tell(f"Between {self._hole[0]:.2f} and {self._hole[1]:.2f} s")

    def close(self) -> None:
        """The movie is over."""
        if self._hole is not None:
            begin, end = self._hole
            wide = end > begin and self._quiet_since < math.inf
            self._tell(f"Between {begin:.2f} and {end:.2f} s" if wide else f"After {begin:.2f} s")

    def _tell(self, where: str) -> None:
        self._warnings += 1
        if self._warnings <= _MOST:
            pictures = "1 picture" if self._count == 1 else f"{self._count} pictures"
            more = " (Further warnings of this kind are left out.)" if self._warnings == _MOST else ""
            logger.warning("%s %s can't be decoded; the rest is read.%s", where, pictures, more)
        self._hole, self._count = None, 0
