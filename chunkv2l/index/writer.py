"""movie.idx, the write side: the only module that writes the file.

A build writes `OUT.part` with a rollback journal, one transaction a batch, and renames it at the end, so that a build
killed at any moment loses at most the batch in flight. Nothing about the build itself is stored (no clock time, host,
path or duration), so every row is the same to the byte however often the build was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunkv2l.channels.cues import ChannelCue, Sentence, Source
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import atomic_write
from chunkv2l.index.cue_rows import check_cues, write_words
from chunkv2l.index.database import check_part_files
from chunkv2l.index.digests import KEY, extend_digest
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import CHANNEL_KEYS, LISTENING, MAX_NOTES, UNCERTAIN, pack_numbers
from chunkv2l.index.resume import check_part
from chunkv2l.index.schema import APPLICATION_ID, PAGE_SIZE, SCHEMA_VERSION, Malformed, apply_migrations, part_path
from chunkv2l.index.validation import check_schema
from chunkv2l.sanitize import canonical_json

logger = logging.getLogger(__name__)
_UNREADABLE = (sqlite3.Error, UnicodeError)  # the latter where SQLite's message quotes the file


@dataclass(frozen=True)
class NewSegment:
    """A segment to store.

    Attributes:
        start, end: seconds, [start, end).
        caption: generated from the segment's own adapter; "" where captions were switched off.
        code: safetensors bytes of the packed code (`chunkv2l.index.tensors.pack`).
        mu: the segment's mean router score in nats over fixed statements, None where the model doesn't use it.
        key: safetensors bytes of the learned key, tensor "key" [K]; None where the model has none.
        thumbnail: a JPEG.
        speech: the subtitles spoken in it, joined by spaces.
        tags: (name, probability) of what a classifier takes it for, the likeliest first; none without a classifier.
    """

    start: float
    end: float
    caption: str
    code: bytes
    thumbnail: bytes
    mu: float | None = None
    key: bytes | None = None
    speech: str = ""
    tags: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class NewChapter:
    """A chapter to store: its first and last segment (both included), and its own packed code."""

    first: int
    last: int
    code: bytes


class Writer:
    """The unfinished index `OUT.part`, locked against a second build for as long as this object lives.

    The lock is SQLite's own: a write transaction is open at all times (it is begun again right after each commit), so
    that a reader can look at how far the build is while a second writer is refused, and the lock is gone with the
    process, whatever ends it.
    """

    def __init__(self, out: Path, anew: bool = False) -> None:
        """Open or make `OUT.part` and lock it. One that is damaged is thrown away with a warning.

        Args:
            anew: throw away what an interrupted build left, whatever it is.

        Raises:
            InputError: another build is writing it; the folder is missing or can't be written; the file is something
                else.
        """
        self.out = out
        self.path = part_path(out)
        self._connection = self._open()
        if anew and self.stored():
            self.start_over()
        elif fault := check_part(self.path):
            logger.warning("%s can't be gone on with (%s): starting over.", self.path, fault)
            self.start_over()

    @classmethod
    def reopen(cls, out: Path) -> Writer:
        """Copy a finished index to its .part, to which cues can be added, or go on with such a copy.

        Raises:
            InputError: `out` isn't a finished index; another process is writing it, or an unfinished build is there.
        """
        cls.check_free(out)
        part = part_path(out)
        with IndexFile(out) as index:
            origin = index.meta.origin()
        if not os.path.lexists(part):
            with atomic_write(part) as temporary:
                shutil.copyfile(out, temporary)
        writer = cls(out)
        try:
            if not writer.stored():
                writer.discard()
                return cls.reopen(out)  # what was there was damaged
            meta = writer.read_meta()
            if meta.get("segments") != len(writer.stored()):
                raise InputError(f"There is an unfinished build, {part}: finish it with chunkv2l build, or remove it.")
            if any(meta.get(key) != origin.get(key) for key in ("movie", "identity", "settings", "code_shape")):
                logger.warning("%s is of another build of the index: starting over.", part)
                writer.discard()
                return cls.reopen(out)
        except BaseException:
            writer.close()
            raise
        return writer

    @classmethod
    def check_free(cls, out: Path) -> None:
        """Raise InputError if another build is writing `out` now; a look, not a lock."""
        part = part_path(out)
        if os.path.lexists(part):
            _check_part_files(part)
            with contextlib.closing(cls._connect(part)) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except _UNREADABLE as error:
                    raise _opening_error(error, out) from error

    def _open(self) -> sqlite3.Connection:
        _check_part_files(self.path)
        connection = self._connect(self.path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._prepare(connection)
        except Malformed as error:
            logger.warning("%s can't be gone on with (%s): starting over.", self.path, error)
            self._remove(connection)
            return self._open()
        except _UNREADABLE as error:
            connection.close()
            raise _opening_error(error, self.out) from error
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _connect(part: Path) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(part.absolute(), timeout=0, isolation_level=None)  # "file:…" would be a URI
        except sqlite3.Error as error:
            raise InputError(f"Can't write {part} ({error}): choose another place with -o.") from error
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", f"page_size = {PAGE_SIZE}"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make or bring up to date the tables; Malformed where those of an earlier version aren't what they were."""
        if not self.path.exists():
            raise InputError(f"Another build of {self.out} finished just now: run the command again.")
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        is_empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        if is_empty and application in (0, APPLICATION_ID):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            apply_migrations(connection, 0)
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
        elif application != APPLICATION_ID or not 1 <= version <= SCHEMA_VERSION or _is_wal(connection):
            raise InputError(f"{self.path} isn't an unfinished index of this version: remove it and build again.")
        elif version < SCHEMA_VERSION:
            check_schema(connection, version)
            apply_migrations(connection, version)
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA busy_timeout = 60000")  # a reader that looks at the .part delays a commit
        connection.execute("PRAGMA cache_spill = OFF")  # nothing reaches the file before its batch is whole

    def start_over(self) -> None:
        """Throw away what the .part holds: it was made from something else."""
        self.discard()
        self._connection = self._open()

    def discard(self) -> None:
        """Remove the .part and unlock."""
        self._remove(self._connection)

    def _remove(self, connection: sqlite3.Connection) -> None:
        if os.name == "nt":
            connection.close()  # Windows removes no open file
        self.path.unlink(missing_ok=True)  # while locked: whoever else holds the old file finds its name gone
        connection.close()

    def read_meta(self) -> dict[str, Any]:
        """Return the meta table, values decoded from JSON."""
        rows = self._connection.execute("SELECT key, value FROM meta WHERE key != ?", (KEY,))
        return {key: json.loads(value) for key, value in rows}

    def stored(self) -> list[tuple[float, float]]:
        """Return (start, end) of the segments stored so far, in order."""
        return self._connection.execute("SELECT start, end FROM segments ORDER BY id").fetchall()

    def stored_captions(self) -> list[tuple[str, bytes | None]]:
        """Return (caption, key) of the segments stored so far, in order; the key as it is stored."""
        return self._connection.execute("SELECT caption, key FROM segments ORDER BY id").fetchall()

    def stored_speech(self) -> list[str]:
        """Return the speech of the segments stored so far, in order."""
        return [speech for (speech,) in self._connection.execute("SELECT speech FROM segments ORDER BY id")]

    def is_complete(self) -> bool:
        """Tell whether `finish` has stored everything, and the process died before the file had its name."""
        meta = self.read_meta()
        return bool(meta.get("segments") == len(self.stored()) and LISTENING not in meta)

    def codes(self) -> Iterator[bytes]:
        """Yield the packed codes of the segments stored so far, in order."""
        for (number,) in self._connection.execute("SELECT id FROM segments ORDER BY id").fetchall():
            code = self._connection.execute("SELECT code FROM segments WHERE id = ?", (number,)).fetchone()[0]
            assert isinstance(code, bytes)
            yield code

    def stored_chapters(self) -> list[tuple[int, int]]:
        """Return (first, last) of the chapters stored so far, in order."""
        return self._connection.execute("SELECT first, last FROM chapters ORDER BY id").fetchall()

    def write(
        self,
        first: int = 0,
        segments: Sequence[NewSegment] = (),
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Store in one transaction segments numbered from `first` on, and meta values (as JSON).

        Raises:
            ChunkV2LError: the disk is full or can't be written; all earlier transactions stay usable.
        """
        rows = [
            (first + i, s.start, s.end, s.caption, s.speech, s.code, s.mu, s.key, s.thumbnail)
            for i, s in enumerate(segments)
        ]
        with self._transaction() as connection:
            for key, value in sorted((meta or {}).items()):
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, canonical_json(value)))
            connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            if rows:
                without_speech = [(*row[:4], *row[5:]) for row in rows]
                _extend_digests(connection, "segments", without_speech)
            _insert_tags(connection, first, segments)

    def write_given(self, cues: Sequence[ChannelCue], last_speech: str) -> None:
        """Store all cues that were given, and the text spoken in the last segment, in one transaction.

        If they are stored already, what was heard and read since stays; if others are, all cues are replaced.

        Raises:
            ChunkV2LError: as `write`.
        """
        rows = _cue_rows(0, cues)
        with self._transaction() as connection:
            stored = connection.execute("SELECT * FROM cues WHERE source = 'given' ORDER BY id").fetchall()
            if stored != rows or connection.execute("SELECT 1 FROM subtitles LIMIT 1").fetchone():
                for table in ("cues", "sentences", "subtitles"):
                    connection.execute(f"DELETE FROM {table}")
                connection.execute("DELETE FROM meta WHERE key IN (?, ?)", CHANNEL_KEYS)
                connection.executemany("INSERT INTO cues VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                _extend_digests(connection, "cues", rows, anew=True)
            connection.execute(
                "UPDATE segments SET speech = ? WHERE id = (SELECT max(id) FROM segments)", (last_speech,)
            )

    def write_cues(self, cues: Sequence[ChannelCue], meta: Mapping[str, Any]) -> None:
        """Store in one transaction further cues, and meta values (as JSON).

        Raises:
            ChunkV2LError: as `write`.
        """
        with self._transaction() as connection:
            (first,) = connection.execute("SELECT count(*) FROM cues").fetchone()
            rows = _cue_rows(first, cues)
            connection.executemany("INSERT INTO cues VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("DELETE FROM sentences")  # they are of all cues
            if rows:
                _extend_digests(connection, "cues", rows)
            for key, value in sorted(meta.items()):
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, canonical_json(value)))

    def drop_cues(self, source: Source, meta: Mapping[str, Any]) -> None:
        """Remove the cues of a source in one transaction, number the others anew, and store meta values.

        Raises:
            ChunkV2LError: as `write`.
        """
        with self._transaction() as connection:
            columns = "start, end, text, source, confidence, words"
            kept = connection.execute(f"SELECT {columns} FROM cues WHERE source != ? ORDER BY id", (source,)).fetchall()
            rows = [(number, *row) for number, row in enumerate(kept)]
            connection.execute("DELETE FROM cues")
            connection.execute("DELETE FROM sentences")
            connection.executemany("INSERT INTO cues VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            _extend_digests(connection, "cues", rows, anew=True)
            for key, value in sorted(meta.items()):
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, canonical_json(value)))

    def cues(self) -> tuple[ChannelCue, ...]:
        """Return the cues stored so far, those of an earlier version's table `subtitles` first, as given ones."""
        subtitles = self._connection.execute("SELECT start, end, text FROM subtitles ORDER BY id").fetchall()
        rows = self._connection.execute("SELECT start, end, text, source, confidence, words FROM cues ORDER BY id")
        return (*(ChannelCue(start, end, text, "given") for start, end, text in subtitles), *check_cues(rows))

    def write_sentences(self, sentences: Sequence[Sentence], vectors: Sequence[bytes | None]) -> None:
        """Store all sentences with their vectors in one transaction; earlier ones are replaced.

        Raises:
            ChunkV2LError: as `write`.
        """
        rows = [
            (i, sentence.start, sentence.end, sentence.text, sentence.source, vector)
            for i, (sentence, vector) in enumerate(zip(sentences, vectors, strict=True))
        ]
        with self._transaction() as connection:
            connection.execute("DELETE FROM sentences")
            connection.executemany("INSERT INTO sentences VALUES (?, ?, ?, ?, ?, ?)", rows)

    def write_chapters(self, first: int, chapters: Sequence[NewChapter]) -> None:
        """Store in one transaction chapters numbered from `first` on; those stored from there on are replaced.

        Raises:
            ChunkV2LError: as `write`.
        """
        rows = [(first + i, chapter.first, chapter.last, chapter.code) for i, chapter in enumerate(chapters)]
        with self._transaction() as connection:
            connection.execute("DELETE FROM chapters WHERE id >= ?", (first,))
            connection.executemany("INSERT INTO chapters VALUES (?, ?, ?, ?)", rows)
            _extend_digests(connection, "chapters", rows, anew=first == 0)

    def finish(
        self,
        similar: Sequence[tuple[int, int, float]] = (),
        notes: Sequence[Mapping[str, str]] = (),
        uncertain: Sequence[int] | None = None,
    ) -> None:
        """Fill the full-text index, record that the index is complete, read it back, and give it its name.

        Args:
            similar: pairs of similar segments: (a, b, cosine), a < b.
            notes: what the build chose, guessed or dropped: "kind" and "text" of each.
            uncertain: the segments whose captions are uncertain; None where that isn't known.

        Raises:
            ChunkV2LError: the disk is full, what was written isn't what is read, or the file can't be renamed.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM similar")
            connection.executemany("INSERT INTO similar VALUES (?, ?, ?)", similar)
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            count = connection.execute("SELECT count(*) FROM segments").fetchone()[0]
            values = {"segments": count, **({"notes": list(notes)} if notes else {})}
            values |= {} if uncertain is None else {UNCERTAIN: pack_numbers(uncertain)}
            connection.execute("DELETE FROM meta WHERE key IN ('notes', ?, ?, ?)", (UNCERTAIN, KEY, LISTENING))
            for key, value in values.items():
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, canonical_json(value)))
        self.publish()

    def finish_channels(self, notes: Sequence[Mapping[str, str]]) -> None:
        """Record that what is said and written is complete in an index that was copied, and give it its name.

        Args:
            notes: further ones: "kind" and "text" of each.

        Raises:
            ChunkV2LError: as `finish`.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM meta WHERE key IN (?, ?)", (KEY, LISTENING))
            recorded = self.read_meta().get("notes", [])
            kept = [*recorded, *(dict(note) for note in notes if note not in recorded)][:MAX_NOTES]
            if kept:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('notes', ?)", (canonical_json(kept),))
        self.publish()

    def publish(self) -> None:
        """Read the complete .part back and give it its name.

        Raises:
            ChunkV2LError: it is damaged, or can't be renamed.
        """
        self._read_back()
        if os.name == "nt":
            self.close()  # Windows renames no open file
        try:
            os.replace(self.path, self.out)  # while locked: no second build can slip in between
        except OSError as error:
            raise ChunkV2LError(f"Can't rename {self.path} to {self.out.name} ({error.strerror}).") from error
        finally:
            self.close()
        _sync_folder(self.out.parent)

    def _read_back(self) -> None:
        try:
            with IndexFile(self.path, finished=False) as index:
                index.chapters()
                index.similar()
                index.cues()
                index.sentences()
                index.tags()
                faults = index.check_structure()
        except InputError as error:
            faults = [str(error.__cause__ or error)]
        if faults:
            self.discard()
            raise ChunkV2LError(
                f"What was written to {self.path} can't be read back ({faults[0]}), so it was removed. "
                "Run the same command to build anew; if that fails, too, look at the disk."
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The transaction that is open anyway: committed at the end and begun anew, or rolled back and begun anew."""
        connection = self._connection
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            with contextlib.suppress(sqlite3.Error):
                connection.execute("BEGIN IMMEDIATE")
            if isinstance(error, sqlite3.Error):
                raise write_error(error, self.path) from error
            raise
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise write_error(error, self.path) from error

    def close(self) -> None:
        """Unlock; the .part stays where it is, resumable."""
        self._connection.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_part_files(part: Path) -> None:
    """Refuse to write to a .part that is a link or no regular file, or has something strange beside it.

    Raises:
        InputError: names the file.
    """
    try:
        check_part_files(part)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"Can't write {part} ({error.strerror}): choose another place with -o.") from error


def _opening_error(error: Exception, out: Path) -> ChunkV2LError:
    """Say why a .part can't be opened for writing."""
    part = part_path(out)
    if "locked" in str(error):
        return InputError(f"Another build is writing {out} now: wait for it, or choose another -o.")
    is_damaged = any(words in str(error) for words in ("not a database", "malformed", "unsupported file format"))
    if (
        is_damaged or isinstance(error, UnicodeError) or ("readonly" in str(error) and os.access(part, os.W_OK))
    ):  # its header can say so, too
        return InputError(f"{part} isn't an unfinished index that can be resumed: remove it and build again.")
    if "readonly" in str(error) or "unable to open" in str(error):
        return InputError(f"Can't write {part} ({error}): choose another place with -o.")
    return write_error(error, part)


def write_error(error: Exception, path: Path) -> ChunkV2LError:
    """Say what went wrong while writing, and what to do."""
    if "full" in str(error):
        return ChunkV2LError(
            f"The disk is full: {path} keeps what was written. Free some space and run the same command to go on."
        )
    if "locked" in str(error):
        return ChunkV2LError(f"Another process holds {path}: close it and run the same command to go on.")
    return ChunkV2LError(f"Can't write {path} ({error}); run the same command to go on from what was written.")


def _cue_rows(first: int, cues: Sequence[ChannelCue]) -> list[tuple[Any, ...]]:
    """Return cues as rows numbered from `first` on."""
    return [
        (first + i, cue.start, cue.end, cue.text, cue.source, cue.confidence, write_words(cue.words))
        for i, cue in enumerate(cues)
    ]


def _insert_tags(connection: sqlite3.Connection, first: int, segments: Sequence[NewSegment]) -> None:
    """Store the tags of segments numbered from `first` on, inside the caller's transaction."""
    start = connection.execute("SELECT count(*) FROM tags").fetchone()[0]
    named = [(number, *tag) for number, segment in enumerate(segments, first) for tag in segment.tags]
    rows = [(i, *tag) for i, tag in enumerate(named, start)]
    if rows:
        connection.executemany("INSERT INTO tags VALUES (?, ?, ?, ?)", rows)
        _extend_digests(connection, "tags", rows)


def _extend_digests(
    connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[object]], anew: bool = False
) -> None:
    """Record the digest of a table after more rows, inside the caller's transaction."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).fetchone()
    digests: dict[str, str] = json.loads(row[0]) if row else {}
    digests[table] = extend_digest("" if anew else digests.get(table, ""), rows)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, canonical_json(digests)))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_wal(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal")


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems don't
    finally:
        os.close(descriptor)
