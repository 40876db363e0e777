"""What every fuzz target stands on: limits that hold on a busy machine, and findings that come through."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import strategies as st

from chunkv2l.errors import InputError
from tests.fuzz.harness import Case, check_time, cpu_time, fuzz


def burn() -> None:
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass


def quick() -> None:
    raise InputError("Refused at once.")


def test_only_what_is_slow_twice_and_beside_sound_files_is_a_finding() -> None:
    check_time(0.01, 0.02, burn, quick)  # was quick
    check_time(9.0, 0.02, quick, quick)  # was slow once
    check_time(9.0, 0.02, burn, burn)  # everything is slow here
    with pytest.raises(AssertionError, match="sound files"):
        check_time(9.0, 0.02, burn, quick)


def test_cpu_time_is_not_the_walls() -> None:
    assert cpu_time(burn) >= 0.05
    assert cpu_time(lambda: time.sleep(0.2)) < 0.1


class Odd:
    """Fails on odd numbers above 10."""

    def __init__(self, folder: Path) -> None:
        self.tried = self.last = 0

    def cases(self) -> list[Case]:
        return [Case(self.number, (st.integers(0, 1000),), 50)]

    def number(self, value: int) -> None:
        self.last = value
        assert value % 2 == 0 or value <= 10


class Sound(Odd):
    def number(self, value: int) -> None:
        self.tried += 1


def test_findings_come_through_and_are_made_small(tmp_path: Path) -> None:
    target = Odd(tmp_path)
    with pytest.raises(AssertionError):
        fuzz(target, 0)
    assert target.last == 11
    assert fuzz(Sound(tmp_path), 0).tried == 50


def test_seeds_follow_each_other_until_the_time_is_up(tmp_path: Path) -> None:
    started = time.monotonic()
    target = fuzz(Sound(tmp_path), 0.5)
    assert target.tried > 50 and time.monotonic() - started >= 0.5
