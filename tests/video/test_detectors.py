"""Detectors and the segmenter: what a name stands for, where movies are cut, and what always holds."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenedetect.common import FrameTimecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from chunkv2l.cli import main as cli
from chunkv2l.defaults import DETECTOR
from chunkv2l.errors import InputError
from chunkv2l.video.detectors import DETECTORS, Detector, Segment, load_detector, make_detector
from chunkv2l.video.segmenter import Segmenter
from tests.helpers.fake_vlm import fake_model
from tests.helpers.media import Image, dissolve, joined, plain, scene
from tests.helpers.movies import block_movie

NAMES = [*DETECTORS, "fixed:3"]


def segments(
    frames: Sequence[Image],
    detector: str | Detector = DETECTOR,
    lengths: tuple[float, float] = (1.0, 16.0),
    times: Sequence[float] | None = None,
    end: float | None = None,
) -> list[Segment]:
    """Frames (RGB) at 25 a second, or at `times`, to segments."""
    times = [n / 25 for n in range(len(frames))] if times is None else times
    made = make_detector(detector, *lengths) if isinstance(detector, str) else detector
    segmenter = Segmenter(made, 25.0, *lengths)
    found: list[Segment] = []
    for time, frame in zip(times, frames, strict=True):
        found += segmenter.push(time, np.ascontiguousarray(frame[:, :, ::-1]))
    return found + segmenter.finish(times[-1] + 0.04 if end is None else end)


def borders(*arguments: object, **named: object) -> list[float]:
    """Where segments meet, seconds, rounded to frames."""
    found = segments(*arguments, **named)  # type: ignore[arg-type]
    return [round(segment.end, 2) for segment in found[:-1]]


class At(SceneDetector):  # type: ignore[misc]
    """Reports cuts at given seconds, each when that moment has come."""

    def __init__(self, *cuts: float) -> None:
        super().__init__()
        self.cuts = list(cuts)

    def process_frame(self, timecode: FrameTimecode, frame_img: Image) -> list[FrameTimecode]:
        due = [cut for cut in self.cuts if cut <= timecode.seconds]
        self.cuts = self.cuts[len(due) :]
        return [FrameTimecode(cut, fps=timecode) for cut in due]


def check(found: Sequence[Segment], end: float, lengths: tuple[float, float] = (1.0, 16.0)) -> None:
    """What always holds."""
    assert found[0].start == 0.0 and found[-1].end == pytest.approx(end)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(segment.duration <= lengths[1] + 1e-5 for segment in found)
    if end >= lengths[0]:
        assert all(segment.duration >= lengths[0] - 1e-5 for segment in found)
    else:
        assert len(found) == 1


# ---- names


def test_every_name_makes_a_fresh_detector() -> None:
    for name in NAMES:
        one, other = make_detector(name), make_detector(name)
        assert isinstance(one.algorithm, SceneDetector) and one.algorithm is not other.algorithm
        assert one.name == name


def test_names_are_read_kindly() -> None:
    assert make_detector(" Adaptive ").name == "adaptive"
    assert make_detector("FIXED:8.0").name == "fixed:8"


@pytest.mark.parametrize("name", ["", "adaptve", "adaptive:3", "fixed", "transnet"])
def test_an_unknown_name_is_told_what_exists(name: str) -> None:
    with pytest.raises(InputError, match=r"choose one of mixed, adaptive, content, .*, or fixed:SECONDS"):
        make_detector(name)


@pytest.mark.parametrize("text", ["fixed:", "fixed:x", "fixed:-3", "fixed:0", "fixed:nan", "fixed:inf"])
def test_fixed_needs_a_length(text: str) -> None:
    with pytest.raises(InputError, match="needs a length in seconds"):
        make_detector(text)


def test_fixed_keeps_to_the_allowed_lengths() -> None:
    with pytest.raises(InputError, match="1 to 16 s"):
        make_detector("fixed:30")
    assert make_detector("fixed:30", 1.0, 60.0).name == "fixed:30"
    with pytest.raises(InputError, match="lies outside"):
        make_detector("fixed:0.5")


@pytest.mark.parametrize(("least", "most"), [(0, 16), (-1, 16), (float("nan"), 16), (1, 1.9), (1, float("inf"))])
def test_impossible_lengths(least: float, most: float) -> None:
    with pytest.raises(InputError, match=r"--m(in|ax)-length"):
        make_detector("adaptive", least, most)


def test_adaptive_has_the_benchmarks_best_settings() -> None:
    algorithm = make_detector("adaptive").algorithm
    assert isinstance(algorithm, AdaptiveDetector)
    assert (algorithm.adaptive_threshold, algorithm.window_width, algorithm.min_scene_len) == (3.5, 3, 0.6)


# ---- where movies are cut


@pytest.mark.parametrize("name", ["mixed", "adaptive", "content", "hash", "histogram"])
def test_hard_cuts_are_found_to_the_frame(name: str) -> None:
    frames = joined([scene(1, 60), scene(2, 90), scene(3, 75)])
    assert borders(frames, name) == [2.4, 6.0]


def test_dissolves_are_found_by_the_default_alone() -> None:
    frames = scene(1, 100)
    for seed in (2, 3, 4):
        frames = dissolve(frames, scene(seed, 100), 20)
    assert borders(frames, "content") == []
    found = borders(frames)
    assert len(found) == 3
    for border, middle in zip(found, (3.6, 6.8, 10.0), strict=True):
        assert abs(border - middle) < 0.6


def test_fades_through_black_are_found_by_threshold() -> None:
    def faded(frames: list[Image]) -> list[Image]:
        levels = [min(1.0, n / 12, (len(frames) - 1 - n) / 12) for n in range(len(frames))]
        return [(frame * level).astype(np.uint8) for frame, level in zip(frames, levels, strict=True)]

    frames = joined([faded(scene(1, 100)), plain((0, 0, 0), 25), faded(scene(2, 100))])
    (border,) = borders(frames, "threshold")
    assert 4.0 <= border <= 5.0  # in the dark
    assert segments(frames, "threshold")[-1].end == pytest.approx(9.0)


def test_a_flash_is_no_cut() -> None:
    shot = scene(1, 200, drift=0.1)
    for n in (100, 101):
        shot[n] = np.full_like(shot[n], 255)
    assert len(borders(shot, make_detector("content"))) == 0
    respected = Detector("own", ContentDetector(threshold=31.0, min_scene_len=0.6), 1, 0.6, confirm=False)
    assert len(borders(shot, respected)) > 0


@pytest.mark.parametrize(("frames_of_change", "expected"), [(0, [3.0]), (50, [])])
def test_a_cut_between_shots_that_resemble_each_other(frames_of_change: int, expected: list[float]) -> None:
    """It counts where it is abrupt: a slow change of that size is more often a moving camera than a dissolve."""
    one, other = scene(1, 150, drift=0), scene(2, 150, drift=0)
    frames = []
    for n in range(150):
        share = 0.3 * min(1.0, max(0.0, (n - 74.5 + frames_of_change / 2) / (frames_of_change or 0.01)))
        frames.append(cv2.addWeighted(one[n], 1 - share, other[n], share, 0).astype(np.uint8))
    respected = Detector("own", At(3.0), 0, 0.0, confirm=False)
    assert borders(frames, respected) == [3.0]
    assert borders(frames, Detector("own", At(3.0), 0, 0.0, confirm=True)) == expected


def test_a_short_stretch_goes_to_the_neighbour_that_it_resembles() -> None:
    one, other = scene(1, 75, drift=0), scene(2, 75, drift=0)
    mixed = [cv2.addWeighted(a, 0.65, b, 0.35, 0).astype(np.uint8) for a, b in zip(one[:15], other, strict=False)]
    assert borders([*one, *mixed, *other], make_detector(At(3.0, 3.6))) == [3.6]
    assert borders([*other, *mixed, *one], make_detector(At(3.0, 3.6))) == [3.0]


def test_a_short_beginning_and_a_short_end_are_merged() -> None:
    frames = joined([scene(1, 20), scene(2, 75), scene(3, 20)])
    assert borders(frames, make_detector(At(0.8, 3.8))) == []
    assert borders(frames, make_detector(At(0.8, 3.8)), (0.5, 16.0)) == [0.8, 3.8]


def test_long_shots_are_split_where_they_change_and_not_at_a_ruler() -> None:
    one, other = scene(1, 600), scene(5, 600)
    share = np.clip((np.arange(600) - 270) / 60, 0, 1)  # slowly another picture, around 12 s
    frames = [cv2.addWeighted(a, 1 - s, b, s, 0).astype(np.uint8) for a, b, s in zip(one, other, share, strict=True)]
    (border,) = borders(frames, "content")
    assert abs(border - 12.0) < 0.8


def test_a_still_picture_is_split_in_the_middle() -> None:
    assert borders(plain((9, 9, 9), 500)) == [10.0]


def test_fixed_cuts_at_a_ruler() -> None:
    assert borders(scene(1, 255), "fixed:3") == [3.0, 6.0, 9.0]  # the last is 1.2 s long
    assert borders(scene(1, 240), "fixed:3") == [3.0, 6.0]  # .6 s would be too short


def test_lengths_can_be_chosen() -> None:
    frames = joined([scene(n, 40) for n in range(8)])
    check(segments(frames, "content", (0.5, 2.0)), 12.8, (0.5, 2.0))
    wide = segments(frames, "content", (5.0, 10.0))
    check(wide, 12.8, (5.0, 10.0))
    assert len(wide) < 4


def test_a_detector_of_ones_own() -> None:
    assert borders(scene(1, 160), make_detector(At(2.0, 4.2))) == [2.0, 4.2]


def test_late_cuts_and_cuts_out_of_order_do_no_harm() -> None:
    class Confused(SceneDetector):  # type: ignore[misc]
        def process_frame(self, timecode: FrameTimecode, frame_img: Image) -> list[FrameTimecode]:
            generator = random.Random(timecode.frame_num)
            if generator.random() > 0.05:
                return []
            return [FrameTimecode(generator.uniform(0, timecode.seconds + 3), fps=timecode) for _ in range(3)]

    check(segments(scene(1, 1500), make_detector(Confused())), 60.0)


# ---- time


def test_real_gaps_count_as_time() -> None:
    times = [n / 25 for n in range(50)] + [100 + n / 25 for n in range(50)]
    found = segments(scene(1, 100), times=times)
    check(found, 101.96 + 0.04)
    assert len(found) >= 7


def test_one_frame() -> None:
    assert segments(scene(1, 1), end=0.04) == [Segment(0.0, 0.04)]
    check(segments(scene(1, 1), end=40.0), 40.0)


def test_no_frame() -> None:
    segmenter = Segmenter(make_detector("mixed"), 25.0)
    assert segmenter.finish(3.0) == [Segment(0.0, 3.0)]


# ---- what always holds


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(NAMES),
    least=st.sampled_from([0.3, 1.0, 2.5]),
    most=st.sampled_from([5.0, 16.0]),
)
def test_segments_cover_the_movie_whatever_it_shows(seed: int, name: str, least: float, most: float) -> None:
    generator = random.Random(seed)
    frames: list[Image] = []
    times: list[float] = []
    now = generator.choice([0.0, 0.5])
    for _ in range(generator.randint(1, 12)):
        kind = generator.random()
        count = generator.choice([1, 3, 20, 60])
        step = generator.choice([0.001, 0.04, 0.04, 0.2, 3.0])
        if kind < 0.5:
            frames += scene(generator.randrange(99), count, (16, 12), drift=generator.choice([0, 0.5, 9]))
        elif kind < 0.7:
            frames += plain((generator.randrange(256),) * 3, count, (16, 12))
        else:
            frames += list(np.random.default_rng(seed).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8))
        for _ in range(count):
            times.append(round(now, 6))
            now += step
    end = round(now, 6)
    found = segments(frames, name, (least, most), times, end)
    check(found, end, (least, most))
    assert found == segments(frames, name, (least, most), times, end)


@pytest.mark.parametrize("name", NAMES)
def test_segments_come_soon_and_little_is_held(name: str) -> None:
    """Over a still and a lively stretch, nothing waits longer than two longest segments and the detector's lag."""
    segmenter = Segmenter(make_detector(name), 25.0)
    lively = joined([scene(n, 60, (16, 12)) for n in range(20)])
    frames = plain((50, 50, 50), 1500, (16, 12)) + lively
    for number, frame in enumerate(frames):
        segmenter.push(number / 25, frame)
        assert number / 25 - segmenter.start <= 32 + 16 + 2
        assert len(segmenter) <= 25 * 50


