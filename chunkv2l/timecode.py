"""Times on the movie's timeline, in seconds: the interval protocol, and how times are written for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias

Interval: TypeAlias = tuple[float, float]
"""[start, end] in seconds."""


class Timed(Protocol):
    """Anything with a start and an end in seconds."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


def clock(seconds: float, decimals: int = 0) -> str:
    """Format a time as people write it: 0:42, 1:02:03, with one decimal 0:42.5.

    >>> clock(3723.04), clock(42.46, decimals=1)
    ('1:02:03', '0:42.5')
    """
    whole, fraction = divmod(round(max(0.0, seconds) * 10**decimals), 10**decimals)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{fraction:0{decimals}}" if decimals else text


def precision(length: float) -> int:
    """Return the decimals with which both ends of an interval of this length, seconds, can be told apart.

    >>> [precision(length) for length in (60.0, 4.0, 0.04, 0.004)]
    [0, 1, 2, 3]
    """
    limits = (10.0, 0.2, 0.02)  # seconds from which on 0, 1 and 2 decimals suffice
    return next((decimals for decimals, limit in enumerate(limits) if length >= limit), 3)


def between(span: Timed, start: str = "from", middle: str = "to") -> str:
    """Format an interval in words, "from 0:42 to 0:58"; the shorter it is, the more decimals its times have."""
    decimals = precision(span.end - span.start)
    return f"{start} {clock(span.start, decimals)} {middle} {clock(span.end, decimals)}".strip()


def join_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return a union of intervals in order, those that overlap or touch as one.

    >>> join_intervals([(5, 7), (0, 2), (1, 5)])
    ((0, 7),)
    """
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def subtract_intervals(intervals: Iterable[Interval], excluded: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return what is left of intervals without others, in order.

    >>> subtract_intervals([(0, 10)], [(4, 5), (9, 12)])
    ((0, 4), (5, 9))
    """
    remaining = tuple(intervals)
    for low, high in excluded:
        pieces = [piece for start, end in remaining for piece in ((start, min(end, low)), (max(start, high), end))]
        remaining = tuple((start, end) for start, end in pieces if start < end)
    return remaining
