"""`chunkv2l verify`: check everything about an index that needs neither its model nor its movie.

Nothing is copied: SQLite checks its structures where they are, and what full-text search holds is compared with that of
a new full-text index, in memory, over the segments' texts.
"""

from __future__ import annotations

import contextlib
import io
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final

from PIL.JpegImagePlugin import JpegImageFile

from chunkv2l.channels.cues import SOURCES, ChannelCue
from chunkv2l.errors import InputError
from chunkv2l.index.database import Database
from chunkv2l.index.file import IndexFile
from chunkv2l.index.rows import SegmentRow
from chunkv2l.index.schema import Malformed, apply_migrations
from chunkv2l.sanitize import quoted

MOST: Final = 20
"""Maximum findings reported per check."""
MAX_COMPARED: Final = 1 << 26
"""Letters and cues that all sentences are compared with: each with those of its time, of which there are few."""
THUMBNAIL_SECONDS: Final = 2.0
"""CPU seconds in which thumbnails are decoded: some ten thousand of a build's."""
ROUNDING: Final = 0.01
"""Seconds by which a sentence may lie outside its cues."""

_READ_AT_ONCE: Final = 64  # codes
_VOCABULARY = "SELECT term, doc, col, offset FROM temp.vocabulary"
_SIZES = "SELECT id, sz FROM words_docsize ORDER BY id"
_TOTALS = "SELECT block FROM words_data WHERE id = 1"


def verify(path: str | Path, finished: bool = True) -> list[str]:
    """Read an index through and report what is wrong with it.

    Checked: the header and the schema, SQLite's own structures, that segments follow each other from 0 to the end,
    every code, key and thumbnail (of more than ten thousand, the last ones aren't decoded), chapters, similar segments,
    tags, cues, that the sentences are those of the cues, their vectors, and that full-text search finds what the
    segments say.

    Args:
        finished: as for `IndexFile`.

    Returns:
        A sentence for each finding; none if the index is sound.
    """
    path = Path(path)
    try:
        index = IndexFile(path, finished)
    except InputError as error:
        return [str(error)]
    with index:
        findings = [
            f"{sidecar} is no part of the index: remove it." for sidecar in (index.sidecars() if finished else ())
        ]
        findings += _check_structure(path)
        findings += _check_search(path, index.segments)
        numbers = range(len(index))
        findings += _collect(lambda number: index.codes([number]), _with_faults(index, numbers))
        findings += _collect(_ThumbnailCheck(index), numbers)
        findings += _collect(lambda _: index.keys(), range(1))
        findings += _collect(lambda _: index.chapter_codes(), range(1))
        findings += _collect(lambda _: index.similar(), range(1))
        findings += _collect(lambda _: _check_sentences(index), range(1))
        findings += _collect(lambda _: index.sentence_vectors(), range(1))
        findings += _collect(lambda _: index.tags(), range(1))
    return findings


def _with_faults(index: IndexFile, numbers: range) -> Iterator[int]:
    """Yield the segments of which some have codes that can't be read: those that are read with them."""
    for begin in range(0, len(numbers), _READ_AT_ONCE):
        together = numbers[begin : begin + _READ_AT_ONCE]
        try:
            index.codes(together)
        except InputError:
            yield from together


def _collect(check: Callable[[int], object], numbers: Iterable[int]) -> list[str]:
    """Return the sentences that a check raises for the numbers, `MOST` at most."""
    findings: list[str] = []
    for number in numbers:
        try:
            check(number)
        except InputError as error:
            findings.append(str(error))
            if len(findings) == MOST:
                break
    return findings


def _check_sentences(index: IndexFile) -> None:
    """Raise InputError if the cues can't be read, or a sentence isn't what the cues of its time say.

    The rules by which cues are joined may change from version to version, so they aren't applied again.
    """
    cues = {source: deque(cue for cue in _in_order(index) if cue.source == source) for source in SOURCES}
    current: dict[str, list[ChannelCue]] = {source: [] for source in SOURCES}
    compared = 0
    for sentence in index.sentences():  # in order of their starts
        waiting = cues[sentence.source]
        kept = [cue for cue in current[sentence.source] if cue.end >= sentence.start - ROUNDING]
        while waiting and waiting[0].start <= sentence.end + ROUNDING:
            if (cue := waiting.popleft()).end >= sentence.start - ROUNDING:
                kept.append(cue)
        current[sentence.source] = kept
        texts = [cue.text for cue in kept if cue.start <= sentence.end + ROUNDING]
        compared += sum(map(len, texts)) + len(kept)
        if compared > MAX_COMPARED:
            raise InputError(f"{index.path} is damaged: more of its cues are at the same time than there can be.")
        if "".join(sentence.text.split()) not in "".join("".join(texts).split()):
            raise InputError(f"{index.path} is damaged: its sentences aren't those of its cues.")


def _in_order(index: IndexFile) -> list[ChannelCue]:
    return sorted(index.cues(), key=lambda cue: cue.start)


class _ThumbnailCheck:
    """Check thumbnails: all by their markers, and by decoding them as long as there is time."""

    def __init__(self, index: IndexFile) -> None:
        self._index = index
        self._end = time.thread_time() + THUMBNAIL_SECONDS

    def __call__(self, number: int) -> None:
        """Raise InputError if a segment's thumbnail can't be shown."""
        blob = self._index.thumbnail(number)
        if time.thread_time() > self._end:
            return
        try:
            with JpegImageFile(io.BytesIO(blob)) as picture:
                picture.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"The thumbnail of segment {number} of {self._index.path} can't be shown ({quoted(error)})."
            ) from error


def _check_structure(path: Path) -> list[str]:
    with contextlib.closing(Database(path)) as database:
        return [f"{path} is damaged: {line}." for line in database.check_structure(MOST)]


def _check_search(path: Path, segments: tuple[SegmentRow, ...]) -> list[str]:
    """Compare what full-text search holds with a new full-text index over the segments' texts."""
    try:
        with (
            contextlib.closing(Database(path)) as database,
            contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh,
            database.reading(database.check_seconds),
        ):
            _index_texts(fresh, segments)
            for connection in (database.connection, fresh):
                connection.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, words, instance)")
            for query in (_VOCABULARY, _SIZES, _TOTALS):
                if not _are_equal(database.execute(query), fresh.execute(query)):
                    raise Malformed("search doesn't find what the segments say")
    except InputError as error:
        sentence = str(error)
        return [sentence if "search" in sentence else f"{sentence} (search doesn't find what the segments say)"]
    return []


def _index_texts(connection: sqlite3.Connection, segments: tuple[SegmentRow, ...]) -> None:
    apply_migrations(connection, 0)
    rows = ((row.id, row.start, row.end, row.caption, row.speech) for row in segments)
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, x'', NULL, NULL, x'')", rows)
    connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
    connection.execute("COMMIT")


def _are_equal(rows: sqlite3.Cursor, expected: sqlite3.Cursor) -> bool:
    missing = object()
    return all(row == other for row, other in zip_longest(rows, expected, fillvalue=missing))
