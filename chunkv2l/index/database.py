"""Open SQLite files that may come from anywhere: regular files, read-only, each reading within a budget of CPU time.

A finished index is never written again, so it is opened as immutable: SQLite takes no locks and looks at no journal or
log that somebody may have put beside it. An unfinished one is shared with the build that writes it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from safetensors import SafetensorError

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index.schema import Malformed
from chunkv2l.sanitize import quoted

READING_SECONDS: Final = 3.0
"""CPU seconds that one reading may take; those of 100,000 segments take less than one."""
CHECK_SECONDS: Final = 600.0
"""CPU seconds that checking a whole file may take at the most, which may have gigabytes."""
_CHECK_BYTES: Final = 1 << 20  # bytes that checking reads in a CPU second, at the least
SIDECARS: Final = ("-journal", "-wal", "-shm")
"""Endings of the files that SQLite puts beside a database while it is written."""
_SUPER_JOURNAL: Final = bytes.fromhex("d9d505f920a163d7")  # the end of a journal that names a file of journals
_STEPS: Final = 4000  # of SQLite's machine between two looks at the clock: some 50 µs
_BUDGET, _SIGNAL = "budget", "signal"  # why a reading was stopped
_LONGEST: Final = 80 << 20  # bytes of a value, the largest code with its header included
_HOLES: Final = 64 << 20  # bytes of a file that may be holes


class Database:
    """A SQLite file, opened for reading. Threads may share it: they take turns.

    Attributes:
        path: as it was given.
        bytes: the file's size.
    """

    def __init__(self, path: Path, finished: bool = True) -> None:
        """Open a file whose header was checked; nothing of its schema is trusted.

        Args:
            finished: nothing writes the file any more.

        Raises:
            InputError: SQLite can't open it.
        """
        self.path = path
        self.bytes = path.stat().st_size
        self._lock = threading.RLock()
        self._is_open = True
        self._end = 0.0
        self._stopped: str | None = None
        uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro{'&immutable=1' if finished else ''}"
        with explain_damage(path):
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5, check_same_thread=False)
        self._connection.set_progress_handler(self._watch().__next__, _STEPS)
        self.limit_values(_LONGEST)
        try:
            with self.reading():
                for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "temp_store = MEMORY"):
                    self._connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> sqlite3.Connection:
        """SQLite's own connection, for what the schema's functions do with one."""
        return self._connection

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Run a statement; to be called, and its rows read, inside of `reading`."""
        return self._connection.execute(statement, values)

    def read_blob(self, table: str, column: str, number: int, most: int) -> bytes:
        """Return a blob of at most so many bytes, which are counted before it is read.

        Raises:
            Malformed: there is none, it is longer, or something else.
        """
        sized = f"SELECT CASE WHEN length({column}) <= ? THEN {column} END FROM {table} WHERE id = ?"
        row = self.execute(sized, (most, number)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise Malformed(f"{name_blob(table, column, number)} is missing or too large")
        return row[0]

    def limit_values(self, most: int) -> None:
        """Let SQLite refuse any text or blob of more bytes."""
        if sys.version_info >= (3, 11):
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most)

    def forbid_changes(self) -> None:
        """Refuse changes of temporary tables, too, from now on."""
        self._connection.execute("PRAGMA query_only = ON")

    @property
    def check_seconds(self) -> float:
        """Return the CPU seconds that checking the whole file may take."""
        return min(CHECK_SECONDS, READING_SECONDS + self.bytes / _CHECK_BYTES)

    @contextlib.contextmanager
    def reading(self, seconds: float | None = None) -> Iterator[None]:
        """Give the file to one thread for a reading; what is wrong in it becomes a sentence.

        Args:
            seconds: CPU time of this thread, after which SQLite's queries are interrupted; None: `READING_SECONDS`.

        Raises:
            InputError: the file is damaged, or reading it takes too long.
            ChunkV2LError: it has been closed.
        """
        with self._lock, explain_damage(self.path):
            if not self._is_open:
                raise ChunkV2LError(f"{self.path} has been closed: open it again.")
            self._end, self._stopped = time.thread_time() + (READING_SECONDS if seconds is None else seconds), None
            try:
                yield
            except sqlite3.Error as error:  # full-text search has other words for an interruption
                if self._stopped == _BUDGET:
                    raise Malformed("reading it takes longer than an index of its size can take") from error
                if self._stopped == _SIGNAL or "interrupted" in str(error):
                    raise KeyboardInterrupt from error
                raise
            if self._stopped == _SIGNAL:
                raise KeyboardInterrupt

    def _watch(self) -> Iterator[bool]:
        """Yield for SQLite whether to stop: the budget is spent, or Ctrl+C was heard.

        A generator, as Python raises KeyboardInterrupt where it goes on, which is inside of `try`; in a function it
        would be in front of it, and SQLite's caller would never know.
        """
        while True:
            try:
                while True:
                    if time.thread_time() > self._end:
                        self._stopped = self._stopped or _BUDGET
                    yield self._stopped is not None
            except KeyboardInterrupt:
                self._stopped = _SIGNAL

    def check_structure(self, most: int, quick: bool = False) -> list[str]:
        """Let SQLite check its pages and tables, in a thread, so that Ctrl+C is heard meanwhile.

        Args:
            most: findings at most.
            quick: leave out comparing indexes with their tables.

        Returns:
            What SQLite says of each fault; none where there are none.
        """
        findings: list[str] = []

        def check() -> None:
            try:
                with self.reading(self.check_seconds):
                    lines = self.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check({most})").fetchall()
                    findings.extend(quoted(line) for (line,) in lines if line != "ok")
            except (InputError, KeyboardInterrupt) as error:
                findings.append(str(error) or "the check was interrupted")

        thread = threading.Thread(target=check, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.1)
        except BaseException:
            while thread.is_alive():  # an interruption between two queries goes unheard: again until it is
                self._connection.interrupt()
                thread.join(0.05)
            raise
        return findings

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_open = False
            self._connection.close()


