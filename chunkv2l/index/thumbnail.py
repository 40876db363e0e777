"""Thumbnails as an index stores them, checked by their markers before anything decodes them."""

from __future__ import annotations

from typing import Final

from chunkv2l.index.schema import Malformed

MAX_THUMBNAIL: Final = 1 << 16  # bytes
MAX_SIDE: Final = 1024  # pixels; a build makes 256
MAX_SCANS: Final = 4  # of a baseline JPEG: all components at once, or each alone

_START, _SCAN, _BASELINE = b"\xff\xd8", 0xDA, 0xC0
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that begin a frame, of whatever coding


def check_thumbnail(blob: bytes, subject: str) -> None:
    """Check that bytes are a small baseline JPEG, without decoding it.

    Args:
        subject: names the picture in the error's sentence.

    Raises:
        Malformed: it is something else, larger than 1,024 pixels a side, or coded in many scans.
    """
    if not blob.startswith(_START + b"\xff"):
        raise Malformed(f"{subject} isn't a JPEG")
    height, width = _read_size(blob, subject)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise Malformed(f"{subject} is {width} × {height} pixels")
    if blob.count(bytes((0xFF, _SCAN))) > MAX_SCANS:  # in coded data 0xFF is followed by 0
        raise Malformed(f"{subject} is coded in too many scans")


def _read_size(blob: bytes, subject: str) -> tuple[int, int]:
    """Return (height, width) from the frame header, which must be the one frame before the first scan."""
    position, size = 2, None
    while position + 4 <= len(blob) and blob[position] == 0xFF:
        marker = blob[position + 1]
        if marker == _SCAN:
            break
        length = int.from_bytes(blob[position + 2 : position + 4], "big")
        if marker in _FRAMES:
            if marker != _BASELINE or size is not None or length < 8 or position + 9 > len(blob):
                raise Malformed(f"{subject} isn't a baseline JPEG")
            size = (
                int.from_bytes(blob[position + 5 : position + 7], "big"),
                int.from_bytes(blob[position + 7 : position + 9], "big"),
            )
        position += 2 + max(length, 2)
    if size is None or position + 4 > len(blob) or blob[position + 1] != _SCAN:
        raise Malformed(f"{subject} isn't a baseline JPEG")
    return size
