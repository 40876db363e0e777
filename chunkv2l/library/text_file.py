"""library.text: words and vectors of a folder's indexes in one SQLite file, from which a question's movies are chosen.

Like library.keys it is a copy of what the indexes hold, replaced whole where it doesn't fit them, and may come from
anybody: it is opened read-only with a schema that must be exactly ours, and its blobs are bounded before they are read.
It can make a question miss a movie, and nothing else. Of texts, only full-text search's lists are in it.

Each movie has a range of rows: one a segment (caption, subtitles, tags), then one a sentence. The rows of a movie that
changed or is gone stay in the full-text index, in no movie's range, until they are half of all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chunkv2l.channels.cues import Channel
from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write
from chunkv2l.index.cue_rows import MAX_CUES
from chunkv2l.index.database import Database, read_header
from chunkv2l.index.schema import MAX_SEGMENTS, Malformed, SchemaRow, read_schema
from chunkv2l.index.tensors import MAX_KEY
from chunkv2l.index.validation import compare_schema
from chunkv2l.library.folder import MOST_FILES
from chunkv2l.library.keys_file import Damaged, Foreign
from chunkv2l.library.sketches import Sketches, Vectors, count_words, make_sketches, to_bytes
from chunkv2l.sanitize import is_line

logger = logging.getLogger(__name__)

NAME: Final = "library.text"
APPLICATION_ID: Final = 0x63763274  # "cv2t"
VERSION: Final = 1
MOST_ROWS: Final = 60_000_000
"""Rows of all movies, those of movies that are gone included."""
SCHEMA: Final = (
    # id: the movie's first row; width: components of its sentences' vectors, 0 without; channels: a byte a sentence
    "CREATE TABLE movies ("
    "id INTEGER PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, "
    "segments INTEGER NOT NULL, sentences INTEGER NOT NULL, width INTEGER NOT NULL, "
    "channels BLOB NOT NULL, sketches BLOB NOT NULL)",
    # id: the sentence's row; vector: a byte a component
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
    "CREATE TABLE following (id INTEGER PRIMARY KEY, row INTEGER NOT NULL)",  # 0: the first row that no movie ever had
    "CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, tokenize='porter unicode61')",
)
CHANNEL_BYTES: Final[Mapping[Channel, int]] = {"heard": 1, "read": 2}
_COLUMNS: Final = "name, size, mtime_ns, id, segments, sentences, width"


@dataclass(frozen=True)
class TextRecord:
    """A movie's rows: `segments` from `first` on, then `sentences`.

    Attributes:
        name: its index's path below the folder, with slashes.
        size, mtime_ns: its index's; others mean another content.
        width: components of its sentences' vectors; 0 where they have none.
    """

    name: str
    size: int
    mtime_ns: int
    first: int
    segments: int
    sentences: int
    width: int

    @property
    def end(self) -> int:
        """The row behind its last."""
        return self.first + self.segments + self.sentences


@dataclass(frozen=True)
class MovieTexts:
    """The texts of a movie, as they are added.

    Attributes:
        segments: each one's caption, subtitles and tags.
        sentences: each one's channel and text.
        vectors: the sentences' [n, D]; None where they have none.
    """

    segments: Sequence[str]
    sentences: Sequence[tuple[Channel, str]]
    vectors: Vectors | None


class TextFile:
    """The file, opened for reading. Close it. Threads may share it: they take turns.

    Attributes:
        records: of its movies, in order of their rows.
        following: the first row that no movie ever had.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """
        Args:
            folder: a temporary one that the file lies in, removed with this.

        Raises:
            Damaged: it isn't what `TextUpdate` writes.
            Foreign: there is something else of that name.
            FileNotFoundError: there is no file.
        """
        self.path = path
        if folder is not None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        _check_header(path)
        try:
            self._database = Database(path)
            try:
                with self._database.reading():
                    compare_schema(self._database.connection, _expected_schema())
                    self._database.forbid_changes()
                    self.records = self._read_records()
                    self.following = self._read_following()
            except BaseException:
                self._database.close()
                raise
        except InputError as error:
            raise Damaged(str(error)) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def discard(self) -> None:
        """Close the file and remove it: it is damaged."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _read_records(self) -> tuple[TextRecord, ...]:
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM movies ORDER BY id LIMIT ?", (MOST_FILES + 1,))
        records: list[TextRecord] = []
        end = 1
        for name, *numbers in rows:
            if not is_line(name) or not all(type(number) is int for number in numbers):
                raise Malformed("a movie's record has a value that can't be")
            record = TextRecord(name, *numbers)
            is_sound = (
                record.first >= end
                and 0 < record.segments <= MAX_SEGMENTS
                and 0 <= record.sentences <= MAX_CUES
                and 0 <= record.width <= MAX_KEY
                and record.end <= MOST_ROWS
            )
            if not is_sound:
                raise Malformed("a movie's record has a number that can't be")
            end = record.end
            records.append(record)
        if len(records) > MOST_FILES or len({record.name for record in records}) < len(records):
            raise Malformed("it has movies twice, or too many")
        if sum(record.sentences * (1 + record.width // 8) for record in records) > self._database.bytes:
            raise Malformed("it is too small for that many sentences")
        return tuple(records)

    def _read_following(self) -> int:
        row = self._database.execute("SELECT row FROM following WHERE id = 0").fetchone()
        least = self.records[-1].end if self.records else 1
        if row is None or type(row[0]) is not int or not least <= row[0] <= MOST_ROWS:
            raise Malformed("the number of its rows can't be")
        return row[0]

    @property
    def is_wasteful(self) -> bool:
        """Tell whether most rows are of movies that are gone."""
        return 2 * sum(record.end - record.first for record in self.records) < self.following - 1

    def rows_with(self, word: str, most: int) -> NDArray[np.int64]:
        """Return the rows that have a word, ascending; of more than `most` the first.

        Raises:
            InputError: the file is damaged.
        """
        with self._database.reading():
            rows = self._database.execute("SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", (f'"{word}"', most))
            return np.fromiter((row for (row,) in rows), np.int64)

    def channels(self, records: Sequence[TextRecord]) -> NDArray[np.uint8]:
        """Return the channels of movies' sentences, `CHANNEL_BYTES` each, one movie behind the other."""
        return self._read_blobs("channels", records, 1)

    def sketches(self, records: Sequence[TextRecord]) -> Sketches:
        """Return the sketches of movies' sentences, one movie behind the other; their vectors are of one width."""
        words = count_words(records[0].width) if records else 1
        return self._read_blobs("sketches", records, 8 * words).view(np.uint64).reshape(-1, words)

    def _read_blobs(self, column: str, records: Sequence[TextRecord], bytes_each: int) -> NDArray[np.uint8]:
        values = np.zeros(sum(record.sentences for record in records) * bytes_each, np.uint8)
        begin = 0
        with self._database.reading():
            for record in records:
                length = record.sentences * bytes_each
                row = self._database.execute(
                    f"SELECT CASE WHEN length({column}) = ? THEN {column} END FROM movies WHERE id = ?",
                    (length, record.first),
                ).fetchone()
                if row is None or not isinstance(row[0], bytes):
                    raise Malformed(f"the {column} of {record.name} are missing or of another length")
                values[begin : begin + length] = np.frombuffer(row[0], np.uint8)
                begin += length
        return values

    def vectors(self, rows: Sequence[int], width: int) -> NDArray[np.int8]:
        """Return the vectors of sentences' rows, as `sketches.to_bytes` made them [n, width].

        Raises:
            InputError: some are missing or malformed.
        """
        stored = np.zeros((len(rows), width), np.int8)
        with self._database.reading():
            for position, row in enumerate(rows):
                blob = self._database.execute("SELECT vector FROM vectors WHERE id = ?", (row,)).fetchone()
                if blob is None or not isinstance(blob[0], bytes) or len(blob[0]) != width:
                    raise Malformed(f"the vector of row {row} is missing or of another length")
                stored[position] = np.frombuffer(blob[0], np.int8)
        return stored


