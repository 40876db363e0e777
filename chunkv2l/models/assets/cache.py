"""Keep fetched and converted weights in a folder of their own, whole and verified, and hash files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import platformdirs
from safetensors import SafetensorError

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import new_folder, parse_json, read_text, write_text
from chunkv2l.sanitize import canonical_json

MANIFEST: Final = "manifest.json"
"""In a folder of the cache: {file: [size, modification time in nanoseconds, SHA-256]}."""
_DOWNLOADS = "downloads"
_BLOCK = 1 << 22


def cache_root() -> Path:
    """Return `CHUNKV2L_CACHE` where that is set, else the platform's folder for caches."""
    chosen = os.environ.get("CHUNKV2L_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("chunkv2l")


def provide(final: Path, fill: Callable[[Path, Path], None]) -> Path:
    """Return a folder of the cache, verified if it is there, made whole if it isn't.

    A file whose size and time are those in the manifest counts as unchanged; any other is hashed again. A folder of an
    earlier version has no manifest and gets one.

    Args:
        final: its path.
        fill: (folder, downloads) puts the folder's files there; the second folder is for what it fetches and is gone
            afterwards, also after a fetch that was killed.

    Raises:
        ChunkV2LError: the folder is damaged, or can't be read or written; and what `fill` raises.
    """
    try:
        if final.is_dir():
            _verify(final)
            return final
        with new_folder(final) as part:
            downloads = part / _DOWNLOADS
            downloads.mkdir()
            fill(part, downloads)
            shutil.rmtree(downloads)
            _write_manifest(part)
    except OSError as error:
        raise ChunkV2LError(
            f"The cache {final} can't be read or written ({error.strerror or error}): mend its permissions, or set "
            "CHUNKV2L_CACHE to another folder."
        ) from error
    return final


@contextmanager
def blaming(folder: Path) -> Iterator[None]:
    """Turn an error of a library that reads a folder of the cache into a sentence about that folder."""
    try:
        yield
    except (SafetensorError, OSError, KeyError, RuntimeError, ValueError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error


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


def _verify(folder: Path) -> None:
    """Raise ChunkV2LError if a file isn't the one that was put into the folder."""
    if not (folder / MANIFEST).exists():
        _write_manifest(folder)
        return
    try:
        entries = parse_json(read_text(folder / MANIFEST))
    except (InputError, ValueError) as error:
        raise _damaged(folder, str(error)) from error
    if not isinstance(entries, dict):
        raise _damaged(folder, f"its {MANIFEST} isn't one")
    changed = False
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, f"{name} is missing")
        status = path.stat()
        if not isinstance(entry, list) or len(entry) != 3:
            raise _damaged(folder, f"its {MANIFEST} isn't one")
        size, time, digest = entry
        if status.st_size == size and status.st_mtime_ns == time:
            continue
        if status.st_size != size or sha256(path) != digest:
            raise _damaged(folder, f"{name} has changed")
        changed = True
    if changed:
        _write_manifest(folder)


def _write_manifest(folder: Path) -> None:
    """Note size, time and hash of every file, if the folder can be written to."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    entries = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, path.stat().st_mtime_ns, sha256(path)]
        for path in paths
    }
    try:
        write_text(folder / MANIFEST, canonical_json(entries) + "\n")
    except OSError:  # a cache that others keep: it is hashed again the next time
        return


def _damaged(folder: Path, reason: str) -> ChunkV2LError:
    return ChunkV2LError(f"The cache {folder} is damaged ({reason}): remove that folder, and it is fetched again.")
