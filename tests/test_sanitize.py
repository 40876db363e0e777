"""Test how values are written for people."""

from __future__ import annotations

import pytest

from chunkv2l.sanitize import number_range, plural


@pytest.mark.parametrize(("number", "text"), [(0, "0 segments"), (1, "1 segment"), (2, "2 segments")])
def test_a_noun_stands_in_the_plural_but_for_one(number: int, text: str) -> None:
    assert plural(number, "segment") == text


@pytest.mark.parametrize(("last", "text"), [(0, "segment 0"), (1, "segments 0 to 1")])
def test_a_range_of_one_is_no_range(last: int, text: str) -> None:
    assert number_range("segment", 0, last) == text