class TextUpdate:
    """A new library.text: the known one with the rows of what is new, and without those of what is gone.

    Nothing is written before something differs. `update_text` makes one.
    """

    def __init__(self, path: Path, known: TextFile | None, is_writable: bool, stack: contextlib.ExitStack) -> None:
        self._path, self._stack, self._is_writable = path, stack, is_writable
        self._known = known
        self._records = {} if known is None else {record.name: record for record in known.records}
        self._following = 1 if known is None else known.following
        self._folder: Path | None = None
        self._connection: sqlite3.Connection | None = None

    def has(self, name: str, status: os.stat_result) -> bool:
        """Tell whether an index's rows are there as it is now."""
        record = self._records.get(name)
        return record is not None and (record.size, record.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def keep(self, is_kept: Callable[[str], bool]) -> None:
        """Drop the movies of whose names this doesn't hold."""
        for name in [name for name in self._records if not is_kept(name)]:
            self._drop(name)

    def add(self, name: str, status: os.stat_result, texts: MovieTexts) -> None:
        """Add the words and vectors of an index, instead of those that it had before."""
        vectors = texts.vectors
        record = TextRecord(
            name=name,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            first=self._following,
            segments=len(texts.segments),
            sentences=len(texts.sentences),
            width=0 if vectors is None else vectors.shape[1],
        )
        if record.end > MOST_ROWS:
            return
        connection = self._begin()
        self._drop(name)
        words = (*texts.segments, *(text for _, text in texts.sentences))
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(words, record.first))
        sketches = b""
        if vectors is not None:
            sketches = make_sketches(vectors).tobytes()
            rows = enumerate((row.tobytes() for row in to_bytes(vectors)), record.first + record.segments)
            connection.executemany("INSERT INTO vectors (id, vector) VALUES (?, ?)", rows)
        channels = bytes(CHANNEL_BYTES[channel] for channel, _ in texts.sentences)
        connection.execute(
            f"INSERT INTO movies ({_COLUMNS}, channels, sketches) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(record), channels, sketches),
        )
        self._records[name] = record
        self._following = record.end

    def _drop(self, name: str) -> None:
        record = self._records.pop(name, None)
        if record is not None:
            connection = self._begin()
            connection.execute("DELETE FROM movies WHERE id = ?", (record.first,))
            connection.execute("DELETE FROM vectors WHERE id >= ? AND id < ?", (record.first, record.end))

    def _begin(self) -> sqlite3.Connection:
        """Return the connection to the new file, which begins as a copy of the known one."""
        if self._connection is None:
            part = self._make_part()
            if self._known is not None:
                shutil.copyfile(self._known.path, part, follow_symlinks=False)
            self._connection = sqlite3.connect(part, isolation_level=None)
            self._stack.callback(self._connection.close)
            for pragma in ("trusted_schema = OFF", "journal_mode = OFF", "synchronous = OFF"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute("BEGIN")
            if self._known is None:
                _create(self._connection)
            else:
                compare_schema(self._connection, _expected_schema())
        return self._connection

    def _make_part(self) -> Path:
        if self._is_writable:
            try:
                return self._stack.enter_context(atomic_write(self._path))
            except OSError as error:
                logger.info("%s can't be written (%s): it lies in a temporary folder.", self._path, error)
        self._folder = Path(tempfile.mkdtemp(prefix="chunkv2l-library-"))
        self._path = self._folder / NAME
        return self._stack.enter_context(atomic_write(self._path))

    def finish(self) -> None:
        """Write what is left; the file gets its name after that."""
        if self._connection is not None:
            self._connection.execute("REPLACE INTO following (id, row) VALUES (0, ?)", (self._following,))
            self._connection.execute("COMMIT")
            self._connection.close()
            if self._known is not None:
                self._known.close()

    def open(self) -> TextFile | None:
        """Return the file as it is after the update; None where there never was anything."""
        return self._known if self._connection is None else TextFile(self._path, self._folder)


@contextlib.contextmanager
def update_text(path: Path, known: TextFile | None, is_writable: bool = True) -> Iterator[TextUpdate]:
    """Yield an update of library.text, which takes its place, whole, when the block ends well.

    Args:
        known: the file as it is; None makes it anew.
        is_writable: False writes it to a temporary folder.

    Raises:
        OSError, sqlite3.Error: there is no room for it.
    """
    with contextlib.ExitStack() as stack:
        update = TextUpdate(path, known, is_writable, stack)
        yield update
        update.finish()


def open_text(path: Path) -> TextFile | None:
    """Return library.text, opened; None where there is none.

    Raises:
        Damaged: it isn't what `TextUpdate` writes.
        Foreign: there is something else of that name.
    """
    try:
        return TextFile(path)
    except FileNotFoundError:
        return None


def _check_header(path: Path) -> None:
    """Check a file by its first bytes, before SQLite reads it."""
    try:
        if path.is_symlink():
            raise Foreign(f"{path} is a link")
        header = read_header(path)
    except FileNotFoundError:
        raise
    except (InputError, OSError) as error:
        raise Foreign(f"{path} can't be used ({error})") from error
    if header and not (
        header.startswith(b"SQLite format 3\0") and int.from_bytes(header[68:72], "big") == APPLICATION_ID
    ):
        raise Foreign(f"{path} isn't a file of a library's words")
    if len(header) < 100 or int.from_bytes(header[60:64], "big") != VERSION or header[19] > 1:
        raise Damaged("it is cut off, or of another version")


@cache
def _expected_schema() -> dict[str, SchemaRow]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _create(connection)
        return read_schema(connection)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for statement in SCHEMA:
        connection.execute(statement)
