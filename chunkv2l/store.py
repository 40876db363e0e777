"""The bytes of movie.idx: one SQLite file, its schema, its numbered migrations, and the one thing that writes it.

A build writes `OUT.part` with a rollback journal, one transaction a batch, and renames it at the end, so that a build
killed at any moment loses at most the batch in flight. Nothing about the build itself is stored (no clock time, host,
path or duration), so every row is the same to the byte however often the build was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chunkv2l.errors import ChunkV2LError, InputError

APPLICATION_ID: Final = 0x63763269  # "cv2i"
PAGE_SIZE: Final = 4096

# Migration i takes a file from user_version i to i + 1. Never edit one that was released: append the next.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE segments ("
        "id INTEGER PRIMARY KEY, start REAL NOT NULL, end REAL NOT NULL, caption TEXT NOT NULL, speech TEXT NOT NULL, "
        "code BLOB NOT NULL, mu REAL, key BLOB, thumbnail BLOB NOT NULL)",
        "CREATE TABLE chapters ("
        "id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, code BLOB NOT NULL)",
        "CREATE TABLE subtitles (id INTEGER PRIMARY KEY, start REAL NOT NULL, end REAL NOT NULL, text TEXT NOT NULL)",
        "CREATE VIRTUAL TABLE words USING fts5("
        "caption, speech, content='segments', content_rowid='id', tokenize='porter unicode61')",
    ),
)
SCHEMA_VERSION: Final = len(MIGRATIONS)

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

SchemaRow = tuple[str, str, str | None]
"""A row of sqlite_master: type, name, SQL."""


@dataclass(frozen=True)
class NewSegment:
    """What a build stores of one segment.

    Attributes:
        start, end: seconds, [start, end).
        caption: generated from the segment's own adapter; "" where captions were switched off.
        code: safetensors bytes of the packed code (`chunkv2l.codes.pack`).
        mu: the segment's mean router score in nats over fixed statements, None where the model doesn't use it.
        key: safetensors bytes of the learned key, tensor "key" [K]; None where the model has none.
        thumbnail: a JPEG.
        speech: the subtitles spoken in it, joined by spaces.
    """

    start: float
    end: float
    caption: str
    code: bytes
    thumbnail: bytes
    mu: float | None = None
    key: bytes | None = None
    speech: str = ""


def apply_migrations(connection: sqlite3.Connection, start: int, stop: int | None = None) -> None:
    """Take an open database from user_version `start` to `stop` (the newest), inside the caller's transaction."""
    for version in range(start, len(MIGRATIONS) if stop is None else stop):
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")


