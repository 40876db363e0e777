"""A movie's clock: gaps are time, unless no movie shows a picture that long."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.decord import decord_installed
from chunkv2l.video.readers.timestamps import MAX_HOLD, Clock, CodedOrder
from chunkv2l.video.segmentation import detect
from chunkv2l.video.settings import SegmentationSettings
from tests.helpers.media import scene, write

DAY = 86_400.0
needs_decord = pytest.mark.skipif(not decord_installed(), reason="decord is not installed")
READERS = ["pyav", pytest.param("decord", marks=needs_decord)]


def info(duration: float, fps: float = 25.0, first: float = 0.0) -> MovieInfo:
    return MovieInfo(Path("a.mkv"), duration, fps, 64, 48, None, "h264", 0.0, 0, first, 64, 48, "yuv420p")


def read(stamps: Iterable[float | None], duration: float = 10.0, start: float = 0.0) -> list[float | None]:
    clock = Clock(info(duration), start)
    times = [clock.read(stamp) for stamp in stamps]
    return [None if time is None else round(time, 6) for time in times]


def test_gaps_are_time(caplog: pytest.LogCaptureFixture) -> None:
    stamps = [0.0, 0.04, 30.0, 90.5, 91.0]
    assert read(stamps, duration=91.04) == stamps
    assert not caplog.messages
    night = [0.0, 11.9 * 3600, 23.8 * 3600]
    assert read(night, duration=DAY) == night
    assert caplog.messages[0] == (
        "Between 0.00 and 42840.00 s the file has no picture: the one before is taken to stay."
    )


def test_no_gap_reaches_far_beyond_the_headers_end(caplog: pytest.LogCaptureFixture) -> None:
    assert read([0.0, 0.04, 100.0, 100.04], duration=10.0) == [0.0, 0.04, 0.08, 0.12]
    assert caplog.messages == ["The movie's clock jumps at 0.04 s; what follows is taken to go on there."]
    assert read([0.0, 0.04, 60.0, 60.04], duration=10.0) == [0.0, 0.04, 60.0, 60.04]


def test_no_picture_stays_longer_than_a_night_whatever_the_header_says(caplog: pytest.LogCaptureFixture) -> None:
    assert read([0.0, 0.04, MAX_HOLD + 1, MAX_HOLD + 2], duration=20 * DAY) == [0.0, 0.04, 0.08, 1.08]
    assert read([20 * DAY, 20 * DAY + 1], duration=20 * DAY + 2) == [0.0, 1.0]
    assert [message.split(";")[0] for message in caplog.messages] == [
        "The movie's clock jumps at 0.04 s",
        "The movie's clock jumps at 0.00 s",
    ]


def test_one_wild_stamp_costs_two_jumps_and_no_time() -> None:
    assert read([0.0, 0.04, 9e9, 0.12, 0.16]) == [0.0, 0.04, 0.08, 0.12, 0.16]


def test_a_clock_that_is_set_back_goes_on() -> None:
    assert read([0.0, 2.0, 0.0, 2.0]) == [0.0, 2.0, 2.04, 4.04]


def test_frames_out_of_order_and_before_the_start_are_not_shown() -> None:
    assert read([-0.08, 0.0, 0.08, 0.04, 0.08, 0.12]) == [None, 0.0, 0.08, None, None, 0.12]


def test_a_clock_that_goes_back_by_less_than_a_second_loses_no_time(caplog: pytest.LogCaptureFixture) -> None:
    assert read([0.0, 0.4, 0.8, 0.3, 0.34, 0.38, 0.42]) == [0.0, 0.4, 0.8, None, None, 0.92, 0.96]
    assert caplog.messages == ["The movie's clock jumps at 0.80 s; what follows is taken to go on there."]


class Coded:
    """A packet or a frame with the time at which it is decoded."""

    def __init__(self, dts: int | None) -> None:
        self.dts = dts


def test_frames_take_the_times_of_their_packets_in_order() -> None:
    order = CodedOrder()
    times = []
    for number in range(10):  # a decoder that gives a frame for the packet two before; the fifth packet is lost
        order.push(Coded(number))
        if number >= 2 and number != 6:
            times.append(order.pop(Coded(number)))
    times += [order.pop(Coded(None)), order.pop(Coded(None)), order.pop(Coded(None))]
    assert times == [0, 1, 2, 3, 5, 6, 7, 8, 9, None]


def test_avi_with_b_frames_shows_every_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", scene(1, 60), options={"bf": "3"})
    assert [frame.time for frame in read_frames(probe(path))] == pytest.approx([n / 25 for n in range(60)])


def test_a_raw_stream_has_the_rate_that_it_is_coded_with(tmp_path: Path) -> None:
    path = tmp_path / "a.h264"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for image in scene(1, 60):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    assert probe(path).fps == 30.0 and probe(path).duration == pytest.approx(2.0)
    assert [frame.time for frame in read_frames(probe(path))] == pytest.approx([n / 30 for n in range(60)])


def test_frames_without_a_stamp_follow_each_other() -> None:
    assert read([None, None, None]) == [0.0, 0.04, 0.08]
    assert read([0.0, 500.0, None, 500.08]) == [0.0, 0.04, 0.08, 0.12]  # on the mended clock, too


def test_jumps_before_where_reading_starts_were_told_before(caplog: pytest.LogCaptureFixture) -> None:
    assert read([0.0, 500.0, 500.04, 501.0], start=0.08) == [0.0, 0.04, 0.08, 1.04]
    assert not caplog.messages
    assert read([12 * DAY, 12 * DAY + 1], duration=20 * DAY, start=12 * DAY) == [12 * DAY, 12 * DAY + 1]
    assert not caplog.messages


@settings(deadline=None)
@given(
    st.lists(st.none() | st.floats(-1e9, 1e9) | st.floats(-2, 200)),
    st.floats(0.001, 3e6),
    st.sampled_from([0.0, 9.0]),
)
def test_whatever_the_stamps_are_times_ascend_and_nothing_is_held_longer(
    stamps: list[float | None], duration: float, start: float
) -> None:
    clock = Clock(info(duration), start)
    shown = [time for time in map(clock.read, stamps) if time is not None]
    assert all(0 < after - before <= MAX_HOLD + 1e-6 for before, after in pairwise(shown))
    assert not shown or 0 <= shown[0] <= MAX_HOLD + start


def test_warnings_come_to_an_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        times = read([number * DAY for number in range(100)], duration=100 * DAY)
    assert times == [round(number / 25, 6) for number in range(100)]
    assert len(caplog.messages) == 20 and "left out" in caplog.messages[-1]


# ---- files


def broken(path: Path, gap: float, before: float = 0.0) -> Path:
    """3 s of pictures, `before` seconds after the sound begins, and `gap` seconds between two of them."""
    times = [before + n / 25 + (gap if n >= 50 else 0.0) for n in range(75)]
    return write(path, scene(1, 75), times, sound=(0.0, 1.0) if before else None)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("gap", "before"), [(20 * DAY, 0.0), (0.0, 20 * DAY)])
def test_a_broken_clock_makes_no_day_of_one_picture(
    gap: float, before: float, reader: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by fuzzing: the header agrees with the last stamp, and the picture before was held for years."""
    movie = broken(tmp_path / "a.mkv", gap, before)
    assert probe(movie).duration > 20 * DAY
    (segment,) = detect(movie, SegmentationSettings(reader=reader))
    assert (segment.start, segment.end) == pytest.approx((0.0, 3.0), abs=0.05)
    assert f"clock jumps at {0 if before else 1.96:.2f} s" in caplog.text


