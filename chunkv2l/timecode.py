"""Times on the movie's timeline, in seconds: the interval protocol, and how times are written for people."""

from __future__ import annotations

from typing import Protocol


class Timed(Protocol):
    """Anything with a start and an end in seconds."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


def clock(seconds: float, tenths: bool = False) -> str:
    """Format a time as people write it: 0:42, 1:02:03, with tenths 0:42.5.

    >>> clock(3723.04), clock(42.46, tenths=True)
    ('1:02:03', '0:42.5')
    """
    units = round(max(0.0, seconds) * 10) if tenths else 10 * round(max(0.0, seconds))
    whole, tenth = divmod(units, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{tenth}" if tenths else text


def between(span: Timed, start: str = "from", middle: str = "to") -> str:
    """Format an interval in words, "from 0:42 to 0:58"; with tenths of a second if it is shorter than 10 s."""
    tenths = span.end - span.start < 10
    return f"{start} {clock(span.start, tenths)} {middle} {clock(span.end, tenths)}".strip()
