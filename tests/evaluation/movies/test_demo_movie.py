"""The demo's movie: its timeline, its pictures, and what is written. No wheel is fetched but in the `long` test."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evaluation.movies import demo_movie
from evaluation.movies.demo_movie import FPS, HEIGHT, SHOTS, WIDTH, Picture, Shot, View


def photograph(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def clip(rate: int, frames: int) -> bytes:
    """A clip whose frame n is grey 40 + 4 n."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for n in range(frames):
            picture = np.full((36, 64, 3), 40 + 4 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def source(**files: bytes) -> Callable[[str], bytes]:
    return lambda name: files[name.split(".")[0]]


def test_the_movie_is_as_long_as_promised_and_its_shots_follow_one_another() -> None:
    begin = demo_movie.starts(SHOTS)
    end = begin[-1] + SHOTS[-1].frames
    assert 60 <= end / FPS <= 90
    rows = demo_movie.moments(SHOTS, "movie")
    windows = [row["relevant_windows"] for row in rows]
    flat = [time for window in windows for time in window[0]]  # type: ignore[index]
    assert flat[0] == 0
    assert flat[-1] == pytest.approx(end / FPS)
    assert flat[1:-1:2] == flat[2::2], "no gap and no overlap"
    assert sum(shot.dissolve > 0 for shot in SHOTS) == 2
    assert len({row["query"] for row in rows}) == len(rows)


def test_crop_is_wide_inside_the_picture_and_where_asked() -> None:
    assert demo_movie.crop((WIDTH, HEIGHT), View()) == (0, 0, WIDTH, HEIGHT)
    assert demo_movie.crop((848, 1000), View(y=0.5)) == (0, 260, 848, 740)
    assert demo_movie.crop((1000, 480), View(x=0.5)) == (76, 0, 924, 480)
    for shot in SHOTS:
        for view in shot.views:
            for size in ((512, 512), (640, 427), (451, 300)):
                left, top, right, bottom = demo_movie.crop(size, view)
                assert 0 <= left < right <= size[0] + 1e-9
                assert 0 <= top < bottom <= size[1] + 1e-9
                assert (right - left) / (bottom - top) == pytest.approx(WIDTH / HEIGHT)


def test_cuts_are_hard_and_dissolves_are_gradual() -> None:
    shots = (Shot("red.png", "", 6), Shot("blue.png", "", 8, dissolve=3), Shot("green.png", "", 4))
    read = source(red=photograph((200, 0, 0)), blue=photograph((0, 0, 200)), green=photograph((0, 200, 0)))
    frames = list(demo_movie.movie(shots, read))
    assert demo_movie.starts(shots) == [0, 3, 11]
    assert len(frames) == 15
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    seen = [tuple(int(value) for value in frame[0, 0]) for frame in frames]
    assert seen[:3] == [(200, 0, 0)] * 3
    assert seen[3:6] == [(150, 0, 50), (100, 0, 100), (50, 0, 150)]
    assert seen[6:11] == [(0, 0, 200)] * 5
    assert seen[11:] == [(0, 200, 0)] * 4


def test_a_photograph_is_panned() -> None:
    wide = np.zeros((48, 200, 3), np.uint8)
    wide[:, 100:] = 255
    out = io.BytesIO()
    Image.fromarray(wide).save(out, "PNG")
    shot = Shot("wide.png", "", 5, views=(View(x=0.0), View(x=1.0)))
    levels = [frame.mean() for frame in demo_movie.movie([shot], source(wide=out.getvalue()))]
    assert levels[0] == pytest.approx(0, abs=1)
    assert levels[-1] == pytest.approx(255, abs=1)
    assert levels == sorted(levels)


def test_a_clip_keeps_its_own_speed() -> None:
    shot = Shot("clip.mp4", "", 10, begin=5)
    levels = [float(frame.mean()) for frame in demo_movie.movie([shot], source(clip=clip(rate=50, frames=30)))]
    expected = [40 + 4 * (2 * (5 + k)) for k in range(10)]  # of 50 frames a second every other one
    assert levels == pytest.approx(expected, abs=3)
    with pytest.raises(ValueError, match=r"clip\.mp4 ends 6 frames before"):
        list(demo_movie.movie([Shot("clip.mp4", "", 16)], source(clip=clip(rate=25, frames=10))))


def test_what_is_written_plays_at_25_frames_a_second(tmp_path: Path) -> None:
    frames = (np.full((HEIGHT, WIDTH, 3), 10 * n, np.uint8) for n in range(12))
    path = tmp_path / "deep" / "movie.mp4"
    assert demo_movie.write(path, frames) == 12
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        assert (stream.codec_context.width, stream.codec_context.height) == (WIDTH, HEIGHT)
        assert stream.codec_context.name == "h264"
    assert times == pytest.approx([n / FPS for n in range(12)])


def test_a_movie_that_fails_halfway_is_not_left_behind(tmp_path: Path) -> None:
    def frames() -> Iterator[Picture]:
        yield np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        demo_movie.write(tmp_path / "movie.mp4", frames())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_demo_movie_from_its_wheels(tmp_path: Path) -> None:
    path = tmp_path / "movie.mp4"
    result = CliRunner().invoke(demo_movie.command, ["-o", str(path)])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == round(rows[-1]["duration"] * FPS)
