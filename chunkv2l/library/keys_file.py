"""library.keys: the keys of a folder's indexes in one file, from which a question's movies are chosen.

It is a copy of what the indexes hold, made anew where it doesn't fit them, and may come from anybody, like them: its
size, its header's hash and each movie's are checked before anything of it is used, no path of it is opened, and what it
leads to is read from the indexes themselves. It can make a question miss a movie, and a list give it another name.

    16 bytes   MAGIC
    8 bytes    length of the header, little-endian
    32 bytes   SHA-256 of the header
    header     JSON: {"size": K, "movies": [fields of `MovieRecord`]}, filled up with spaces to a multiple of 64 bytes
    keys       float32 [segments of all movies that have keys, K]
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chunkv2l.files import atomic_write, is_mostly_hole, parse_json
from chunkv2l.index.meta import MAX_SECONDS
from chunkv2l.index.schema import MAX_SEGMENTS
from chunkv2l.index.tensors import MAX_KEY
from chunkv2l.library.folder import MOST_FILES
from chunkv2l.sanitize import is_finite, is_line

logger = logging.getLogger(__name__)

NAME: Final = "library.keys"
_ANY_VERSION: Final = b"chunkv2l keys "
MAGIC: Final = _ANY_VERSION + b"2\n"
_START: Final = len(MAGIC) + 8 + 32
_ALIGNMENT: Final = 64
_MAX_HEADER: Final = 16 << 20  # bytes: 800 for each of `MOST_FILES` movies
_MOST_BRACKETS: Final = 20 * MOST_FILES  # each makes a list, or is a letter of a name

Keys = NDArray[np.float32]


@dataclass(frozen=True)
class MovieRecord:
    """Numbers and names of an index, as they were when it was read.

    Attributes:
        index: its path below the folder, with slashes.
        size, mtime_ns: its file's; others mean another content.
        name: of the movie, below the folder.
        seconds: the movie's length.
        segments, sentences: how many it has.
        model: the name of its model.
        identity: SHA-256 of the model's identity.
        has_keys: its segments' keys are in the matrix.
        sha256: of its keys.
    """

    index: str
    size: int
    mtime_ns: int
    name: str
    seconds: float
    segments: int
    sentences: int
    model: str
    identity: str
    has_keys: bool
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A movie's record, and its keys [n, K] (None where it has none, or of another size)."""

    record: MovieRecord
    keys: Keys | None


class Damaged(Exception):
    """A library's file isn't what is written there; the message says why."""


class Foreign(Exception):
    """The name is taken by something that isn't a library's file."""


def digest(keys: Keys | None) -> str:
    """Return the SHA-256 of a movie's keys."""
    return hashlib.sha256(b"" if keys is None else np.ascontiguousarray(keys).data).hexdigest()


def write_keys(path: Path, entries: Sequence[Entry]) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: the folder can't be written to.
    """
    size = next((entry.keys.shape[1] for entry in entries if entry.keys is not None), 0)
    values = {"size": size, "movies": [asdict(entry.record) for entry in entries]}
    header = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-(_START + len(header)) % _ALIGNMENT)
    with atomic_write(path) as part, part.open("wb") as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header)
        for entry in entries:
            if entry.keys is not None:
                file.write(np.ascontiguousarray(entry.keys, dtype="<f4").data)
        file.flush()
        os.fsync(file.fileno())


def read_keys(path: Path) -> tuple[list[Entry], Keys | None]:
    """Return the file's movies, and the matrix of all keys, mapped into memory; nothing where there is no file.

    Raises:
        Damaged: a size or a hash is wrong, or a value can't be.
        Foreign: there is something else of that name.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return [], None
    except OSError as error:
        raise Foreign(f"{path} can't be read ({error.strerror})") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Foreign(f"{path} isn't a regular file")
    with os.fdopen(descriptor, "rb") as file:
        magic = file.read(len(MAGIC))
        if magic and not magic.startswith(_ANY_VERSION):
            raise Foreign(f"{path} isn't a file of keys")
        if magic != MAGIC:
            raise Damaged("it is empty, or of another version")
        if status.st_size < _START:
            raise Damaged("it is cut off")
        if is_mostly_hole(status):
            raise Damaged("most of it is a hole")
        length = int.from_bytes(file.read(8), "little")
        sha256 = file.read(32)
        if not 0 < length <= min(_MAX_HEADER, status.st_size - _START):
            raise Damaged("its header has a length that can't be")
        header = file.read(length)
        if hashlib.sha256(header).digest() != sha256:
            raise Damaged("its header isn't what was written")
        if header.count(b"[") + header.count(b"{") > _MOST_BRACKETS:
            raise Damaged("its header has more lists than there can be")
        size, records = _parse(header)
        rows = sum(record.segments for record in records if record.has_keys)
        begin = _START + length
        if begin % _ALIGNMENT or status.st_size != begin + 4 * rows * size:
            raise Damaged("its size doesn't fit its header")
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    matrix = np.frombuffer(mapped, "<f4", rows * size, begin).reshape(rows, size) if rows else None
    return _entries(records, matrix), matrix


def _entries(records: Sequence[MovieRecord], matrix: Keys | None) -> list[Entry]:
    entries: list[Entry] = []
    row = 0
    for record in records:
        keys = None
        if record.has_keys and matrix is not None:
            keys = matrix[row : row + record.segments]
            row += record.segments
        if digest(keys) != record.sha256:
            raise Damaged(f"the keys of {record.index} aren't what was written")
        entries.append(Entry(record, keys))
    return entries


def _parse(header: bytes) -> tuple[int, list[MovieRecord]]:
    try:
        values = parse_json(header.decode())
    except ValueError as error:
        raise Damaged("its header isn't JSON") from error
    if not isinstance(values, dict) or not isinstance(movies := values.get("movies"), list):
        raise Damaged("its header lists no movies")
    size = values.get("size")
    if type(size) is not int or not 0 <= size <= MAX_KEY or len(movies) > MOST_FILES:
        raise Damaged("its header has a size that can't be")
    records = [_parse_record(movie) for movie in movies]
    if len({record.index for record in records}) < len(records) or (
        not size and any(record.has_keys for record in records)
    ):
        raise Damaged("its header contradicts itself")
    return size, records


def _parse_record(values: object) -> MovieRecord:
    names = {field.name for field in fields(MovieRecord)}
    if not isinstance(values, dict) or values.keys() != names:
        raise Damaged("a movie's record has other fields")
    checked: dict[str, Any] = values
    is_sound = (
        all(is_line(checked[name]) for name in ("index", "name", "model", "identity", "sha256"))
        and all(type(checked[name]) is int for name in ("size", "mtime_ns", "segments", "sentences"))
        and 0 < checked["segments"] <= MAX_SEGMENTS
        and checked["sentences"] >= 0
        and is_finite(checked["seconds"])
        and 0 <= checked["seconds"] <= MAX_SECONDS
        and type(checked["has_keys"]) is bool
    )
    if not is_sound:
        raise Damaged("a movie's record has a value that can't be")
    return MovieRecord(**{**checked, "seconds": float(checked["seconds"])})
