"""Fuzzing the segmenter: whatever frames and reports come, the segments are what its contract says.

    python tests/fuzz/fuzz_segmenter.py --seconds 60

It is fed frames at any times and of any content, by every detector, and by one that reports any cuts: late, early,
twice, out of order.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from hypothesis import strategies as st
from scenedetect.common import FrameTimecode
from scenedetect.detector import SceneDetector

from chunkv2l.video.detectors import DETECTORS, Detector, Segment, make_detector
from chunkv2l.video.segmenter import Segmenter
from tests.fuzz.harness import Case, main
from tests.helpers.media import Image, scene

NEAR = 1e-5  # seconds

stretches = st.lists(
    st.tuples(
        st.sampled_from(["still", "moving", "noise", "black"]),
        st.integers(0, 5),  # which picture
        st.integers(1, 40),  # frames
        st.sampled_from([1e-6, 0.001, 1 / 60, 0.04, 0.04, 0.5, 7.0, 300.0]),  # seconds from one to the next
    ),
    min_size=0,
    max_size=8,
)
reports = st.lists(st.tuples(st.integers(0, 200), st.floats(-20, 20)), max_size=12)  # at which frame, seconds beside it
lengths = st.sampled_from([(1.0, 16.0), (0.25, 0.5), (2.0, 5.0), (5.0, 300.0)])


class Scripted(SceneDetector):  # type: ignore[misc]
    """Reports what it is told to."""

    def __init__(self, script: list[tuple[int, float]]) -> None:
        super().__init__()
        self._script, self._frame = script, -1

    def process_frame(self, timecode: FrameTimecode, frame_img: Image) -> list[FrameTimecode]:
        self._frame += 1
        beside = [offset for frame, offset in self._script if frame == self._frame]
        return [FrameTimecode(max(0.0, timecode.seconds + offset), fps=timecode) for offset in beside]


class Target:
    """Segmenters, and how many streams they were fed."""

    def __init__(self, folder: Path) -> None:
        self.streams = self.segments = 0

    def cases(self) -> list[Case]:
        return [Case(self.cut, (stretches, reports, lengths, st.sampled_from(["", "", *DETECTORS])), 40)]

    def cut(self, parts: list[Any], script: list[tuple[int, float]], bounds: tuple[float, float], name: str) -> None:
        frames, times = _stream(parts)
        end = times[-1] + 0.04 if times else 1.0
        detector = make_detector(name, *bounds) if name else Detector("scripted", Scripted(script), 2, 1.0, False)
        segmenter = Segmenter(detector, 25.0, *bounds)
        found: list[Segment] = []
        for moment, frame in zip(times, frames, strict=True):
            found += segmenter.push(moment, frame)
            assert segmenter.start <= moment
        found += segmenter.finish(end)
        check(found, *bounds)
        assert abs(found[-1].end - end) < NEAR
        self.streams += 1
        self.segments += len(found)

    def __str__(self) -> str:
        return f"{self.streams} streams, {self.segments} segments"


def check(found: list[Segment], least: float, most: float) -> None:
    """What always holds of a movie's segments."""
    assert found and found[0].start == 0.0
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(segment.duration <= most + NEAR for segment in found)
    assert len(found) == 1 or all(segment.duration >= least - NEAR for segment in found)


def _stream(parts: list[Any]) -> tuple[list[Image], list[float]]:
    frames: list[Image] = []
    times: list[float] = []
    now = 0.0
    for kind, which, count, step in parts:
        if kind == "noise":
            frames += list(np.random.default_rng(which).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8))
        elif kind == "black":
            frames += [np.zeros((12, 16, 3), np.uint8)] * count
        else:
            frames += scene(which, count, (16, 12), drift=0.0 if kind == "still" else 1.0)
        for _ in range(count):
            times.append(now)
            now += step
    return frames, times


if __name__ == "__main__":
    main(__doc__, "segmenter", Target)
