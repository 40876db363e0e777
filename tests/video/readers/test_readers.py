"""Readers: PyAV and decord give the same, damage is passed over, a stalled reader is given up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Picture

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video import readers
from chunkv2l.video.container import packets
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.readers import decord, pyav, read_frames
from chunkv2l.video.readers.base import Frame, Image, ReaderError
from chunkv2l.video.readers.decord import DecordReader, decord_installed
from chunkv2l.video.readers.pyav import PyAVReader
from chunkv2l.video.readers.timestamps import DamageLog
from tests.helpers.coded_movies import write_h264
from tests.helpers.media import corners, damage, joined, plain, scene, truncate, write

FIXTURES = Path(__file__).parents[2] / "fixtures"
needs_decord = pytest.mark.skipif(not decord_installed(), reason="decord has no wheel here")
ODD: dict[str, dict[str, Any]] = {
    "ordinary.mp4": {},
    "offset.mkv": {"start": 5.0},
    "late.mkv": {"start": 1.5, "sound": (0.5, 3.0)},
    "gaps.mkv": {"times": [n * 0.04 if n < 20 else 3 + n * 0.1 for n in range(30)]},
    "rotated.mp4": {"rotation": 90},
    "bframes.mp4": {"options": {"bf": "3", "b-adapt": "0"}},
    "tenbit.mp4": {"pix_fmt": "yuv420p10le"},
    "narrow.mkv": {"codec": "ffv1", "size": (37, 53)},
    "padded.mp4": {"size": (48, 64)},
    "interlaced.mp4": {"options": {"x264-params": "interlaced=1:tff=1"}},
    "anamorphic.mp4": {"size": (120, 96), "aspect": Fraction(16, 15)},
    "ntsc.mp4": {"fps": 30000 / 1001},
}


def make(folder: Path, name: str) -> MovieInfo:
    settings = dict(ODD[name])
    frames = scene(3, 30, settings.pop("size", (128, 96)))
    return probe(write(folder / name, frames, settings.pop("times", None), **settings))


@needs_decord
@pytest.mark.parametrize("name", ODD)
def test_both_readers_give_the_same_times_and_pictures(tmp_path: Path, name: str) -> None:
    info = make(tmp_path, name)
    ours, theirs = list(read_frames(info, "pyav")), list(read_frames(info, "decord"))
    assert len(ours) == 30
    assert [f.time for f in theirs] == pytest.approx([f.time for f in ours], abs=1e-3)
    for one, other in zip(ours, theirs, strict=True):
        assert one.picture().shape == other.picture().shape == (info.height, info.width, 3)
        assert np.abs(one.picture().astype(int) - other.picture()).mean() <= 2
        size = (32, 24)
        assert one.small(*size).shape == other.small(*size).shape == (24, 32, 3)
        assert np.abs(one.small(*size).astype(int) - other.small(*size)).mean() <= 6  # each scales in its own way


@needs_decord
@pytest.mark.parametrize("name", ["ordinary.mp4", "rotated.mp4", "anamorphic.mp4"])
def test_both_readers_scale_alike(tmp_path: Path, name: str) -> None:
    info = make(tmp_path, name)
    for one, other in zip(read_frames(info, "pyav", side=50), read_frames(info, "decord", side=50), strict=True):
        assert one.picture(50).shape == other.picture(50).shape
        assert max(one.picture(50).shape) == 50
        assert np.abs(one.picture(50).astype(int) - other.picture(50)).mean() <= 3  # two ways of scaling


@needs_decord
def test_what_decord_reads_ahead_has_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = make(tmp_path, "ordinary.mp4")  # 30 frames of 128 × 96
    assert decord.decoded_size(info, None) == (128, 96) and decord.decoded_size(info, 64) == (64, 48)
    hour = replace(info, width=1920, height=1080, frames=90_000)
    width, height = decord.decoded_size(hour, None)
    assert 1200 * 3 * width * height == pytest.approx(decord.ROOM, rel=0.02)
    assert width / height == pytest.approx(16 / 9, rel=0.01)
    assert decord.decoded_size(hour, 512) == (512, 288)
    assert decord.decoded_size(replace(hour, frames=None), None) == (width, height)
    monkeypatch.setattr(decord, "ROOM", 30 * 3 * 64 * 48)
    for one, other in zip(read_frames(info, "pyav"), read_frames(info, "decord"), strict=True):
        assert other.picture().shape == one.picture().shape == (96, 128, 3)
        assert np.abs(one.picture().astype(int) - other.picture()).mean() <= 6  # softer
        assert np.abs(one.picture(64).astype(int) - other.picture(64)).mean() <= 3


@needs_decord
def test_both_readers_start_where_asked(tmp_path: Path) -> None:
    info = make(tmp_path, "bframes.mp4")
    ours, theirs = list(read_frames(info, "pyav", 0.72)), list(read_frames(info, "decord", 0.72))
    assert ours[0].time == pytest.approx(0.72) and theirs[0].time == pytest.approx(0.72, abs=1e-3)
    assert np.abs(ours[0].picture().astype(int) - theirs[0].picture()).mean() <= 2


def test_an_unknown_reader() -> None:
    with pytest.raises(InputError, match="choose one of auto, pyav, decord"):
        readers.check_reader("vlc")


def test_decord_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "decord_installed", lambda: False)
    with pytest.raises(InputError, match="decord is not installed"):
        readers.check_reader("decord")


# ---- damage


def collected(info: MovieInfo, reader: str = "pyav") -> list[float]:
    return [frame.time for frame in read_frames(info, reader)]


def test_a_damaged_stretch_is_passed_over_with_its_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = joined(scene(number, 25, (160, 120)) for number in range(8))
    path = write(tmp_path / "a.mp4", frames, options={"g": "25"}, container_options={"movflags": "faststart"})
    info = probe(damage(path, 0.5, 1500))
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        seen = collected(info)
    assert seen[-1] == pytest.approx(199 / 25)
    assert len(seen) > 140
    (warning,) = caplog.messages
    assert "can't be decoded; the rest is read" in warning
    begin, end = float(warning.split()[1]), float(warning.split()[3])
    assert 2.5 < begin < end < 5.5
    assert not any(begin < time < end for time in seen)


def test_pictures_that_become_much_larger_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "LARGE_PICTURE", 3000)
    path = write_h264(tmp_path / "a.h264", 2, 2, 2, 30)
    path.write_bytes(path.read_bytes() + write_h264(tmp_path / "b.h264", 8, 8, 2, 30).read_bytes())
    assert {frame.picture().shape for frame in read_frames(probe(path))} == {(32, 32, 3)}


def test_pictures_that_become_deeper_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "LARGE_PICTURE", 3000)
    with (tmp_path / "a.mjpeg").open("wb") as file:
        for subsampling in ("4:2:0", "4:4:4"):
            Picture.new("RGB", (32, 32)).save(file, "JPEG", subsampling=subsampling)
    with pytest.raises(InputError, match="takes more memory than it may"):
        list(read_frames(probe(tmp_path / "a.mjpeg")))


def test_damage_without_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.avi", scene(1, 10), codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0)][5]
        start, end = packet.pos, packet.pos + packet.size + 8
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    info = probe(path)
    assert len(collected(info)) == 9
    monkeypatch.setattr(pyav, "has_room", lambda more: False)
    with pytest.raises(InputError, match="takes more memory than it may"):
        collected(info)


@needs_decord
def test_decord_passes_over_damage_or_hands_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = joined(scene(number, 25, (160, 120)) for number in range(8))
    path = write(tmp_path / "a.mp4", frames, options={"g": "25"}, container_options={"movflags": "faststart"})
    info = probe(damage(path, 0.5, 1500))
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        assert collected(info, "decord")[-1] == pytest.approx(199 / 25, abs=0.1)


def test_a_truncated_movie_gives_what_it_has(tmp_path: Path) -> None:
    frames = joined(scene(number, 25, (160, 120)) for number in range(8))
    path = write(tmp_path / "a.mp4", frames, options={"g": "25"}, container_options={"movflags": "faststart"})
    seen = collected(probe(truncate(path, 0.6)))
    assert 2.0 < seen[-1] < 6.0


def test_a_clock_that_is_set_back_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = (write(tmp_path / f"{n}.ts", scene(n, 75)) for n in (1, 2))
    path = tmp_path / "joined.ts"
    path.write_bytes(one.read_bytes() + other.read_bytes())
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        seen = collected(probe(path))
    assert seen == pytest.approx([n / 25 for n in range(150)], abs=1e-3)
    assert "clock jumps at 2.96 s" in caplog.text


def test_a_stamp_from_nowhere_makes_no_gap_of_hours(info: MovieInfo) -> None:
    path = write(
        info.path.with_suffix(".mkv"), scene(1, 75), [n / 25 if n < 50 else 90_000 + n / 25 for n in range(75)]
    )
    seen = collected(replace(probe(path), duration=3.0))
    assert seen == pytest.approx([n / 25 for n in range(75)], abs=1e-3)


def test_damage_is_told_once_a_stretch(caplog: pytest.LogCaptureFixture) -> None:
    damage_log = DamageLog()
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        for tick in range(100):
            if tick in (10, 11, 13, 14, 15, 50):
                damage_log.record_bad()
            else:
                damage_log.record_good(tick / 10)
        damage_log.record_bad()
        damage_log.close()
        damage_log.close()
    assert caplog.messages == [
        "Between 1.20 and 1.60 s 5 pictures can't be decoded; the rest is read.",
        "Between 4.90 and 5.10 s 1 picture can't be decoded; the rest is read.",
        "After 9.90 s 1 picture can't be decoded; the rest is read.",
    ]


def test_warnings_about_damage_come_to_an_end(caplog: pytest.LogCaptureFixture) -> None:
    damage_log = DamageLog()
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        for tick in range(1000):
            damage_log.record_bad() if tick % 20 == 10 else damage_log.record_good(tick / 10)
    assert len(caplog.messages) == 20 and "left out" in caplog.messages[-1]


# ---- pictures that are repeated, and lengths that a header doesn't know


def write_repeats(path: Path, count: int = 60, every: int = 5) -> Path:
    """A movie of `count` packets, of which only every fifth holds a picture; the others are empty and repeat it."""
    coded = write(
        path.with_name("all.mkv"),
        joined(plain((number * 4,) * 3) for number in range(count)),
        codec="mjpeg",
        pix_fmt="yuvj420p",
    )
    with av.open(str(coded)) as source, av.open(str(path), "w") as target:
        out = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.dts is None:
                continue
            if number % every:
                empty = av.Packet(b"")
                empty.pts, empty.dts, empty.time_base, empty.duration = (
                    packet.pts, packet.dts, packet.time_base, packet.duration,
                )  # fmt: skip
                packet = empty
            packet.stream = out
            target.mux(packet)
    return path


def test_an_empty_packet_repeats_the_picture_before_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = list(read_frames(probe(write_repeats(tmp_path / "a.nut"))))
    assert [round(frame.time, 2) for frame in frames] == pytest.approx([number / 25 for number in range(60)], abs=0.01)
    shades = [int(frame.picture()[0, 0, 0]) for frame in frames]
    assert len(set(shades)) == 12 and all(len(set(shades[n : n + 5])) == 1 for n in range(0, 60, 5))
    assert not caplog.messages


def test_a_theora_movie_whose_pictures_repeat(caplog: pytest.LogCaptureFixture) -> None:
    """Of its 289 packets, 236 are empty; they were counted as damage."""
    frames = list(read_frames(probe(FIXTURES / "repeated_pictures.ogv")))
    assert [frame.time for frame in frames] == pytest.approx([number / 25 for number in range(289)])
    assert not caplog.messages


def test_a_repeat_waits_for_the_picture_that_it_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With B-frames, a decoder gives a picture some packets after its own."""
    frames = joined(plain((n * 4,) * 3) for n in range(60))
    info = probe(write(tmp_path / "a.mkv", frames, options={"bf": "3", "g": "60"}))

    def with_repeats(container: Any, stream: Any) -> Iterator[Any]:
        for packet in packets(container, stream):
            yield packet
            if packet.size:
                yield SimpleNamespace(size=0, pts=packet.pts + 20, dts=packet.dts, duration=20)  # milliseconds

    monkeypatch.setattr("chunkv2l.video.readers.pyav.packets", with_repeats)
    doubled = list(read_frames(info))
    assert [frame.time for frame in doubled] == pytest.approx([n * 0.02 for n in range(120)], abs=2e-3)
    shades = [int(frame.picture()[0, 0, 0]) for frame in doubled]
    assert shades[::2] == shades[1::2] == sorted(set(shades))


