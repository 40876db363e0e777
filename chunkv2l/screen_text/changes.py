"""Choose the frames that are read: those whose picture isn't the one that was read last, once it stands still.

A text that appears changes a small part of the picture, so pictures are compared block by block. Where everything moves
all the time, a frame is read every few seconds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 176
"""Pixels of the pictures that are compared."""
BLOCK: Final = 16
"""Pixels of a side of the blocks that are compared."""
DIFFERENT: Final = 6.0
"""Mean difference of a block's brightness, of 255, from which on it counts as changed; compression leaves 1 to 2."""
LONGEST_WAIT: Final = 4.0
"""Seconds after which a frame of a picture that never stands still is read."""

Brightness = NDArray[np.float32]


def measure_brightness(picture: NDArray[np.uint8]) -> Brightness:
    """Return the brightness of a BGR picture [176, 320, 3]: float32 [176, 320]."""
    weights = np.array([0.114, 0.587, 0.299], np.float32)
    brightness: Brightness = picture.astype(np.float32) @ weights
    return brightness


def has_changed(before: Brightness, after: Brightness) -> bool:
    """Tell whether any block of a picture has changed."""
    difference = np.abs(after - before).reshape(HEIGHT // BLOCK, BLOCK, WIDTH // BLOCK, BLOCK)
    return bool(difference.mean(axis=(1, 3)).max() >= DIFFERENT)


class ChangeDetector:
    """Says which of the pictures that it is shown, in order of time, are to be read; the first one is."""

    def __init__(self) -> None:
        self._read: tuple[float, Brightness] | None = None
        self._shown: Brightness | None = None

    def is_new(self, time: float, picture: NDArray[np.uint8]) -> bool:
        """Tell whether a picture, BGR [176, 320, 3], is to be read; if so it is the one that others are compared with.

        Args:
            time: seconds.
        """
        brightness = measure_brightness(picture)
        before, self._shown = self._shown, brightness
        if self._read is not None:
            read_at, read = self._read
            if not has_changed(read, brightness):
                return False
            is_moving = before is not None and has_changed(before, brightness)
            if is_moving and time - read_at < LONGEST_WAIT:
                return False
        self._read = time, brightness
        return True
