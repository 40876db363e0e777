"""`chunkv2l verify`: everything that can be checked about an index without its model or its movie."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from PIL import Image

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.validation import open_readonly
from chunkv2l.sanitize import quoted

MOST: Final = 20
"""Findings of one kind that are told."""
MAX_PICTURE: Final = 4096
"""Pixels of a thumbnail's longer side."""


def verify(path: str | Path) -> list[str]:
    """Read an index through and say what is wrong with it.

    Checked: the header and the schema, SQLite's own structures, that segments follow each other from 0 to the end,
    every code, key and thumbnail, chapters, similar segments and subtitles, and that full-text search finds what the
    segments say.

    Returns:
        A sentence for each finding; none if the index is sound.
    """
    path = Path(path)
    try:
        index = IndexFile(path)
    except InputError as error:
        return [str(error)]
    with index:
        findings = list(_structure(path))
        numbers = range(len(index))
        findings += _told(lambda i: index.codes([i]), numbers)
        findings += _told(lambda i: _decode(index, i), numbers)
        findings += _told(lambda _: index.keys(), range(1))
        findings += _told(lambda _: index.chapter_codes(), range(1))
        findings += _told(lambda _: index.similar(), range(1))
        findings += _told(lambda _: index.subtitles(), range(1))
    return findings


def _told(check: Callable[[int], object], numbers: range) -> list[str]:
    """What a check raises for each number, the first few of them."""
    findings: list[str] = []
    for number in numbers:
        try:
            check(number)
        except InputError as error:
            findings.append(str(error))
            if len(findings) == MOST:
                break
    return findings


def _decode(index: IndexFile, number: int) -> None:
    """Decode a thumbnail; a picture that claims to be huge is refused unopened."""
    try:
        with Image.open(io.BytesIO(index.thumbnail(number)), formats=["JPEG"]) as picture:
            if max(picture.size) > MAX_PICTURE:
                raise ValueError(f"it is {picture.width} × {picture.height}")
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The thumbnail of segment {number} of {index.path} can't be shown ({quoted(error)})."
        ) from error


def _structure(path: Path) -> Iterator[str]:
    """SQLite's own checks, and the full-text index against the texts, on a copy in memory."""
    try:
        with (
            contextlib.closing(open_readonly(path)) as connection,
            contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as copy,
        ):
            for (line,) in connection.execute(f"PRAGMA integrity_check({MOST})"):
                if line != "ok":
                    yield f"{path} is damaged: {quoted(line)}."
            connection.backup(copy)
            copy.execute("PRAGMA trusted_schema = OFF")
            copy.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.Error as error:
        yield f"{path} is damaged: search doesn't find what the segments say ({quoted(error)})."
