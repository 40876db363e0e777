"""Probing: odd files, their clocks and pictures, and a sentence for what isn't a movie."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from chunkv2l.errors import InputError
from chunkv2l.video.clip import read_clip
from chunkv2l.video.container import packets
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames
from tests.helpers.coded_movies import write_h264
from tests.helpers.media import at, colour, corners, joined, plain, scene, truncate, whole, write, write_sound

GAP = [0.0, 0.04, 0.08, 3.0, 3.04, 3.5]  # seconds: a real gap, and uneven steps


def times(path: Path, reader: str = "pyav", start: float = 0.0) -> list[float]:
    return [round(frame.time, 3) for frame in read_frames(probe(path), reader, start)]


def test_probe_of_an_ordinary_movie(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "a.mp4", scene(1, 50, (96, 64))))
    assert (info.width, info.height, info.fps, info.frames, info.codec) == (96, 64, 25.0, 50, "h264")
    assert info.duration == pytest.approx(2.0, abs=1e-3)
    assert (info.origin, info.first, info.rotation) == (0.0, 0.0, 0)


def test_looking_at_movies_imports_no_torch() -> None:
    code = (
        "import sys; from chunkv2l.video.probe import probe\n"
        "from chunkv2l.video.segmentation import cut; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- time


def test_uneven_frame_rates_keep_their_times(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(1, 6), GAP)
    assert times(path) == GAP
    assert times(path, start=3.0) == [3.0, 3.04, 3.5]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_a_clock_that_does_not_start_at_zero(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", scene(1, 50), start=5.0)
    assert times(path)[:3] == [0.0, 0.04, 0.08]
    assert times(path, start=1.0)[0] == 1.0
    info = probe(path)
    assert info.duration == pytest.approx(2.0, abs=0.05)
    assert info.origin > 4


def test_pictures_that_come_after_the_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(1, 25), start=1.5, sound=(0.5, 3.0))
    info = probe(path)
    assert info.first == pytest.approx(1.0, abs=0.03)
    assert times(path)[0] == pytest.approx(1.0, abs=0.03)
    assert info.origin == pytest.approx(0.5, abs=0.03)


def test_b_frames_come_in_the_order_of_presentation(tmp_path: Path) -> None:
    frames = joined(plain((number * 8, 0, 0)) for number in range(25))
    path = write(tmp_path / "a.mp4", frames, options={"bf": "3", "b-adapt": "0"})
    seen = [(f.time, int(f.picture()[0, 0, 0])) for f in read_frames(probe(path), "pyav")]
    assert seen == sorted(seen)
    assert len(seen) == 25


def test_a_duration_that_no_header_tells_is_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(1, 50), container_options={"live": "1"})
    assert probe(path).duration == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_a_header_that_tells_the_clocks_rate_is_not_believed(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx" if suffix == "webm" else "libx264"
    path = write(tmp_path / f"a.{suffix}", scene(1, 100), [n / 25 for n in range(100)], fps=1000.0, codec=codec)
    assert probe(path).fps == pytest.approx(25.0, abs=0.3)


def test_a_rate_that_must_be_measured_of_a_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", scene(1, 160), codec="mpeg4")  # fuzzing found it
    data = path.read_bytes()
    assert probe(path).fps > 0
    for place in range(len(data) // 2, len(data), 997):
        path.write_bytes(data[:place] + data[place + 2 :])
        assert 0 < probe(path).fps <= 1000


def test_fast_cameras_are_believed(tmp_path: Path) -> None:
    assert probe(write(tmp_path / "a.mkv", scene(1, 60), fps=240.0)).fps == pytest.approx(240.0, rel=0.02)


def test_a_single_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", scene(1, 1))
    assert times(path) == [0.0]
    assert probe(path).duration > 0
    clip = read_clip(path, at(0.0, 0.5), whole)
    assert len(clip.frames) == 2 and clip.times == (0.0, 0.0)


# ---- pictures


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_are_upright(tmp_path: Path, rotation: int) -> None:
    upright = corners((96, 64))
    stored = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    path = write(tmp_path / "a.mp4", [stored] * 3, rotation=rotation)
    info = probe(path)
    assert (info.width, info.height) == (96, 64)
    picture = read_clip(path, at(0.0), whole).frames[0]
    assert picture.shape == (64, 96, 3)
    assert np.abs(picture.astype(int) - upright).mean() < 12  # colour is stored at half the resolution


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size", "suffix"),
    [
        ("ffv1", "yuv420p", (53, 37), "mkv"),
        ("ffv1", "yuv444p", (1, 1), "mkv"),
        ("libx264", "yuv420p10le", (64, 48), "mp4"),
        ("libx265", "yuv420p10le", (64, 48), "mp4"),
        ("libvpx-vp9", "yuv420p", (66, 50), "webm"),
        ("mpeg4", "yuv420p", (64, 48), "avi"),
        ("mjpeg", "yuvj420p", (64, 48), "avi"),
        ("ffv1", "gray", (64, 48), "mkv"),
    ],
)
def test_odd_sizes_depths_and_codecs(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int], suffix: str
) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write(
        tmp_path / f"a.{suffix}", plain((200, 200, 200), 5, size), codec=codec, pix_fmt=pix_fmt, options=options
    )
    clip = read_clip(path, at(0.0, 0.1), whole)
    assert [frame.shape for frame in clip.frames] == [(size[1], size[0], 3)] * 2
    assert all(frame.dtype == np.uint8 and colour(frame) == (200, 200, 200) for frame in clip.frames)


def test_interlaced_pictures_come_once_each(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", scene(1, 25), options={"x264-params": "interlaced=1:tff=1"})
    assert times(path) == [round(n / 25, 3) for n in range(25)]


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [corners((60, 48))] * 3, aspect=Fraction(16, 15))
    assert (probe(path).width, probe(path).height) == (64, 48)
    assert read_clip(path, at(0.0), whole).frames[0].shape == (48, 64, 3)


# ---- what is not a movie


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        probe(path)
    sentence = str(caught.value)
    assert str(path) in sentence and "\n" not in sentence
    return sentence


def test_missing(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.mp4")


def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in refused(tmp_path)


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert "does not exist" in refused(tmp_path / "a.mp4" / "b.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes as on Unix")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a regular file" in refused(tmp_path / "pipe.mp4")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert "is empty" in refused(tmp_path / "a.mp4")


@pytest.fixture
def nobody() -> Iterator[None]:
    """The test runs as a user who may not read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions as on Unix")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_unreadable_permissions(closed: str, request: pytest.FixtureRequest) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.mp4", scene(1, 3))
        os.chmod(folder, 0o755)
        os.chmod(path if closed == "file" else folder, 0)
        try:
            request.getfixturevalue("nobody")
            assert "permission denied" in refused(path)
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            os.chmod(folder, 0o755)