# ---- a detector of one's own from a file

EVERY = """
from scenedetect.detector import SceneDetector

class Every(SceneDetector):
    def __init__(self, seconds=3.0):
        super().__init__()
        self.next = self.seconds = seconds

    def process_frame(self, timecode, frame_img):
        if timecode.seconds < self.next:
            return []
        self.next += self.seconds
        return [timecode]

class Needs(SceneDetector):
    def __init__(self, seconds):
        super().__init__()

def function():
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(EVERY)
    return path


def test_a_build_with_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model())
    movie = block_movie(tmp_path / "movie.mp4", (6.0, 3.5))
    command = ["build", str(movie), "--model", "fake", "--detector", f"{file}:Every"]
    assert cli.run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments"] == 3  # half a second is merged
    assert cli.run(["show", str(tmp_path / "movie.idx"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [segment["end"] for segment in shown["segments"]] == pytest.approx([3.0, 6.0, 9.5], abs=0.11)
    assert shown["settings"]["detector"] == "own:Every"
    assert cli.run(command) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["adaptive", "fixed:8", "what:ever", "adaptive:py"])
def test_other_names_are_left_to_the_build(name: str) -> None:
    assert load_detector(name) == name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing.py:Every", "There is no file"),
        ("{file}:Other", "is no class that derives from"),
        ("{file}:function", "is no class that derives from"),
        ("{file}:Needs", "can't be made without arguments"),
        ("{broken}:Every", "can't be run: ZeroDivisionError"),
    ],
)
def test_what_is_no_detector(file: Path, tmp_path: Path, spec: str, message: str) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    with pytest.raises(InputError, match=message):
        load_detector(spec.format(file=file, broken=broken))