def test_a_raw_stream_lasts_as_long_as_its_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h264", scene(1, 75))
    assert probe(path).duration == pytest.approx(3.0)
    assert len(collected(probe(path))) == 75


# ---- stalls and failures, with readers made for it


@dataclass(frozen=True)
class FakeFrame:
    time: float
    duration: float = 1.0
    nbytes: int = 0

    def small(self, width: int, height: int) -> Image:
        return np.zeros((height, width, 3), np.uint8)

    def picture(self, side: int | None = None) -> Image:
        return corners()


class FakeReader:
    """Ten frames, one a second; at frame `number` something happens."""

    def __init__(self, number: int = 99, happens: Any = None) -> None:
        self.number, self.happens = number, happens
        self.started: list[float] = []
        self.closed = threading.Event()

    def __call__(self, info: MovieInfo, side: int | None, notes: Notes) -> FakeReader:
        return self

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        self.started.append(start)
        for number in range(10):
            if number == self.number:
                self.happens()
            if number >= start:
                yield FakeFrame(float(number))

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def info(tmp_path: Path) -> MovieInfo:
    return probe(write(tmp_path / "a.mp4", scene(1, 3)))


def test_a_stalled_reader_is_given_up_and_the_other_goes_on(info: MovieInfo, caplog: pytest.LogCaptureFixture) -> None:
    for_ever = threading.Event()
    stuck, sound = FakeReader(4, for_ever.wait), FakeReader()
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        frames = list(read_frames(info, "one", stall_timeout=0.2, openers={"one": stuck, "other": sound}))
    assert [frame.time for frame in frames] == list(range(10))
    assert sound.started == [3.0]
    (warning,) = caplog.messages
    assert "one is given up at 3.00 s (no picture came for 0.2 s); other goes on" in warning
    for_ever.set()
    assert stuck.closed.wait(5)  # the stuck thread ends as soon as it can


