"""Decode one frame of a movie as a JPEG."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av

from chunkv2l.errors import ChunkV2LError
from chunkv2l.video.container import open_container, timeline
from chunkv2l.video.probe import probe

MOST_DECODED: Final = 1500
"""Frames that are decoded from the key frame on, before the search is given up."""
LONGEST_SIDE: Final = 768
"""Pixels."""
QUALITY: Final = 85


def read_frame(movie: Path, seconds: float, stream: int | None = None) -> bytes:
    """Return the frame that is on screen at a time, upright, as a JPEG of at most `LONGEST_SIDE` pixels a side.

    Raises:
        InputError: not a movie.
        ChunkV2LError: no frame of it can be decoded there.
    """
    info = probe(movie, stream)
    try:
        with open_container(movie) as container:
            video: Any = container.streams[info.stream]
            line = timeline(container, video)
            container.seek(max(0, line.ticks(seconds)), stream=video)
            shown = None
            for frame in islice(container.decode(video), MOST_DECODED):
                if frame.pts is not None and line.at(frame.pts) > seconds and shown is not None:
                    break
                shown = frame
            if shown is not None:
                return _write_jpeg(shown, info.rotation)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ChunkV2LError(f"No frame of {movie.name} can be read at {seconds:g} s.") from error
    raise ChunkV2LError(f"No frame of {movie.name} can be read at {seconds:g} s.")


def _write_jpeg(frame: Any, rotation: int) -> bytes:
    image = frame.to_image()
    if rotation:
        image = image.rotate(rotation, expand=True)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
