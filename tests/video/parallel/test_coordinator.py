"""Several processes give what one reader gives."""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.smolvlm import inputs
from chunkv2l.video.container import count_picture_bytes
from chunkv2l.video.detectors import make_detector
from chunkv2l.video.frame_sampling import FrameSampling, SampleTimes
from chunkv2l.video.parallel import coordinator, worker
from chunkv2l.video.parallel.coordinator import cut_in_parallel, is_worthwhile, needs_limits, plan_borders
from chunkv2l.video.parallel.worker import Task
from chunkv2l.video.probe import probe
from chunkv2l.video.segmentation import CutSegment, Resources, cut
from chunkv2l.video.settings import SegmentationSettings
from tests.helpers.coded_movies import write_h264
from tests.helpers.media import dissolve, joined, scene, truncate, write

ROOT = Path(__file__).parents[3]
SAMPLING = FrameSampling(
    partial(inputs.sample_times, max_frames=4), partial(inputs.shrink, longest_edge=24), exact=True
)
SETTINGS = SegmentationSettings(max_length=8.0)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of 13 scenes of 2 to 8 s, some of which dissolve into the next."""
    lengths = [75, 50, 200, 110, 60, 90, 150, 80, 120, 55, 180, 100, 130]
    frames = joined(scene(n, lengths[n], (96, 64)) for n in range(7))
    for n in range(7, 13):
        frames = dissolve(frames, scene(n, lengths[n], (96, 64)), 12)
    return write(tmp_path_factory.mktemp("movie") / "a.mkv", frames)


def task(path: Path, sampling: FrameSampling = SAMPLING, settings: SegmentationSettings = SETTINGS) -> Task:
    return Task(str(path), sampling, settings, Resources(coordinator.ROOM))


def serial(path: Path) -> list[CutSegment]:
    return list(cut(path, SAMPLING, SETTINGS))


def same(items: Sequence[CutSegment], expected: Sequence[CutSegment]) -> None:
    assert [item[0] for item in items] == [item[0] for item in expected]
    for (_, clip, view), (_, other, other_view) in zip(items, expected, strict=True):
        assert (clip.times, clip.duration, clip.fps) == (other.times, other.duration, other.fps)
        assert all(np.array_equal(a, b) for a, b in zip(clip.frames, other.frames, strict=True))
        assert np.array_equal(view, other_view)


def test_it_is_what_one_reader_gives(movie: Path) -> None:
    expected = serial(movie)
    assert len(expected) >= 10
    same(list(cut_in_parallel(task(movie), 3, length=13.0, warm=8.0, tail=16.0)), expected)


def test_where_neighbours_never_agree_one_reads_the_rest(movie: Path) -> None:
    ruler = task(movie, replace(SAMPLING, exact=False), replace(SETTINGS, detector="fixed:7"))
    expected = list(cut(movie, ruler.sampling, ruler.settings))
    # The ruler's cuts are everywhere the same, but a tail so short leaves no segment in common.
    same(list(cut_in_parallel(ruler, 2, length=20.0, warm=1.0, tail=0.5)), expected)


def test_parts_grow_and_shrink_again_and_share_the_movie(monkeypatch: pytest.MonkeyPatch) -> None:
    duration = 53.12

    def plan(length: float, shortest: float, workers: int) -> list[float]:
        monkeypatch.setattr(coordinator, "LENGTH", length)
        monkeypatch.setattr(coordinator, "SHORT", shortest)
        return plan_borders(duration, workers)

    for workers in (2, 4):  # too short for parts that grow
        assert plan(90.0, 12.0, workers) == pytest.approx([duration / workers * n for n in range(workers)])
    for length, shortest, lengths in (
        (10.0, 4.0, [4.0, 20 / 3, 10.0, 10.0, 10.0, 20 / 3, 4.0]),
        (6.0, 3.0, [3.0, 4.0, *[6.0] * 7, 4.0, 3.0]),
    ):
        ends = list(accumulate(lengths))
        assert abs(ends[-1] - duration) < length
        expected = [0.0, *(duration / ends[-1] * end for end in ends[:-1])]
        assert plan(length, shortest, 3) == pytest.approx(expected)


def test_closing_it_leaves_no_process(movie: Path) -> None:
    with closing(cut_in_parallel(task(movie), 2, length=13.0, warm=8.0, tail=16.0)) as found:
        first = next(found)
    same([first], serial(movie)[:1])


def test_a_movie_that_ends_early_is_told_once(movie: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "short.mkv").write_bytes(movie.read_bytes())
    short = truncate(tmp_path / "short.mkv", 0.5)
    with caplog.at_level(logging.WARNING, logger="chunkv2l"):
        expected = serial(short)
        told = [record.getMessage() for record in caplog.records]
        caplog.clear()
        same(list(cut_in_parallel(task(short), 2, length=13.0, warm=8.0, tail=16.0)), expected)
    assert told and set(told) <= {record.getMessage() for record in caplog.records}
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records)


def test_what_a_process_says_is_said_here(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = FrameSampling(cast(SampleTimes, partial(make_detector, "none")), SAMPLING.shrink)
    with pytest.raises(InputError, match="no scene detector 'none'"):
        list(cut_in_parallel(task(movie, refusing), 2, length=30.0))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ChunkV2LError, match="process"):
        list(cut_in_parallel(task(movie), 2, length=30.0))


def test_when_it_is_worthwhile(movie: Path) -> None:
    info = probe(movie)
    assert is_worthwhile(info, "cuda", 3, length=20.0)
    assert not is_worthwhile(info, "cpu", 3, length=20.0)
    assert not is_worthwhile(info, "cuda", 1, length=20.0)
    assert not is_worthwhile(info, "cuda", 3), "it is too short"


def test_large_pictures_are_read_within_limits(movie: Path) -> None:
    info = probe(movie)
    bytes_of = {
        "4K": count_picture_bytes(4096, 2160, "yuv420p"),
        "4K of 10 bits": count_picture_bytes(4096, 2160, "yuv420p10le"),
        "8K": count_picture_bytes(7680, 4320, "yuv420p"),
    }
    limited = {name for name, size in bytes_of.items() if needs_limits(replace(info, picture_bytes=size))}
    assert limited == {"4K of 10 bits", "8K"} and not needs_limits(info)


@pytest.mark.parametrize("error", [MemoryError(), BlockingIOError(11, "Resource temporarily unavailable")])
def test_a_process_without_memory_says_so(error: Exception) -> None:
    def read() -> Generator[CutSegment, None, bool]:
        raise error
        yield

    message = worker.send_segments("a.mp4", read(), io.BytesIO(), worker.Outbox(socket.socket()))
    assert message.kind == "input error" and message.text.startswith("a.mp4 takes more memory than it may")


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_a_small_file_that_needs_many_pictures_of_8k(tmp_path: Path) -> None:
    """16 pictures that are referred to, and 16 that wait to be shown: 2.5 GB without limits."""
    path = write_h264(tmp_path / "a.h264", 512, 270, 16, 60)
    assert path.stat().st_size < 1 << 18
    program = (
        "import resource; from tests.video.parallel.test_coordinator import *\n"
        "kinds, said = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN), ''\n"
        "before = resource.getrusage(kinds[0])\n"
        "resources = Resources(coordinator.LIMITED_ROOM)\n"
        "try: list(cut_in_parallel(Task(sys.argv[1], SAMPLING, SETTINGS, resources), 1, length=2.4))\n"
        "except InputError as error: said = str(error)\n"
        "used = [resource.getrusage(kind) for kind in kinds]\n"
        "seconds = sum(each.ru_utime + each.ru_stime for each in used) - before.ru_utime - before.ru_stime\n"
        "print(json.dumps([said, seconds, used[0].ru_maxrss - before.ru_maxrss, used[1].ru_maxrss]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    said, seconds, memory, memory_of_reader = json.loads(done.stdout)
    assert "takes more memory than it may" in said
    assert max(memory, memory_of_reader) < 1_500 << 10 and seconds < 10.0
