"""Times and time ranges that a question names, before the movie's length is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Moment:
    """A time, or a length, as an affine function of the movie's length: share · length + seconds."""

    share: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Moment) -> Moment:
        return Moment(self.share + other.share, self.seconds + other.seconds)

    def __sub__(self, other: Moment) -> Moment:
        return self + other.scaled(-1.0)

    def scaled(self, factor: float) -> Moment:
        """Return the length times a factor."""
        return Moment(self.share * factor, self.seconds * factor)

    def at(self, length: float) -> float:
        """Return it in seconds of a movie so long."""
        return self.share * length + self.seconds


START, END = Moment(), Moment(1.0)


@dataclass(frozen=True)
class TimeRange:
    """The interval that a question is restricted to; a point in time where both ends are equal.

    Attributes:
        is_unordered: its ends were named as two times, which may stand the wrong way round: "from 3:00 to 2:00".
        is_point: a point in time is meant. Without that, a range whose ends are equal is empty: "before 0:00".
    """

    start: Moment = START
    end: Moment = END
    is_unordered: bool = field(default=False, compare=False)
    is_point: bool = field(default=False, compare=False)

    def resolve(self, length: float) -> tuple[float, float]:
        """Return (start, end) in seconds of a movie so long: within it, start ≤ end."""
        start, end = (min(max(moment.at(length), 0.0), length) for moment in (self.start, self.end))
        return min(start, end), max(start, end)

    def to_json(self) -> dict[str, Any]:
        """Return it as {"span": [start, end], "share": whether these are shares of the movie's length, not seconds}.

        Seconds below 0 count from the movie's end; None is its end. A range that mixes both has [None, None].
        """
        ends = (self.start, self.end)
        if all(moment.seconds == 0 for moment in ends) and any(moment.share for moment in ends) and self != TimeRange():
            return {"span": [moment.share for moment in ends], "share": True}
        if any(moment.share not in (0.0, 1.0) for moment in ends):
            return {"span": [None, None], "share": False}
        return {"span": [None if moment == END else moment.seconds for moment in ends], "share": False}

    @property
    def is_empty(self) -> bool:
        """Return whether it has no length in a movie of any length: it ends where it starts, or before."""
        length = self.end - self.start
        return length.share <= 0 and length.seconds <= 0

    def complement(self) -> TimeRange | None:
        """Return what is left of the movie without it; None where that isn't one interval."""
        if self.is_empty or (self.start == START) == (self.end == END):
            return None
        return TimeRange(self.end, END) if self.start == START else TimeRange(START, self.start)

    def overlap(self, other: TimeRange) -> TimeRange | None:
        """Return a range up to the end of another one, as "after 1:00" and "before 1:30" give; None if it is empty."""
        joined = TimeRange(self.start, other.end)
        return None if joined.is_empty else joined

    def part(self, low: float, high: float) -> TimeRange:
        """Return the part of it between two shares of its length."""
        length = self.end - self.start
        return TimeRange(self.start + length.scaled(low), self.start + length.scaled(high))

    def measure(self, extent: Moment) -> Moment:
        """Return an extent whose share counts from this range's length instead of the movie's."""
        return (self.end - self.start).scaled(extent.share) + Moment(seconds=extent.seconds)
