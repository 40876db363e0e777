"""Digests of the rows of an unfinished index, by which a build knows that it goes on with what it has stored.

Each table's digest is a chain: the SHA-256 of the digest before and of the row, so that storing a batch costs the batch
only. Rows that were damaged on the disk don't match. Somebody who plants a whole file can compute them anew.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

KEY: Final = "digests"
"""Key of the meta value that holds them while an index is unfinished: {table: hexadecimal}."""
COLUMNS: Final[Mapping[str, str]] = {
    "segments": "id, start, end, caption, code, mu, key, thumbnail",  # what is said is known from the subtitles
    "chapters": "id, first, last, code",
    "cues": "id, start, end, text, source, confidence, words",
    "tags": "id, segment, name, p",
}
"""Tables that are digested, and their columns."""


def extend_digest(digest: str, rows: Iterable[Sequence[object]]) -> str:
    """Return a table's digest, hexadecimal, after more rows; that of an empty table is ""."""
    for row in rows:
        chain = hashlib.sha256(digest.encode())
        for value in row:
            encoded = _encode(value)
            chain.update(struct.pack(">cQ", encoded[:1], len(encoded)))
            chain.update(encoded)
        digest = chain.hexdigest()
    return digest


def _encode(value: object) -> bytes:
    if value is None:
        return b"n"
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, (int, float)):
        return b"f" + struct.pack(">d", value)
    raise TypeError(f"SQLite stores no {type(value).__name__}")
