"""Identify a movie by its content: size and SHA-256, sampled for large files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

WHOLE: Final = 64 << 20  # bytes: larger movies are fingerprinted by samples
SAMPLES: Final = 64
SAMPLE: Final = 256 << 10  # bytes


def fingerprint(movie: Path) -> dict[str, Any]:
    """Return {"size": bytes, "sha256": hex digest} of a movie's content.

    Up to 64 MiB the whole file is hashed; of a larger one 64 evenly spread blocks of 256 KiB, its first and last bytes
    among them: cutting or encoding anew changes all of them, and an eight-hour file costs no second pass over the disk.
    """
    size = movie.stat().st_size
    digest = hashlib.sha256()
    with movie.open("rb") as file:
        if size <= WHOLE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            for i in range(SAMPLES):
                file.seek((size - SAMPLE) * i // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return {"size": size, "sha256": digest.hexdigest()}
