"""Clips: the frames on screen at the very moments that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.video.clip import Clip, read_clip
from tests.helpers.media import at, joined, plain, whole, write

GAP = [0.0, 0.04, 0.08, 3.0, 3.04, 3.5]  # seconds: a real gap, and uneven steps


def reds(clip: Clip) -> list[int]:
    return [round(float(frame[..., 0].mean()) / 8) for frame in clip.frames]


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """Ten frames a second for three seconds; frame n is n · 8 red."""
    return write(tmp_path / "counted.mp4", joined(plain((n * 8, 0, 0)) for n in range(30)), fps=10.0)


def test_a_whole_movie_is_sampled_exactly(counted: Path) -> None:
    asked: list[tuple[float, float]] = []

    def sample(duration: float, fps: float) -> list[float]:
        asked.append((duration, fps))
        return [n / fps for n in (0, 7, 14, 29)]

    clip = read_clip(counted, sample, whole)
    assert asked == [(3.0, 10.0)]
    assert clip.times == (0.0, 0.7, 1.4, 2.9)
    assert reds(clip) == [0, 7, 14, 29]
    assert (clip.duration, clip.fps) == (3.0, 10.0)


def test_every_index_over_the_frame_rate_finds_its_frame(tmp_path: Path) -> None:
    rate = 30000 / 1001
    path = write(
        tmp_path / "a.mkv", joined(plain((n * 8, 0, 0)) for n in range(30)), fps=rate
    )  # a clock of milliseconds
    clip = read_clip(path, at(*(n / rate for n in range(30))), whole)
    assert reds(clip) == list(range(30))


def test_a_stretch_of_a_movie(counted: Path) -> None:
    clip = read_clip(counted, at(0.0, 0.5, 99.0), whole, start=1.25, end=2.0)
    assert clip.duration == pytest.approx(0.75)
    assert reds(clip) == [12, 17, 19]  # 12 is on screen when the stretch begins; none from after its end
    assert clip.times == pytest.approx((0.0, 0.45, 0.65))


def test_what_is_seen_in_a_gap_is_the_frame_before(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", joined(plain((n * 40, 0, 0)) for n in range(6)), GAP)
    clip = read_clip(path, at(0.05, 1.5, 2.98, 3.0), whole)
    assert [round(float(f[..., 0].mean()) / 40) for f in clip.frames] == [1, 2, 2, 3]
    assert clip.times == (0.04, 0.08, 0.08, 3.0)
    inside = read_clip(path, at(0.0), whole, start=2.5, end=2.9)
    assert round(float(inside.frames[0][..., 0].mean()) / 40) == 2 and inside.times == (0.0,)


def test_a_stretch_that_is_none(counted: Path) -> None:
    with pytest.raises(InputError, match=r"no picture between 2\.00 and 1\.00 s"):
        read_clip(counted, at(0.0), whole, start=2.0, end=1.0)


def test_clips_are_shrunk(counted: Path) -> None:
    clip = read_clip(counted, at(0.0, 1.0), lambda image: image[:2, :3])
    assert [frame.shape for frame in clip.frames] == [(2, 3, 3)] * 2
