"""What plots are put together from: words and boxes placed in inches, round times on a clock, a segment's picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from chunkv2l.errors import InputError

if TYPE_CHECKING:
    from chunkv2l.ask import Index

INK = "#1f2933"
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds between marks on the clock


def tick_seconds(start: float, end: float, most: int = 12) -> list[float]:
    """Round times within [start, end], evenly spaced, at most so many."""
    step = next((step for step in _TICKS if (end - start) / step <= most), None)
    step = step or 3600 * (int((end - start) / 3600 / most) + 1)
    first = -int(-start // step)
    return [float(step * i) for i in range(first, int(end // step) + 1)]


def thumbnail(index: Index, number: int) -> Any | None:
    """A segment's picture as an array, or None where the index has none that can be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(index.file.thumbnail(number)), formats=["JPEG"]) as image:
            return image.convert("RGB")
    except (InputError, OSError, Image.DecompressionBombError):
        return None


def box(figure: Any, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A rectangle given in inches, in shares of the figure."""
    across, up = figure.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def text(figure: Any, x: float, y: float, words: str, **how: Any) -> None:
    """Words at a place in inches, as they are: a "$" in a question starts no formula."""
    across, up = figure.get_size_inches()
    figure.text(
        x / across, y / up, words, **{"color": INK, "va": "top", "parse_math": False, "linespacing": 1.25, **how}
    )