@pytest.mark.parametrize(
    "text", ["These are words.\n" * 50, "#EXTM3U\n#EXTINF:1,\nother.ts\n", "\x1b[31mred\x1b[0m\n" * 99]
)
def test_text_with_a_movies_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.mp4").write_text(text)
    assert "is not a movie" in refused(tmp_path / "a.mp4")


def test_a_list_of_other_files_opens_none_of_them(tmp_path: Path) -> None:
    write(tmp_path / "other.ts", scene(1, 25))
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.ts\n")
    assert "is not a movie" in refused(tmp_path / "a.mp4")


def test_sound_only(tmp_path: Path) -> None:
    assert "sound but no video stream" in refused(write_sound(tmp_path / "a.m4a"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pictures_of_more_than_8k(tmp_path: Path, suffix: str) -> None:
    """A picture of one colour takes hardly any bytes, whatever its size."""
    path = tmp_path / f"a.{suffix}"
    Image.new("1", (8192, 4608)).save(path, "PNG")
    assert probe(path).width == 8192
    if suffix == "mkv":
        write(path, plain((0, 0, 0), 1, (8192, 4616)), codec="mjpeg", pix_fmt="yuvj420p")
    else:
        Image.new("1", (8192, 4616)).save(path, "PNG")
    assert "its pictures are damaged or larger than 8K" in refused(path)


def test_pictures_that_become_larger_than_8k_are_left_out(tmp_path: Path) -> None:
    small, large = io.BytesIO(), io.BytesIO()
    Image.new("1", (64, 48)).save(small, "PNG")
    Image.new("1", (8192, 4616)).save(large, "PNG")
    (tmp_path / "a.mp4").write_bytes(small.getvalue() + large.getvalue() + small.getvalue())
    assert {frame.picture().shape[1] for frame in read_frames(probe(tmp_path / "a.mp4"), "pyav")} == {64}


@pytest.mark.parametrize("room", [1 << 30, 3000])
def test_the_first_picture_is_shown_though_the_decoder_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """With little room, the decoder has to give it before sixteen others have come."""
    monkeypatch.setattr("chunkv2l.video.probe._ROOM", room)
    info = probe(write_h264(tmp_path / "a.h264", 2, 2, 2, 30))
    assert (info.width, info.picture_bytes, info.first) == (32, 2304, 0.0)


def test_subtitles_only(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n")
    assert "is not a movie" in refused(tmp_path / "a.srt")


@pytest.mark.parametrize(
    ("suffix", "sentence"),
    [("mp4", "has no video stream"), ("avi", "without a single picture"), ("mkv", "can be read (End of file)")],
)
def test_no_frames(tmp_path: Path, suffix: str, sentence: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    assert sentence in refused(path)


def test_cut_off_before_the_table_of_contents(tmp_path: Path) -> None:
    path = truncate(write(tmp_path / "a.mp4", scene(1, 50)), 0.5)
    assert "cut off" in refused(path) and "did not finish" in refused(path)


@pytest.mark.parametrize("size", [2**40, 2**63, 2**64 - 1])
@pytest.mark.parametrize("first", [b"", b"\0\0\0\x10ftypisom\0\0\2\0"])
def test_boxes_that_point_far_beyond_the_file(tmp_path: Path, first: bytes, size: int) -> None:
    """Found by fuzzing: seeking there isn't possible everywhere."""
    path = tmp_path / "a.mp4"
    path.write_bytes(first + b"\0\0\0\1mdat" + size.to_bytes(8, "big") + bytes(1000))
    assert "is cut off" in refused(path)


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(1, 25), codec="ffv1")
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_ABCD"))
    assert "can't decode; convert it" in refused(path)


def test_pictures_that_are_all_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", scene(1, 25), codec="ffv1")
    data = bytearray(path.read_bytes())
    begin = data.index(b"movi") + 4
    for mark in range(begin, len(data)):
        if data[mark : mark + 4] == b"00dc":
            data[mark + 8 : mark + 40] = b"\xff" * 32
    path.write_bytes(data)
    assert "no picture of it can be decoded" in refused(path)


class LateStreams:
    """A container that stumbles as PyAV does, `late` times, and again after the last packet if `flushing`."""

    def __init__(self, late: int, flushing: bool) -> None:
        self.late, self.flushing, self.sent = late, flushing, 0

    def demux(self, stream: Any) -> Iterator[Any]:
        while self.sent < 10:
            self.sent += 1
            yield SimpleNamespace(size=9, pts=self.sent, dts=self.sent)
            if self.sent % 3 == 0 and self.late:
                self.late -= 1
                raise IndexError("list index out of range")
        yield SimpleNamespace(size=0, pts=None, dts=None)
        if self.flushing:
            raise IndexError("list index out of range")


@pytest.mark.parametrize(("late", "flushing"), [(0, False), (0, True), (2, False), (2, True)])
def test_streams_that_are_announced_on_the_way(late: int, flushing: bool) -> None:
    """Found by fuzzing a transport stream."""
    found = list(packets(LateStreams(late, flushing), None))
    assert [packet.pts for packet in found] == [*range(1, 11), None]


def test_a_clock_of_centuries_is_a_sentence(tmp_path: Path) -> None:
    """Found by fuzzing: a picture held for 233 years was split into hundreds of millions of segments."""
    path = write(tmp_path / "a.mkv", scene(1, 6))
    data = bytearray(path.read_bytes())
    struct.pack_into(">d", data, data.index(b"\x44\x89\x88") + 3, 7_342_981_497.6e3)  # Matroska's Duration, in ms
    path.write_bytes(data)
    with pytest.raises(InputError, match="84988 days: its clock is damaged"):
        probe(path)