def test_a_reader_that_stalls_before_its_first_frame(info: MovieInfo) -> None:
    for_ever = threading.Event()
    frames = read_frames(
        info, "one", stall_timeout=0.2, openers={"one": FakeReader(0, for_ever.wait), "two": FakeReader()}
    )
    assert len(list(frames)) == 10
    for_ever.set()


def failing() -> None:
    raise ReaderError("the tape is torn.")


def test_a_reader_that_fails_hands_over(info: MovieInfo, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        frames = list(read_frames(info, "one", openers={"one": FakeReader(7, failing), "two": FakeReader()}))
    assert [frame.time for frame in frames] == list(range(10))
    assert "given up at 6.00 s (the tape is torn)" in caplog.text


def test_no_reader_is_left(info: MovieInfo) -> None:
    openers = {"one": FakeReader(7, failing), "two": FakeReader(8, failing)}
    with pytest.raises(ChunkV2LError, match=r"can't be read on at 7\.00 s: the tape is torn\."):
        list(read_frames(info, "one", openers=openers))


def test_a_programming_error_is_not_hidden(info: MovieInfo) -> None:
    def wrong() -> None:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        list(read_frames(info, "one", openers={"one": FakeReader(3, wrong), "two": FakeReader()}))


def test_stopping_early_stops_the_thread(info: MovieInfo) -> None:
    reader = FakeReader()
    with closing(read_frames(info, "one", openers={"one": reader})) as frames:
        next(frames)
    assert reader.closed.wait(5)
    until = time.monotonic() + 5
    while any(t.name == "chunkv2l-decode" for t in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(t.name == "chunkv2l-decode" for t in threading.enumerate())


def test_readers_say_when_they_cannot_open(info: MovieInfo) -> None:
    info.path.write_bytes(b"not a movie any more")
    for opener in [PyAVReader, *([DecordReader] if decord_installed() else [])]:
        with pytest.raises(ReaderError, match="can't open"):
            opener(info, None, Notes())
