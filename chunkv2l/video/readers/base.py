"""The interface of readers: the frames of a movie in order of presentation; pixels only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo

Image = NDArray[np.uint8]


class Frame(Protocol):
    """A decoded frame; several threads may ask it for pictures at a time."""

    @property
    def time(self) -> float:
        """Presentation time, seconds on the movie's timeline."""
        ...

    @property
    def duration(self) -> float:
        """Seconds that the frame is shown by what the file says; 0 where it doesn't say."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the frame takes."""
        ...

    def small(self, width: int, height: int) -> Image:
        """Return uint8 BGR [height, width, 3] as stored, not turned upright, for scene detection."""
        ...

    def picture(self, side: int | None = None) -> Image:
        """Return uint8 RGB [H, W, 3], upright, with square pixels: [info.height, info.width, 3].

        Args:
            side: pixels that the longer side has at most; larger pictures are scaled down by area.
        """
        ...


def fitted(width: int, height: int, side: int | None) -> tuple[int, int]:
    """Return width and height, scaled down so that the longer one is `side` pixels at most."""
    scale = 1.0 if side is None else min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class Reader(Protocol):
    """An open movie. It is used and closed by one thread."""

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """Yield every frame whose time is ≥ start (seconds), in order, times strictly ascending.

        Pictures that can't be decoded are skipped with a note that names the time.

        Raises:
            ReaderError: the reader can't go on.
        """
        ...

    def close(self) -> None: ...


Opener = Callable[[MovieInfo, int | None, Notes], Reader]
"""Opens a movie, given the `side` of the largest picture that will be asked for (None: whole pictures) and where notes
go. Raises ReaderError where that fails."""


class ReaderError(ChunkV2LError):
    """This reader can't read the movie, or can't go on; another one may."""


def count_frames(info: MovieInfo, room: int, most: int) -> int:
    """Return how many decoded frames of a movie may be kept at a time: at least 1, at most `most`.

    Args:
        room: bytes that they may take.
    """
    return max(1, min(most, room // max(1, info.picture_bytes)))
