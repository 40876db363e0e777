"""Find the folder in which fetched and converted weights are kept, and hash files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import platformdirs

_BLOCK = 1 << 22


def cache_root() -> Path:
    """Return `CHUNKV2L_CACHE` where that is set, else the platform's folder for caches."""
    chosen = os.environ.get("CHUNKV2L_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("chunkv2l")


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """Return `sha256`, to tell weights apart; a large file in the hub's own cache is named after it, and isn't read."""
    real = path.resolve()
    if real.parent.name == "blobs" and len(real.name) == 64 and set(real.name) <= set("0123456789abcdef"):
        return real.name
    return sha256(real)


def sha256_of_all(paths: Iterable[Path]) -> str:
    """Return one SHA-256 over files and their names, sorted; their folders don't matter."""
    lines = sorted(f"{path.name} {known_sha256(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
