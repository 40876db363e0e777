"""Fuzzing the way from a file to segments: whatever is in it, it is refused with a sentence, or cut as promised.

    python tests/fuzz/fuzz_movies.py --seconds 60

Two targets in turn. The segmenter is fed frames at any times, of any content, and by a detector that reports any cuts,
late, early, twice, out of order. Movies of several kinds are mutated byte by byte and read. A file that crashes the
interpreter stays in the folder that is printed at the start.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from scenedetect.common import FrameTimecode
from scenedetect.detector import SceneDetector

from chunkv2l.cutting import cut
from chunkv2l.errors import ChunkV2LError
from chunkv2l.scenes import DETECTORS, Detector, Segment, make_detector
from chunkv2l.segmenter import Segmenter
from tests.media import Image, joined, scene, write

SLOWEST = 20.0
"""Seconds that a small file may take, whatever is in it."""
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
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.floats(0, 1), st.binary(min_size=1, max_size=24)),
        st.tuples(st.just("set"), st.floats(0, 0.05), st.binary(min_size=1, max_size=8)),  # headers
        st.tuples(st.just("set"), st.floats(0.95, 1), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("fill"), st.floats(0, 1), st.integers(1, 4000)),
        st.tuples(st.just("drop"), st.floats(0, 1), st.integers(1, 4000)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
    ),
    min_size=1,
    max_size=4,
)


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
    """Sound movies, and what happens to mutations of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        logging.getLogger("chunkv2l").addHandler(logging.NullHandler())
        frames = joined(scene(number, 40) for number in range(4))
        gaps = [n * 0.04 if n < 80 else 5 + n * 0.04 for n in range(160)]
        kinds: dict[str, dict[str, Any]] = {
            "a.mp4": {
                "options": {"bf": "2", "g": "25"},
                "container_options": {"movflags": "faststart"},
                "rotation": 90,
            },
            "a.mkv": {"times": gaps},
            "a.ts": {"codec": "mpeg2video"},
            "a.avi": {"codec": "mpeg4"},
            "a.webm": {"codec": "libvpx"},
        }
        self.sounds = [write(folder / name, frames, **how).read_bytes() for name, how in kinds.items()]
        self.refused = self.read = self.streams = 0

    def segmenter(
        self, parts: list[Any], script: list[tuple[int, float]], bounds: tuple[float, float], name: str
    ) -> None:
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

    def movie(self, which: int, mutation: list[Any]) -> None:
        data = bytearray(self.sounds[which])
        for how, where, what in mutation:
            place = int(where * len(data))
            if how == "set":
                data[place : place + len(what)] = what
            elif how == "fill":
                data[place : place + what] = bytes(min(what, len(data) - place))
            elif how == "drop":
                del data[place : place + what]
            else:
                del data[place:]
        path = self.folder / "mutated"
        path.write_bytes(data)
        started = time.perf_counter()
        try:
            found = list(cut(path, lambda duration, fps: [0.0, duration / 2], _half, reader="pyav", stall_timeout=10))
            check([segment for segment, _, _ in found], 1.0, 16.0)
            for segment, clip, thumbnail in found:
                assert len(clip.frames) == len(clip.times) == 2
                assert all(0 <= t <= segment.duration for t in clip.times)
                assert thumbnail.dtype == np.uint8 and thumbnail.shape[2] == 3
            self.read += 1
        except ChunkV2LError as error:
            assert str(path) in str(error)
            self.refused += 1
        assert time.perf_counter() - started < SLOWEST


def check(found: list[Segment], least: float, most: float) -> None:
    """What always holds of a movie's segments."""
    assert found and found[0].start == 0.0
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(segment.duration <= most + NEAR for segment in found)
    assert len(found) == 1 or all(segment.duration >= least - NEAR for segment in found)


def _half(image: Image) -> Image:
    smaller: Image = image[::2, ::2].copy()
    return smaller


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


def fuzz(seconds: float, folder: Path, start: int = 0) -> Target:
    """Try for so long.

    Raises:
        AssertionError, or whatever else was raised: with what led to it.
    """
    target = Target(folder)
    until, number = time.monotonic() + seconds, start

    rule = settings(
        max_examples=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    while time.monotonic() < until:

        @seed(number)
        @rule
        @given(stretches, reports, lengths, st.sampled_from(["", "", *DETECTORS]))
        def segmenter(parts: list[Any], script: list[Any], bounds: tuple[float, float], name: str) -> None:
            target.segmenter(parts, script, bounds, name)

        @seed(number)
        @rule
        @given(st.integers(0, len(target.sounds) - 1), mutations)
        def movie(which: int, mutation: list[Any]) -> None:
            faulthandler.dump_traceback_later(120, exit=True)
            target.movie(which, mutation)
            faulthandler.cancel_dump_traceback_later()

        segmenter()
        movie()
        number += 1
    return target


def main() -> None:
    """Fuzz from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given_arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz_movies_"))
    print(f"mutated files lie in {folder}", flush=True)
    target = fuzz(given_arguments.seconds, folder, given_arguments.seed)
    print(
        f"{target.streams} streams; {target.refused + target.read} files: {target.refused} refused, {target.read} read"
    )


if __name__ == "__main__":
    main()