def name_blob(table: str, column: str, number: int) -> str:
    """Name a blob for a sentence: "the code of segment 3"."""
    return f"the {column} of {table.removesuffix('s')} {number}"


@contextlib.contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Turn everything that a damaged or forged index makes SQLite or the checks raise into an InputError."""
    try:
        yield
    except Malformed as error:
        raise InputError(
            f"{path} is damaged or was tampered with: {quoted(error)}. Build it again with --force."
        ) from error
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours
    except (sqlite3.Error, SafetensorError, UnicodeError, OverflowError, MemoryError) as error:
        if "locked" in str(error):
            raise InputError(f"{path} is being written by another process: try again when it is done.") from error
        raise InputError(f"{path} is damaged ({quoted(error)}): build it again with --force.") from error


def read_header(path: Path) -> bytes:
    """Return the first hundred bytes of a regular file.

    Raises:
        OSError: it is missing, a folder, or can't be read.
        InputError: it is a pipe, a socket or a device, or most of it is holes that take no space on the disk.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is not a regular file, so it isn't an index.")
        header = os.read(descriptor, 100)
        size = os.fstat(descriptor).st_size
        if (holes := _count_holes(descriptor, size)) > max(_HOLES, size // 2):
            raise InputError(f"{path} has {holes >> 20} MB of holes, so it isn't an index that chunkv2l build made.")
        return header
    finally:
        os.close(descriptor)


def check_part_files(path: Path) -> None:
    """Check an unfinished index before SQLite opens it: a regular file, with at most a journal of its own beside it.

    The file itself isn't opened: closing it would give up the locks that a build in this process holds on it.

    Raises:
        InputError: names the file to remove.
        OSError: it isn't there, or can't be looked at.
    """
    for ending in SIDECARS:
        sidecar = path.with_name(path.name + ending)
        try:
            mode = os.lstat(sidecar).st_mode
        except OSError:
            continue
        if ending != "-journal" or not stat.S_ISREG(mode) or _names_other_journals(sidecar):
            raise InputError(f"{sidecar} isn't a file that chunkv2l build leaves beside an index: remove it.")
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise InputError(f"{path} isn't a regular file: remove it.")


def _names_other_journals(journal: Path) -> bool:
    """Return whether a journal ends with the name of a file that lists journals of several databases.

    SQLite removes the file of that name once it has undone what the journal says, whatever it is and wherever. Builds
    write to one database at a time, so that none of their journals has such a name.

    Raises:
        OSError: it can't be read.
    """
    with contextlib.suppress(FileNotFoundError), journal.open("rb") as file:  # a build may just have ended
        file.seek(max(0, os.fstat(file.fileno()).st_size - len(_SUPER_JOURNAL)))
        return file.read(len(_SUPER_JOURNAL)) == _SUPER_JOURNAL
    return False


def _count_holes(descriptor: int, size: int) -> int:
    """Return how many bytes of a file take no space on the disk, as far as the system tells."""
    if not hasattr(os, "SEEK_HOLE"):
        return 0
    holes = position = 0
    try:
        for _ in range(10_000):
            begin = os.lseek(descriptor, position, os.SEEK_HOLE)
            if begin >= size:
                break
            try:
                position = os.lseek(descriptor, begin, os.SEEK_DATA)
            except OSError:  # a hole up to the end
                position = size
            holes += position - begin
            if position >= size:
                break
    except OSError:  # a file system that doesn't tell
        return 0
    return holes
