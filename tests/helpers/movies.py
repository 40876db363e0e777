"""Small movies made on the spot: scenes of moving coloured blocks with hard cuts between them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import av
import numpy as np


def block_movie(
    path: Path, seconds: Sequence[float] = (2.0,) * 6, fps: int = 10, size: tuple[int, int] = (96, 64), seed: int = 0
) -> Path:
    """A movie of one scene for each of `seconds`, encoded once a process; returns its path."""
    path.write_bytes(_encoded(path.suffix, tuple(seconds), fps, size, seed))
    return path


@cache
def _encoded(suffix: str, seconds: tuple[float, ...], fps: int, size: tuple[int, int], seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"blocks{suffix}"
        _encode(path, seconds, fps, size, rng)
        return path.read_bytes()


def _encode(path: Path, seconds: Sequence[float], fps: int, size: tuple[int, int], rng: np.random.Generator) -> None:
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for length in seconds:
            ground, block = rng.integers(0, 256, (2, 3), dtype=np.uint8)
            x, y = rng.integers(0, width - 16), rng.integers(0, height - 16)
            for i in range(round(length * fps)):
                picture = np.empty((height, width, 3), dtype=np.uint8)
                picture[:] = ground
                left = int(x + i) % (width - 16)
                picture[y : y + 16, left : left + 16] = block
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