@pytest.mark.parametrize("reader", READERS)
def test_a_gap_of_hours_stays_and_is_split(reader: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segments = detect(broken(tmp_path / "a.mkv", 5 * 3600.0), SegmentationSettings(reader=reader))
    assert segments[-1].end == pytest.approx(5 * 3600 + 3, abs=0.05)
    (message,) = caplog.messages
    assert len(segments) >= 5 * 3600 / 16 and "the file has no picture" in message


def test_thousands_of_cuts_reported_at_once(tmp_path: Path) -> None:
    """A ruler reports every cut of a gap when the gap is over."""
    segments = detect(broken(tmp_path / "a.mkv", 5 * 3600.0), SegmentationSettings("fixed:1"))
    assert [round(segment.end) for segment in segments] == [*range(1, 5 * 3600 + 4)]


@pytest.mark.parametrize("reader", READERS)
def test_where_the_header_is_right_a_gap_beyond_it_is_none(reader: str, tmp_path: Path) -> None:
    """A stamp that is off by hours in a movie whose header says minutes."""
    honest = replace(probe(broken(tmp_path / "a.mkv", 5 * 3600.0)), duration=3.0)
    times = [frame.time for frame in read_frames(honest, reader)]
    assert times == pytest.approx([n / 25 for n in range(75)], abs=2e-3)


@pytest.mark.parametrize("reader", READERS)
def test_reading_from_behind_a_jump_starts_on_the_mended_clock(reader: str, tmp_path: Path) -> None:
    whole = probe(broken(tmp_path / "a.mkv", 20 * DAY))
    times = [frame.time for frame in read_frames(whole, reader, 2.4)]
    coarse = 0.15 if reader == "decord" else 2e-3  # at so large a number decord's own clock, 32 bits, has wide ticks
    assert times[0] == pytest.approx(2.4, abs=coarse) and times[-1] > 2.9
