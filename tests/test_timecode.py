"""Test how times and intervals are written for people."""

from __future__ import annotations

import pytest

from chunkv2l.answer.spans import Span
from chunkv2l.timecode import between, clock


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 0, "0:00"),
        (42.4, 0, "0:42"),
        (59.7, 0, "1:00"),
        (3599.96, 1, "1:00:00.0"),
        (3723, 0, "1:02:03"),
        (42.46, 1, "0:42.5"),
        (42.004, 2, "0:42.00"),
        (59.9996, 3, "1:00.000"),
        (-0.01, 1, "0:00.0"),
    ],
)
def test_clock(seconds: float, decimals: int, text: str) -> None:
    assert clock(seconds, decimals) == text


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (61.0, 71.0, "from 1:01 to 1:11"),
        (61.0, 65.5, "from 1:01.0 to 1:05.5"),
        (0.0, 0.04, "from 0:00.00 to 0:00.04"),
        (3600.0, 3600.0167, "from 1:00:00.000 to 1:00:00.017"),
    ],
)
def test_an_interval_has_as_many_decimals_as_tell_its_ends_apart(start: float, end: float, text: str) -> None:
    assert between(Span(start, end, 1.0, (0,))) == text