def expected_schema(version: int) -> dict[str, SchemaRow]:
    """What sqlite_master holds at a schema version, by name, as the SQLite at hand writes it."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        apply_migrations(connection, 0, version)
        rows: list[SchemaRow] = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {name: (kind, name, sql) for kind, name, sql in rows}


def part_path(out: Path) -> Path:
    """Where the unfinished index of `out` lies."""
    return out.with_name(out.name + ".part")


class Writer:
    """The unfinished index `OUT.part`, locked against a second build for as long as this object lives.

    The lock is SQLite's own: a write transaction is open at all times (it is begun again right after each commit), so
    that a reader can look at how far the build is while a second writer is refused, and the lock is gone with the
    process, whatever ends it.
    """

    def __init__(self, out: Path) -> None:
        """Open or make `OUT.part` and lock it.

        Raises:
            InputError: another build is writing it; the folder is missing or can't be written; the file is something
                else.
        """
        self.out = out
        self.path = part_path(out)
        self._connection = self._open()

    @classmethod
    def check_free(cls, out: Path) -> None:
        """Raise InputError if another build is writing `out` now; a look, not a lock."""
        if part_path(out).exists():
            cls(out).close()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise InputError(f"Can't write {self.path} ({error}): choose another place with -o.") from error
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._opening_error(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _opening_error(self, error: sqlite3.Error) -> ChunkV2LError:
        if "locked" in str(error):
            return InputError(f"Another build is writing {self.out} now: wait for it, or choose another -o.")
        if "not a database" in str(error) or "malformed" in str(error):
            return InputError(f"{self.path} isn't an unfinished index that can be resumed: remove it and build again.")
        if "readonly" in str(error) or "unable to open" in str(error):
            return InputError(f"Can't write {self.path} ({error}): choose another place with -o.")
        return write_error(error, self.path)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if not self.path.exists():
            raise InputError(f"Another build of {self.out} finished just now: run the command again.")
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and application in (0, APPLICATION_ID):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            apply_migrations(connection, 0)
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
        elif application != APPLICATION_ID or not 1 <= version <= SCHEMA_VERSION:
            raise InputError(f"{self.path} isn't an unfinished index of this version: remove it and build again.")
        else:
            apply_migrations(connection, version)
        connection.execute("PRAGMA busy_timeout = 60000")  # a reader that looks at the .part delays a commit
        connection.execute("PRAGMA cache_spill = OFF")  # nothing reaches the file before its batch is whole

    def start_over(self) -> None:
        """Throw away what the .part holds: it was made from something else."""
        self.discard()
        self._connection = self._open()

    def discard(self) -> None:
        """Remove the .part and unlock."""
        if os.name == "nt":
            self.close()  # Windows removes no open file
        self.path.unlink(missing_ok=True)  # while locked: whoever else holds the old file finds its name gone
        self.close()

    def read_meta(self) -> dict[str, Any]:
        """The meta table, values decoded from JSON."""
        return {key: json.loads(value) for key, value in self._connection.execute("SELECT key, value FROM meta")}

    def stored(self) -> list[tuple[float, float]]:
        """(start, end) of the segments stored so far, in order."""
        return self._connection.execute("SELECT start, end FROM segments ORDER BY id").fetchall()

    def is_complete(self) -> bool:
        """Whether `finish` was called on it before, but the process died before the file had its name."""
        return bool(self.read_meta().get("segments") == len(self.stored()))

    def write(self, first: int = 0, segments: Sequence[NewSegment] = (), meta: Mapping[str, Any] | None = None) -> None:
        """One transaction: segments numbered from `first` on, and meta values (anything JSON knows).

        Raises:
            ChunkV2LError: the disk is full or can't be written; all earlier transactions stay usable.
        """
        rows = [
            (first + i, s.start, s.end, s.caption, s.speech, s.code, s.mu, s.key, s.thumbnail)
            for i, s in enumerate(segments)
        ]
        with self._transaction() as connection:
            for key, value in sorted((meta or {}).items()):
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, to_json(value)))
            connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def finish(self) -> None:
        """Fill the full-text index, record that the index is complete, and give it its name.

        Raises:
            ChunkV2LError: the disk is full, or the file can't be renamed; the .part stays usable.
        """
        with self._transaction() as connection:
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
            count = connection.execute("SELECT count(*) FROM segments").fetchone()[0]
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('segments', ?)", (to_json(count),))
        if os.name == "nt":
            self.close()  # Windows renames no open file
        try:
            os.replace(self.path, self.out)  # while locked: no second build can slip in between
        except OSError as error:
            raise ChunkV2LError(f"Can't rename {self.path} to {self.out.name} ({error.strerror}).") from error
        finally:
            self.close()
        _sync_folder(self.out.parent)

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


def write_error(error: sqlite3.Error, path: Path) -> ChunkV2LError:
    """What went wrong while writing, as a sentence."""
    if "full" in str(error):
        return ChunkV2LError(
            f"The disk is full: {path} keeps what was written. Free some space and run the same command to go on."
        )
    if "locked" in str(error):
        return ChunkV2LError(f"Another process holds {path}: close it and run the same command to go on.")
    return ChunkV2LError(f"Can't write {path} ({error}); run the same command to go on from what was written.")


def to_json(value: Any) -> str:
    """JSON with one spelling a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def finite(value: object) -> bool:
    """Whether a value from a file is a number that one can reckon with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_line(value: object) -> bool:
    """Whether a value from a file is a text that can be shown on one line: no control characters, nothing that
    turns the direction of what follows."""
    return isinstance(value, str) and not _CONTROL.search(value)


def one_line(text: str) -> str:
    """A text as `is_line` wants it, spaces made single."""
    return " ".join(_CONTROL.sub(" ", text).split())


def quoted(said: object) -> str:
    """What a library said about a file, which may quote the file: short and printable."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(said))
    return text if len(text) <= 200 else text[:200] + " …"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


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
