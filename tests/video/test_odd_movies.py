"""Odd and damaged movies through a whole build: what comes out covers the movie, is sound, and can be asked."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import chunkv2l.ask as asking
from chunkv2l.defaults import MAX_LENGTH
from chunkv2l.errors import ChunkV2LError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import BuildReport
from chunkv2l.video import readers, segmentation
from chunkv2l.video.clip import Clip, read_clip
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import ReaderError
from chunkv2l.video.readers.decord import decord_installed
from chunkv2l.video.readers.pyav import PyAVReader
from tests.helpers.fake_vlm import FakeVLM, fake_model
from tests.helpers.media import corners, damage, joined, plain, scene, truncate, write

SCENES = joined(scene(number, 50) for number in range(3))  # 6 s
GAPS = [*(n / 25 for n in range(50)), *(30 + n / 12.5 for n in range(50)), *(90 + n / 50 for n in range(50))]
ODD: dict[str, tuple[Callable[[Path], Path], float]] = {
    "variable rate with gaps.mp4": (lambda path: write(path, SCENES, GAPS), 91.0),
    "variable rate with gaps.mkv": (lambda path: write(path, SCENES, GAPS), 91.0),
    "turned.mp4": (lambda path: write(path, [corners()] * 75, rotation=90), 3.0),
    "late.mkv": (lambda path: write(path, SCENES, start=1234.5), 6.0),
    "late.ts": (lambda path: write(path, SCENES, start=1234.5), 6.0),
    "odd size.mkv": (lambda path: write(path, joined(scene(n, 50, (53, 37)) for n in range(3)), codec="ffv1"), 6.0),
    "10 bit.mp4": (lambda path: write(path, SCENES, pix_fmt="yuv420p10le"), 6.0),
    "interlaced.mp4": (lambda path: write(path, SCENES, options={"x264-params": "interlaced=1:tff=1"}), 6.0),
    "oblong pixels.mp4": (lambda path: write(path, SCENES, aspect=Fraction(16, 15)), 6.0),
    "one frame.mp4": (lambda path: write(path, plain((200, 40, 40))), 0.04),
    "one pixel.mkv": (lambda path: write(path, plain((200, 40, 40), 5, (1, 1)), codec="ffv1", pix_fmt="yuv444p"), 0.2),
}
needs_decord = pytest.mark.skipif(not decord_installed(), reason="decord is not installed")
READERS = ["pyav", pytest.param("decord", marks=needs_decord)]


def built(movie: Path, model: Any = None, **options: Any) -> BuildReport:
    """An index beside the movie, looked through."""
    report = build(movie, model=model or fake_model(), **options)
    assert verify(report.index) == []
    with IndexFile(report.index) as index:
        spans = [(segment.start, segment.end) for segment in index.segments]
        assert spans[0][0] == 0.0 and report.segments == len(spans)
        assert all(end == start for (_, end), (start, _) in pairwise(spans))
        assert all(0 < end - start <= MAX_LENGTH + 1e-6 for start, end in spans)
        assert all(end - start >= 1.0 - 1e-6 for start, end in spans) or len(spans) == 1
        assert all(segment.caption for segment in index.segments)
    return report


def end(report: BuildReport) -> float:
    with IndexFile(report.index) as index:
        return float(index.segments[-1].end)


def thumbnail(report: BuildReport, number: int) -> NDArray[np.uint8]:
    with IndexFile(report.index) as index:
        return np.asarray(Image.open(io.BytesIO(index.thumbnail(number))))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ODD)
def test_odd_movies_are_built_and_asked(name: str, reader: str, tmp_path: Path) -> None:
    make, seconds = ODD[name]
    report = built(make(tmp_path / name), reader=reader)
    assert end(report) == pytest.approx(seconds, abs=0.06) and report.notices == ()
    with asking.open_index(report.index, fake_model()) as index:
        answer = index.ask("When does a dog run?")
    assert answer.visual_tokens == 0 and answer.spans


def test_gaps_are_time_and_are_split(tmp_path: Path) -> None:
    """28 and 58 seconds in which one picture stays: longer than a segment may be."""
    report = built(write(tmp_path / "a.mp4", SCENES, GAPS))
    with IndexFile(report.index) as index:
        spans = [(segment.start, segment.end) for segment in index.segments]
    assert len(spans) >= 7  # 91 s in stretches of at most 16
    assert any(abs(start - 30) < 0.1 for start, _ in spans) and any(abs(start - 90) < 0.1 for start, _ in spans)


@pytest.mark.parametrize("reader", READERS)
def test_thumbnails_of_turned_movies_are_upright(reader: str, tmp_path: Path) -> None:
    movie = write(tmp_path / "a.mp4", [corners()] * 50, rotation=90)
    upright = read_clip(movie, lambda *_: [0.0], lambda image: image).frames[0]
    found = thumbnail(built(movie, reader=reader), 0)
    assert found.shape == upright.shape == (64, 48, 3)
    assert np.abs(found.astype(int) - upright).mean() < 16


# ---- a model that wants the very frames


class Remembering(FakeVLM):
    """Keeps the clips that it saw."""

    def __init__(self, exact: bool) -> None:
        super().__init__()
        self.exact = exact
        self.clips: list[Clip] = []

    @property
    def sampling(self) -> FrameSampling:
        return FrameSampling(lambda duration, fps: [0.0, 0.23, 1.1], super().sampling.shrink, self.exact)

    def encode(self, clips: Any, features: Any = None) -> Any:
        self.clips += clips
        return super().encode(clips, features)


@pytest.mark.parametrize("exact", [False, True])
def test_models_that_want_exact_frames_get_them(exact: bool, tmp_path: Path) -> None:
    vlm = Remembering(exact)
    movie = write(tmp_path / "a.mp4", SCENES)
    model = fake_model()
    object.__setattr__(model, "vlm", vlm)
    report = built(movie, model, detector="fixed:2")
    wanted = [
        read_clip(movie, vlm.sampling.times, vlm.sampling.shrink, start=segment.start, end=segment.end)
        for segment in IndexFile(report.index).segments
    ]
    assert len(wanted) == 3 and len(vlm.clips) == 4  # the last one is the chapter's
    same = [
        clip.times == other.times and all(np.array_equal(a, b) for a, b in zip(clip.frames, other.frames, strict=True))
        for clip, other in zip(vlm.clips[:3], wanted, strict=True)
    ]
    assert same == [exact] * 3


# ---- damage and stalls


@pytest.fixture
def long_movie(tmp_path: Path) -> Path:
    frames = joined(scene(number, 50, (160, 120)) for number in range(8))  # 16 s, a key frame every second
    return write(tmp_path / "a.mp4", frames, options={"g": "25"}, container_options={"movflags": "faststart"})


@pytest.mark.parametrize("reader", ["auto", *READERS])
def test_a_damaged_stretch_is_told_with_its_time_and_the_rest_is_indexed(reader: str, long_movie: Path) -> None:
    report = built(damage(long_movie, 0.5, 2000), reader=reader)
    assert end(report) == pytest.approx(16.0, abs=0.2)
    times = [float(number) for notice in report.notices for number in re.findall(r"(\d+\.\d+) s", notice)]
    assert report.notices and any(4 < time < 12 for time in times), report.notices


def test_a_download_that_broke_off_is_indexed_as_far_as_it_goes(long_movie: Path) -> None:
    report = built(truncate(long_movie, 0.6))
    assert 6 < end(report) < 13
    assert any("the rest is missing" in notice and "16.00 s" in notice for notice in report.notices)


class Stuck(PyAVReader):
    """Stops for ever before a frame at or after 5 s; `broken` says so instead of hanging."""

    broken = False
    go_on = threading.Event()

    def frames(self, start: float = 0.0) -> Iterator[Any]:
        for frame in super().frames(start):
            if frame.time >= 5.0:
                if self.broken:
                    raise ReaderError("the disk is gone")
                self.go_on.wait()
            yield frame


def read_by(patch: pytest.MonkeyPatch, name: str, broken: bool) -> None:
    """Have a reader of that name stall or break at 5 s; what stalls is given up soon."""
    Stuck.broken, Stuck.go_on = broken, threading.Event()
    openers = {**readers.OPENERS, name: Stuck}

    def read_impatiently(*arguments: Any, **named: Any) -> Any:
        return read_frames(*arguments, **{**named, "stall_timeout": 0.5, "openers": openers})

    patch.setattr(segmentation, "read_frames", read_impatiently)


@pytest.mark.parametrize("broken", [False, True])
def test_where_pyav_stalls_or_breaks_no_other_library_reads_the_file(
    broken: bool, long_movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        read_by(patch, "pyav", broken)
        with pytest.raises(ChunkV2LError, match=r"can't be read on at 4\.96 s: (no picture came|the disk is gone)"):
            build(long_movie, model=fake_model())
        Stuck.go_on.set()
    report = built(long_movie)
    assert end(report) == pytest.approx(16.0, abs=0.1) and report.notices == ()


@needs_decord
@pytest.mark.parametrize("broken", [False, True])
def test_where_decord_stalls_or_breaks_pyav_goes_on(
    broken: bool, long_movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = built(long_movie, out=long_movie.with_name("whole.idx"))
    read_by(monkeypatch, "decord", broken)
    report = built(long_movie, reader="decord")
    Stuck.go_on.set()
    (notice,) = report.notices
    assert "The reader decord is given up at 4.9" in notice and "pyav goes on" in notice
    with IndexFile(report.index) as index, IndexFile(whole.index) as undisturbed:
        assert len(index) == len(undisturbed)
        for segment, expected in zip(index.segments, undisturbed.segments, strict=True):
            assert (segment.start, segment.end) == pytest.approx((expected.start, expected.end), abs=0.1)
