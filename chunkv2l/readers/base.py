"""What every reader gives: frames in order of presentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Frame(Protocol):
    """A decoded frame; pixels are converted only when asked for."""

    @property
    def time(self) -> float:
        """Presentation time, seconds on the movie's timeline."""
        ...

    @property
    def duration(self) -> float:
        """Seconds that the frame is shown, as far as the file says (0 where it doesn't)."""
        ...

    def small(self, width: int, height: int) -> Image:
        """uint8 BGR [height, width, 3], as stored (not turned upright): what detection looks at."""
        ...

    def picture(self) -> Image:
        """uint8 RGB [H, W, 3], upright and with square pixels."""
        ...


class Reader(Protocol):
    """Opens a movie and walks through it."""

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """Every frame whose time is ≥ start (seconds, movie timeline), in order, times strictly ascending."""
        ...

    def close(self) -> None: ...
