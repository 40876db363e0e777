"""Times and time ranges that a question names, before the movie's length is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chunkv2l.errors import NothingFound
from chunkv2l.sanitize import plural
from chunkv2l.timecode import Interval


@dataclass(frozen=True)
class Timeline:
    """A movie's length, and the intervals of its chapters, in order; seconds."""

    length: float
    chapters: tuple[Interval, ...] = ()

    def edge(self, chapter: int, is_end: bool) -> float:
        """Return where a chapter starts or ends, counted from 1, or from the last one backwards: -1, -2 …

        Raises:
            NothingFound: the movie has no such chapter.
        """
        count = len(self.chapters)
        number = chapter - 1 if chapter > 0 else count + chapter
        if not 0 <= number < count:
            chapters = plural(count, "chapter") if count else "no chapters"
            raise NothingFound(f"The video has {chapters}: the one that the question names isn't there.")
        return self.chapters[number][is_end]


@dataclass(frozen=True)
class Moment:
    """A time, or a length, as a linear function of the movie's length and of its chapters' edges.

    Attributes:
        share: factor of the movie's length.
        seconds: what is added to that.
        edges: ((number of a chapter, whether its end is meant), factor) of each edge that is added.
    """

    share: float = 0.0
    seconds: float = 0.0
    edges: tuple[tuple[tuple[int, bool], float], ...] = ()

    def __add__(self, other: Moment) -> Moment:
        factors = dict(self.edges)
        for edge, factor in other.edges:
            factors[edge] = factors.get(edge, 0.0) + factor
        edges = tuple(sorted((edge, factor) for edge, factor in factors.items() if factor))
        return Moment(self.share + other.share, self.seconds + other.seconds, edges)

    def __sub__(self, other: Moment) -> Moment:
        return self + other.scaled(-1.0)

    def scaled(self, factor: float) -> Moment:
        """Return the length times a factor."""
        edges = tuple((edge, factor * weight) for edge, weight in self.edges)
        return Moment(self.share * factor, self.seconds * factor, edges)

    def at(self, movie: Timeline | float) -> float:
        """Return it in seconds of a movie, or of one so long without chapters.

        Raises:
            NothingFound: the movie has no such chapter.
        """
        timeline = movie if isinstance(movie, Timeline) else Timeline(movie)
        edges = sum(factor * timeline.edge(*edge) for edge, factor in self.edges)
        return self.share * timeline.length + self.seconds + edges


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

    def resolve(self, movie: Timeline | float) -> Interval:
        """Return (start, end) in seconds of a movie, or of one so long: within it, start ≤ end."""
        length = movie.length if isinstance(movie, Timeline) else movie
        start, end = (min(max(moment.at(movie), 0.0), length) for moment in (self.start, self.end))
        return min(start, end), max(start, end)

    def to_json(self) -> dict[str, Any]:
        """Return it as {"span": [start, end], "share": whether these are shares of the movie's length, not seconds}.

        Seconds below 0 count from the movie's end; None is its end. A range that mixes both has [None, None].
        """
        ends = (self.start, self.end)
        if (
            all(moment.seconds == 0 and not moment.edges for moment in ends)
            and any(moment.share for moment in ends)
            and self != TimeRange()
        ):
            return {"span": [moment.share for moment in ends], "share": True}
        if any(moment.share not in (0.0, 1.0) or moment.edges for moment in ends):
            return {"span": [None, None], "share": False}
        return {"span": [None if moment == END else moment.seconds for moment in ends], "share": False}

    @property
    def is_empty(self) -> bool:
        """Return whether it has no length in a movie of any length: it ends where it starts, or before."""
        length = self.end - self.start
        return length.share <= 0 and length.seconds <= 0 and not length.edges

    def complement(self) -> tuple[TimeRange, ...]:
        """Return what is left of the movie without it: one range or two; none where nothing is, or if it is empty."""
        if self.is_empty:
            return ()
        return tuple(
            left for left in (TimeRange(START, self.start), TimeRange(self.end, END)) if left.start != left.end
        )

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


@dataclass(frozen=True)
class TimeRanges:
    """The intervals that a question is restricted to, where they aren't one `TimeRange`: a union, less another one.

    Attributes:
        parts: what the question is about.
        without: what it leaves out of that.
    """

    parts: tuple[TimeRange, ...]
    without: tuple[TimeRange, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it with the ranges under "parts" and "without", as `TimeRange.to_json` has each."""
        return {
            "span": [None, None],
            "share": False,
            "parts": [part.to_json() for part in self.parts],
            "without": [part.to_json() for part in self.without],
        }

    def resolve(self, movie: Timeline | float) -> Interval:
        """Return the earliest and the latest time of its parts in a movie, or in one so long."""
        intervals = [part.resolve(movie) for part in self.parts]
        return min(start for start, _ in intervals), max(end for _, end in intervals)


Restriction: TypeAlias = TimeRange | TimeRanges
