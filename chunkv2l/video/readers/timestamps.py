"""Mends torn clocks and notes pictures that can't be decoded."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import Any

from chunkv2l.sanitize import plural
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo

MAX_HOLD = 12 * 3600.0
"""Seconds that one picture may stay on screen: a night."""
_OUT_OF_ORDER = 1.0  # seconds: a stamp that goes back by less belongs to a frame out of order
_BEYOND_END = 60.0  # seconds beyond the header's end that a gap may reach
_BEHIND = 3  # frames in a row, ascending, that lie behind the one before them: the clock went back
_LONG_GAP = 90.0  # seconds without a picture that are worth a note
_QUIET = 1.0  # seconds of good pictures that end a damaged interval


def is_torn(time: float, last: float, duration: float) -> bool:
    """Return whether no sound movie shows at `time` what follows the picture shown at `last`, seconds.

    Args:
        duration: the movie's length as its header has it, seconds.
    """
    latest = min(last + MAX_HOLD, max(last, duration) + _BEYOND_END)
    return not last - _OUT_OF_ORDER <= time <= latest


class CodedOrder:
    """Times of frames in files that say only when a picture is decoded, as AVI does of H.264.

    FFmpeg takes the times to decode for the times to show, in which B pictures would run backwards. Frames leave the
    decoder in the order in which they are shown, so each takes the earliest time that is left.
    """

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()  # ticks at which packets are decoded whose frames are to come
        self._delay: int | None = None  # packets that the decoder takes before it gives the first frame

    def push(self, packet: Any) -> None:
        """Take note of a packet that goes into the decoder."""
        if packet.dts is not None:
            self._waiting.append(packet.dts)

    def pop(self, frame: Any) -> int | None:
        """Return when the next frame that leaves the decoder is shown, ticks; None where the file doesn't say."""
        if frame.dts is not None:
            ahead = bisect_right(self._waiting, frame.dts)
            self._delay = ahead if self._delay is None else self._delay
            for _ in range(min(ahead - self._delay, len(self._waiting) - 1)):  # lost: it could not be decoded
                self._waiting.popleft()
        return self._waiting.popleft() if self._waiting else None


class Clock:
    """Turns the stamps of a movie's frames, in order, into times on its timeline.

    Gaps are time: a recorder with a variable frame rate writes no frame while nothing moves, and the picture before a
    gap stays on screen. But after a damaged stamp, or where recordings were joined without new stamps, one picture
    would stay for years, or time would run backwards. There, the next frame is taken to follow one frame interval
    later, and a note names the time. A frame or two that lie behind the one before them are out of order, and dropped;
    more are where the clock went back.

    Args:
        start: where reading starts, seconds. Jumps before it are mended without a note.
    """

    def __init__(self, info: MovieInfo, start: float = 0.0, notes: Notes | None = None) -> None:
        self._info, self._start = info, start
        self._notes = Notes() if notes is None else notes
        self._last, self._shift = -1.0, 0.0
        self._behind: list[float] = []  # stamps of the frames just dropped because they lie behind the last one

    def read(self, stamp: float | None) -> float | None:
        """Return when a frame is shown, seconds, later than the frame before; None if it is out of order.

        Args:
            stamp: seconds on the timeline by the file's own clock; None where the frame has no stamp.
        """
        step = 1 / self._info.fps
        if stamp is None:
            time = max(self._start, self._info.first) if self._last < 0 else self._last + step
        else:
            if self._is_torn(stamp + self._shift):
                self._note_jump()
                self._shift = (self._last + step if self._last >= 0 else 0.0) - stamp
            time = stamp + self._shift
        if stamp is not None and -1e-3 <= time <= self._last:
            self._behind = [*self._behind, stamp] if not self._behind or stamp > self._behind[-1] else [stamp]
            if len(self._behind) < _BEHIND:
                return None
            self._note_jump()
            self._shift = self._last + step - self._behind[0]
            time = stamp + self._shift
        self._behind = []
        if time <= self._last or time < -1e-3:
            return None
        if self._last >= self._start and time - self._last > _LONG_GAP:
            text = (
                f"Between {self._last:.2f} and {time:.2f} s the file has no picture: the one before is taken to stay."
            )
            self._notes.add("clock", text)
        self._last = max(time, 0.0)
        return self._last

    def _is_torn(self, time: float) -> bool:
        if self._last < 0:
            return time > self._start + MAX_HOLD
        return is_torn(time, self._last, self._info.duration)

    def _note_jump(self) -> None:
        time = max(0.0, self._last)
        if time >= self._start - 1e-6:
            self._notes.add("clock", f"The movie's clock jumps at {time:.2f} s; what follows is taken to go on there.")


class DamageLog:
    """Counts pictures that can't be decoded; each damaged interval becomes one note that names its times.

    Args:
        start: where reading starts, seconds.
    """

    def __init__(self, start: float = 0.0, notes: Notes | None = None) -> None:
        self._notes = Notes() if notes is None else notes
        self._last = start  # time of the last good picture
        self._gap: tuple[float, float] | None = None  # the widest step between good pictures since the damage began
        self._quiet_since = start
        self._count = 0

    def record_bad(self) -> None:
        """Count a picture that could not be decoded, or only in part.

        A decoder with several threads reports it late and out of order, so the interval is where good pictures are
        missing.
        """
        if not self._count:
            self._gap = (self._last, self._last)
        self._count += 1
        self._quiet_since = math.inf

    def record_good(self, time: float) -> None:
        """Record a picture that was decoded and is shown at `time` seconds."""
        before, self._last = self._last, time
        if self._gap is None:
            return
        if time - before > self._gap[1] - self._gap[0]:
            self._gap = (before, time)
        self._quiet_since = min(self._quiet_since, time)
        if time - self._quiet_since >= _QUIET:
            self._add_note(f"Between {self._gap[0]:.2f} and {self._gap[1]:.2f} s")

    def close(self) -> None:
        """Note what is still open: the movie is over."""
        if self._gap is not None:
            begin, end = self._gap
            is_interval = end > begin and self._quiet_since < math.inf
            self._add_note(f"Between {begin:.2f} and {end:.2f} s" if is_interval else f"After {begin:.2f} s")

    def _add_note(self, where: str) -> None:
        pictures = plural(self._count, "picture")
        self._notes.add("pictures", f"{where} {pictures} can't be decoded; the rest is read.")
        self._gap, self._count = None, 0
