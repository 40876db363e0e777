"""Test the scan of a movie's packets: which pictures a stretch needs, and times where the file's clock jumps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from chunkv2l.video.packet_scan import PacketClock, scan
from chunkv2l.video.probe import probe
from tests.helpers import media


def times(stamps: list[float], jumps: tuple[float, ...] = ()) -> list[float]:
    clock = PacketClock(Fraction(1, 25), 10.0, [Fraction(jump) for jump in jumps])
    return [round(float(clock.read(Fraction(stamp), Fraction(stamp))), 3) for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0.0, 0.04, 9.0], [0.0, 0.04, 9.0]),  # a gap is time
        ([0.0, 5.0, 0.0, 0.04], [0.0, 5.0, 5.04, 5.08]),  # a second recording
        ([0.0, 5.0, 9999.0, 9999.5], [0.0, 5.0, 5.04, 5.54]),  # a damaged stamp
        ([0.0, 5.0, 9999.0, 5.08], [0.0, 5.0, 5.04, 5.08]),  # which is repaired behind it
        ([99_999.0, 99_999.5], [0.0, 0.5]),
    ],
)
def test_times_go_on_where_the_clock_jumps(stamps: list[float], expected: list[float]) -> None:
    assert times(stamps) == expected


def test_sound_jumps_as_far_as_the_pictures() -> None:
    assert times([0.0, 5.0, 0.0, 1.0], (0.0, 5.2)) == [0.0, 5.0, 5.2, 6.2]
    assert times([0.0, 5.0, 0.0, 1.0], (0.0, 50.0)) == [0.0, 5.0, 5.04, 6.04]


def test_pictures_coded_before_earlier_ones_are_no_jump() -> None:
    clock = PacketClock(Fraction(1, 25), 50.0)
    coded = [(0.0, -0.04), (42.0, 0.0), (0.04, 0.04), (42.04, 42.0)]
    assert [float(clock.read(Fraction(shown), Fraction(decoded))) for shown, decoded in coded] == [
        0.0,
        42.0,
        0.04,
        42.04,
    ]


@pytest.mark.parametrize(("start", "end", "first"), [(0.0, 0.5, 0.0), (2.5, 3.0, 2.0), (5.99, 6.0, 5.0)])
def test_a_scan_begins_with_the_key_frame_before(tmp_path: Path, start: float, end: float, first: float) -> None:
    info = probe(media.write(tmp_path / "m.mp4", media.scene(1, 150), options={"g": "25", "sc_threshold": "0"}))
    scanned = scan(info, start, end, info.duration)
    shown = [float(picture.time) for picture in scanned.pictures if picture.time is not None]
    assert scanned.pictures[0].is_key and shown[0] == pytest.approx(first, abs=0.001)
    assert max(shown) >= min(end, 5.95) and (scanned.end is None or scanned.end == pytest.approx(6.0, abs=0.05))


def test_a_length_that_contradicts_the_header_has_the_file_read_from_its_beginning(tmp_path: Path) -> None:
    info = probe(media.write(tmp_path / "m.mkv", media.scene(1, 150), options={"g": "25"}))
    assert scan(info, 3.0, 4.0, info.duration).seek == 3
    assert scan(info, 3.0, 4.0, 9.0).seek is None
