"""Fuzzing the way from a file to segments: whatever is in it, it is refused with a sentence, or cut as promised.

    python tests/fuzz/fuzz_movies.py --seconds 60

Movies of several kinds are mutated byte by byte and read. A file that crashes the interpreter stays in the folder that
is printed at the start.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from hypothesis import strategies as st

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.segmentation import CutSegment, Resources, cut
from chunkv2l.video.settings import SegmentationSettings
from tests.fuzz.fuzz_segmenter import check
from tests.fuzz.harness import Case, check_time, main
from tests.helpers.media import Image, joined, scene, write

SLOWEST = 20.0
"""Seconds of CPU time that a small file may take, whatever is in it (`harness.check_time`)."""
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
        self.sounds = [write(folder / name, frames, **how) for name, how in kinds.items()]
        self.refused = self.read = 0

    def cases(self) -> list[Case]:
        return [Case(self.movie, (st.integers(0, len(self.sounds) - 1), mutations), 40)]

    def movie(self, which: int, mutation: list[Any]) -> None:
        data = bytearray(self.sounds[which].read_bytes())
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
        started = time.process_time()
        try:
            found = _cut(path)
            check([segment for segment, _, _ in found], 1.0, 16.0)
            for segment, clip, thumbnail in found:
                assert len(clip.frames) == len(clip.times) == 2
                assert all(0 <= t <= segment.duration for t in clip.times)
                assert thumbnail.dtype == np.uint8 and thumbnail.shape[2] == 3
            self.read += 1
        except ChunkV2LError as error:
            assert str(path) in str(error)
            self.refused += 1
        spent = time.process_time() - started
        check_time(spent, SLOWEST, lambda: _cut(path), lambda: [_cut(sound) for sound in self.sounds])

    def __str__(self) -> str:
        return f"{self.refused + self.read} files: {self.refused} refused, {self.read} read"


def _cut(path: Path) -> list[CutSegment]:
    sampling = FrameSampling(lambda duration, fps: [0.0, duration / 2], _half)
    return list(cut(path, sampling, SegmentationSettings(reader="pyav"), resources=Resources(stall_timeout=10)))


def _half(image: Image) -> Image:
    smaller: Image = image[::2, ::2].copy()
    return smaller


if __name__ == "__main__":
    main(__doc__, "movies", Target)
