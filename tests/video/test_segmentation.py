"""Cutting in one pass: segments, clips and thumbnails; the same every time; no thread or frame is left."""

from __future__ import annotations

import gc
import logging
import math
import re
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.video import sampling, segmentation
from chunkv2l.video.clip import Clip, read_clip
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Notes
from chunkv2l.video.readers import read_frames
from chunkv2l.video.readers.base import ReaderError
from chunkv2l.video.segmentation import CutSegment, Resources, cut, detect
from chunkv2l.video.settings import SegmentationSettings
from tests.helpers.media import Image, at, colour, corners, joined, plain, scene, truncate, whole, write

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def each_second(duration: float, fps: float) -> list[float]:
    return [float(n) for n in range(max(1, math.ceil(duration)))]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Red for 2 s, green for 3 s, blue for 2.5 s, each with a little texture."""
    grain = np.random.default_rng(0).integers(-20, 20, (48, 64, 3))
    frames = joined([plain(RED, 50), plain(GREEN, 75), plain(BLUE, 63)])
    return write(tmp_path / "colours.mp4", [(frame + grain).clip(0, 255).astype(np.uint8) for frame in frames])


def near(image: Image, expected: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 20 for a, b in zip(colour(image), expected, strict=True))


def test_segments_clips_and_thumbnails_belong_together(colours: Path) -> None:
    items = list(cut(colours, FrameSampling(each_second, whole)))
    assert [(s.start, round(s.end, 2)) for s, _, _ in items] == [(0.0, 2.0), (2.0, 5.0), (5.0, 7.52)]
    for (segment, clip, thumbnail), expected in zip(items, (RED, GREEN, BLUE), strict=True):
        assert clip.duration == segment.duration and clip.fps == 25.0
        assert len(clip.frames) == len(clip.times) == len(each_second(segment.duration, 25.0))
        assert all(near(frame, expected) for frame in clip.frames)
        assert near(thumbnail, expected)
        assert all(0 <= t < segment.duration for t in clip.times) and list(clip.times) == sorted(clip.times)


def test_detect_gives_the_same_segments(colours: Path) -> None:
    assert detect(colours) == [segment for segment, _, _ in cut(colours, FrameSampling(each_second, whole))]


def test_the_same_every_time(colours: Path) -> None:
    def slowly(image: Image) -> Image:
        time.sleep(0.002)
        return image

    once, again = (
        list(cut(colours, FrameSampling(each_second, whole))),
        list(cut(colours, FrameSampling(each_second, slowly))),
    )
    for (s1, c1, t1), (s2, c2, t2) in zip(once, again, strict=True):
        assert s1 == s2 and c1.times == c2.times
        assert all(np.array_equal(a, b) for a, b in zip((*c1.frames, t1), (*c2.frames, t2), strict=True))


def counted(folder: Path, count: int = 250, fps: float = 25.0, times: list[float] | None = None) -> Path:
    """Frame n is n grey."""
    return write(folder / "counted.mkv", joined(plain((n % 256,) * 3) for n in range(count)), times, fps=fps)


def greys(clip: Clip) -> list[int]:
    return [round(float(frame.mean())) for frame in clip.frames]


def test_sampled_frames_are_as_near_as_promised(tmp_path: Path) -> None:
    path = counted(tmp_path)
    moments = [0.0, 1.23, 2.5, 3.71, 9.9]
    ((_, clip, _),) = cut(path, FrameSampling(at(*moments), whole), SegmentationSettings("fixed:16"))
    exact = read_clip(path, at(*moments), whole)
    assert all(abs(a - b) <= 0.5 / sampling.KEEP_RATE + 0.02 for a, b in zip(clip.times, exact.times, strict=True))
    assert clip.times != exact.times
    assert all(abs(grey - 25 * t) <= 2 for grey, t in zip(greys(clip), clip.times, strict=True))


def test_every_frame_can_be_kept(tmp_path: Path) -> None:
    path = counted(tmp_path)
    moments = [0.0, 1.23, 2.5, 3.71, 9.9]
    ((_, clip, _),) = cut(path, FrameSampling(at(*moments), whole, exact=True), SegmentationSettings("fixed:16"))
    exact = read_clip(path, at(*moments), whole)
    assert clip.times == exact.times and greys(clip) == greys(exact)


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_frames_that_find_no_room_are_shrunk_early_and_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    path = counted(tmp_path, 200)
    moments = at(*(n / 4 for n in range(12)))
    shrunk: list[str] = []
    most: list[int] = []

    def shrink(image: Image) -> Image:
        shrunk.append(threading.current_thread().name)
        return image[::2]

    class Counting(sampling.Sampler):
        def keep(self, frame: sampling.KeptFrame) -> None:
            super().keep(frame)
            most.append(self.nbytes)

    def cut_with(room: int) -> list[CutSegment]:
        shrunk.clear()
        most.clear()
        monkeypatch.setattr(segmentation, "Sampler", Counting)
        settings = SegmentationSettings("fixed:4", reader=reader)
        return list(cut(path, FrameSampling(moments, shrink, exact=True), settings, resources=Resources(room)))

    ample = cut_with(1 << 30)
    frame_bytes = max(most) // most.index(max(most))  # about
    assert max(most) > 100 * frame_bytes and len(shrunk) == 24
    scarce = cut_with(20 * frame_bytes)
    assert max(most) <= 20 * frame_bytes and len(shrunk) > 150
    for (s1, c1, t1), (s2, c2, t2) in zip(ample, scarce, strict=True):
        assert s1 == s2 and c1.times == c2.times and np.array_equal(t1, t2)
        assert all(np.array_equal(a, b) for a, b in zip(c1.frames, c2.frames, strict=True))
    assert {name.rpartition("_")[0] for name in shrunk} == {"chunkv2l-shrink"}
    assert not decoding()


def test_exact_pictures_are_whole_and_others_as_large_as_models_look(tmp_path: Path) -> None:
    path = write(tmp_path / "large.mp4", scene(1, 30, (1280, 720)))
    sizes: list[tuple[int, ...]] = []

    def shrink(image: Image) -> Image:
        sizes.append(image.shape)
        return image[:4, :4]

    for exact, size in ((False, (288, 512, 3)), (True, (720, 1280, 3))):
        sizes.clear()
        ((_, clip, thumbnail),) = cut(path, FrameSampling(at(0.0, 0.5), shrink, exact))
        assert sizes == [size] * 2  # of those that the clip is made of only
        assert [frame.shape for frame in clip.frames] == [(4, 4, 3)] * 2
        assert thumbnail.shape == (144, 256, 3)


def test_a_frame_that_stays_is_seen_as_long_as_it_stays(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 6.0, 6.04, 6.08]
    path = counted(tmp_path, 6, times=times)
    ((_, clip, _),) = cut(path, FrameSampling(at(0.05, 2.0, 5.9, 6.05), whole), SegmentationSettings("fixed:16"))
    assert greys(clip)[1:3] == [2, 2]  # the last one before the gap, although it is not the first of its stretch
    assert clip.times[1:3] == (0.08, 0.08)
    halves = list(cut(path, FrameSampling(at(0.0), whole), SegmentationSettings("fixed:3")))
    assert [greys(clip) for _, clip, _ in halves] == [[0], [2]]
    assert halves[1][1].times == (0.0,)


def test_times_beyond_the_end_give_the_last_picture(tmp_path: Path) -> None:
    ((_, clip, _),) = cut(counted(tmp_path, 50), FrameSampling(at(0.0, 99.0), whole))
    assert greys(clip)[1] >= 46


def test_sixty_frames_a_second_are_cut_alike(tmp_path: Path) -> None:
    frames = joined([scene(1, 150, drift=0.2), scene(2, 210, drift=0.2)])
    slow = write(tmp_path / "30.mp4", frames[::2], fps=30.0)
    fast = write(tmp_path / "60.mp4", frames, fps=60.0)
    assert [round(s.end, 2) for s in detect(slow)] == [2.5, 6.0]
    assert [round(s.end, 2) for s in detect(fast)] == pytest.approx([2.5, 6.0], abs=0.03)


def test_pictures_and_thumbnails_are_upright(tmp_path: Path) -> None:
    upright = corners((96, 64))
    stored = np.ascontiguousarray(np.rot90(upright, -1))
    path = write(tmp_path / "a.mp4", [stored] * 30, rotation=90)
    ((_, clip, thumbnail),) = cut(path, FrameSampling(at(0.0), whole))
    for picture in (clip.frames[0], thumbnail):
        assert picture.shape == (64, 96, 3) and picture.dtype == np.uint8
        assert np.abs(picture.astype(int) - upright).mean() < 12


def test_thumbnails_are_small_and_never_enlarged(tmp_path: Path) -> None:
    large = write(tmp_path / "large.mp4", plain(RED, 5, (640, 360)))
    assert next(iter(cut(large, FrameSampling(at(0.0), whole))))[2].shape == (144, 256, 3)
    tall = write(tmp_path / "tall.mp4", plain(RED, 5, (360, 640)))
    assert next(iter(cut(tall, FrameSampling(at(0.0), whole))))[2].shape == (256, 144, 3)


def test_one_frame_and_a_short_movie(tmp_path: Path) -> None:
    ((segment, clip, _),) = cut(write(tmp_path / "one.mp4", plain(RED)), FrameSampling(at(0.0), whole))
    assert segment.start == 0.0 and 0 < segment.end <= 0.5 and near(clip.frames[0], RED)
    ((segment, _, _),) = cut(write(tmp_path / "short.mp4", plain(RED, 10)), FrameSampling(at(0.0), whole))
    assert segment.end == pytest.approx(0.4)


def test_a_clock_that_starts_late_starts_at_zero(tmp_path: Path) -> None:
    frames = joined([scene(1, 75), scene(2, 75)])
    path = write(tmp_path / "a.mkv", frames, start=7.0)
    assert [(s.start, s.end) for s in detect(path)] == [(0.0, 3.0), (3.0, 6.0)]


def test_the_first_segment_begins_with_the_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", scene(1, 50), start=1.5, sound=(0.5, 3.0))
    ((segment, clip, _),) = cut(path, FrameSampling(at(0.0, 2.0), whole))
    assert segment.start == 0.0 and segment.end == pytest.approx(3.0, abs=0.05)
    assert clip.times == pytest.approx((1.0, 2.0), abs=0.1)  # the first picture is the first there is


# ---- what goes wrong


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"detector": "best"}, "no scene detector"),
        ({"reader": "vlc"}, "no reader"),
        ({"min_length": 0.0}, "--min-length"),
    ],
)
def test_bad_settings(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SegmentationSettings(**options)


def test_a_truncated_movie_is_cut_as_far_as_it_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = joined(scene(n, 75, (160, 120)) for n in range(6))
    path = write(tmp_path / "a.mp4", frames, options={"g": "25"}, container_options={"movflags": "faststart"})
    with caplog.at_level(logging.WARNING, "chunkv2l"):
        segments = detect(truncate(path, 0.5))
    assert 2 <= len(segments) < 6 and segments[-1].end < 15
    assert "the file promises 18.00 s: the rest is missing" in caplog.text


def test_a_movie_that_lasts_longer_than_its_header_says(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{n}.mpg", scene(n, 150), codec="mpeg2video") for n in (1, 2)]
    path = tmp_path / "a.mpg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    notes = Notes()
    items = list(cut(path, FrameSampling(at(0.0), whole), notes=notes))
    assert items[-1].segment.end == pytest.approx(12.0, abs=0.1)
    assert {note.kind for note in notes} == {"clock", "length"}
    assert any(re.search(r"lasts 1[12]\.\d\d s, although the file says [56]\.", note.text) for note in notes)


def test_a_whole_movie_is_cut_without_a_word(colours: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "chunkv2l"):
        detect(colours)
    assert not caplog.messages


def decoding() -> bool:
    return any(thread.name.startswith("chunkv2l-") for thread in threading.enumerate())


def test_closing_stops_the_threads(colours: Path) -> None:
    with closing(cut(colours, FrameSampling(each_second, whole))) as segments:
        next(segments)
    assert not decoding()


def test_an_error_in_the_models_code_comes_through(colours: Path) -> None:
    def broken(image: Image) -> Image:
        raise ZeroDivisionError("in shrink")

    with pytest.raises(ZeroDivisionError, match="in shrink"):
        list(cut(colours, FrameSampling(each_second, broken)))
    assert not decoding()


def test_a_reader_that_gives_nothing(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> Any:
        yield from ()

    monkeypatch.setattr(segmentation, "read_frames", nothing)
    with pytest.raises(ChunkV2LError, match="No picture"):
        detect(colours)


def test_a_reader_that_breaks_off(colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*arguments: Any, **named: Any) -> Any:
        for number, frame in enumerate(read_frames(*arguments, **named)):
            if number == 60:
                raise ReaderError("the disk is gone")
            yield frame

    monkeypatch.setattr(segmentation, "read_frames", breaks)
    with pytest.raises(ReaderError, match="the disk is gone"):
        detect(colours)


# ---- memory


def test_only_the_open_segments_pictures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    references: list[ref[sampling.KeptFrame]] = []

    class Counting(sampling.Sampler):
        def keep(self, frame: sampling.KeptFrame) -> None:
            super().keep(frame)
            counts.append(len(self))
            references.append(ref(frame))

    monkeypatch.setattr(segmentation, "Sampler", Counting)
    path = write(tmp_path / "a.mp4", joined(scene(n % 7, 75) for n in range(16)))
    assert len(list(cut(path, FrameSampling(each_second, whole)))) == 16
    # two segments of 3 s, and what comes until it is known that the second one is over
    assert 6 * sampling.KEEP_RATE < max(counts) <= 8 * sampling.KEEP_RATE
    gc.collect()
    assert len(references) == len(counts) and not any(reference() for reference in references)
