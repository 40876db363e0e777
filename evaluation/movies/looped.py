"""Make a long movie out of a short one, played again and again through different windows."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write
from chunkv2l.video.container import create_container
from chunkv2l.video.probe import probe
from chunkv2l.video.readers import read_frames

SHARE = 0.8
"""Share of the picture's width and height that a window shows."""


def window(number: int, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns that the `number`-th pass shows: the whole picture first, then fixed random windows."""
    if number == 0:
        return slice(0, height), slice(0, width)
    x, y = np.random.default_rng(number).random(2)
    high, wide = max(1, round(height * SHARE)), max(1, round(width * SHARE))
    top, left = round(y * (height - high)), round(x * (width - wide))
    return slice(top, top + high), slice(left, left + wide)


def write(source: Path, target: Path, seconds: float, codec: str = "mpeg4") -> None:
    """Play `source` until `seconds` are full and write it as `target`; its pictures' size and times are kept.

    Raises:
        InputError: `source` is not a movie, or no picture of it can be decoded.
    """
    info = probe(source)
    progress = tqdm(total=round(seconds), unit="s", disable=None)
    with atomic_write(target) as part, create_container(part) as container, progress as bar:
        stream: Any = container.add_stream(codec, rate=Fraction(info.fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = info.width // 2 * 2, info.height // 2 * 2, "yuv420p"
        stream.bit_rate, stream.time_base = 2_000_000, Fraction(1, 60_000)
        stream.codec_context.time_base = Fraction(1, 60_000)
        number, begin, end = 0, 0.0, 0.0
        while begin < seconds:
            for frame in read_frames(info):
                end = begin + frame.time
                if end >= seconds:
                    break
                picture = show_window(frame.picture(), number, stream.width, stream.height)
                raw: Any = av.VideoFrame.from_ndarray(picture, "rgb24")
                raw.pts, raw.time_base = round(end * 60_000), Fraction(1, 60_000)
                container.mux(stream.encode(raw))
                bar.update(round(end) - bar.n)
            if end <= begin and number:
                raise InputError(f"{source} has too few pictures to be repeated: give a longer movie.")
            begin, number = end + 1 / info.fps, number + 1
        container.mux(stream.encode())


def show_window(picture: NDArray[np.uint8], number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return the window of a picture uint8 [H, W, 3] that the `number`-th pass shows, at the given size."""
    rows, columns = window(number, *picture.shape[:2])
    part = np.ascontiguousarray(picture[rows, columns])
    if part.shape[:2] == (height, width):
        return part
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
