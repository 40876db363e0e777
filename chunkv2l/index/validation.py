"""What an index file must look like before anything in it is believed: header and schema.

An index may come from anywhere. Everything that is wrong with one becomes an InputError that says what and what to do.
"""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from safetensors import SafetensorError

from chunkv2l.errors import InputError
from chunkv2l.index.meta import read_meta, rebuild
from chunkv2l.index.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Malformed,
    apply_migrations,
    expected_schema,
    part_path,
)
from chunkv2l.sanitize import plural, quoted


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
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


def check_header(path: Path, newer: bool = False) -> int:
    """What a file is by its first hundred bytes, before SQLite touches it: returns its schema version.

    Args:
        newer: whether a schema from the future will do (for replacing the file, not for reading it).

    Raises:
        InputError: missing, unreadable, not an index, not finished, or from a newer version.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        if path.name.endswith(".part"):
            raise InputError(f"{path} isn't finished: {progress_sentence(path)}")
    except FileNotFoundError:
        if part_path(path).exists():
            raise InputError(f"{path} isn't finished: {progress_sentence(part_path(path))}") from None
        whole = path.with_name(path.name.removesuffix(".part"))
        if whole != path and whole.exists():
            raise InputError(f"There is no {path} any more: the build is finished, ask {whole}.") from None
        raise InputError(
            f"There is no {path}: make it with chunkv2l build MOVIE -o {shlex.quote(str(whole))}"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory, not an index.") from None
    except OSError as error:
        raise InputError(f"Can't read {path} ({error.strerror}).") from error
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise InputError(f"{path} isn't an index that chunkv2l build made.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(f"{path} is a SQLite file, but not an index that chunkv2l build made.")
    version = int.from_bytes(header[60:64], "big")
    if version > SCHEMA_VERSION and not newer:
        raise InputError(
            f"{path} is from a newer chunkv2l (schema {version}, this one reads up to {SCHEMA_VERSION}): upgrade it."
        )
    if version < 1 or header[18:20] != b"\x01\x01":
        raise InputError(f"{path} is damaged or was tampered with: its header isn't one that chunkv2l build writes.")
    return version


def connect(path: Path, version: int) -> sqlite3.Connection:
    """Open read-only, distrust the schema, and check it. An older schema is migrated in memory; the file stays."""
    connection = open_readonly(path)
    try:
        check_schema(connection, version)
        if version == SCHEMA_VERSION:
            return connection
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.backup(copy)
        apply_migrations(copy, version)
        connection.close()
        return copy
    except BaseException:
        connection.close()
        raise


def open_readonly(path: Path) -> sqlite3.Connection:
    """A connection that can't change the file, whatever its schema says."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=5,
        check_same_thread=False,  # threads take turns: `IndexFile`
    )
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def check_schema(connection: sqlite3.Connection, version: int) -> None:
    """Refuse any schema but the exact one that `build` makes at this version: no trigger, no view, nothing missing."""
    rows = connection.execute(
        "SELECT type, name, CASE WHEN length(sql) <= 4096 THEN sql END FROM sqlite_master LIMIT 100"
    ).fetchall()
    expected = expected_schema(version)
    names = [name for _, name, _ in rows]
    missing, planted = sorted(expected.keys() - set(names)), [name for name in names if name not in expected]
    if missing:
        raise Malformed(f"missing in its schema: {', '.join(missing)}")
    if planted or len(names) != len(expected):
        raise Malformed(f"its schema has what build doesn't make: {', '.join(map(str, planted)) or 'doubled names'}")
    for kind, name, sql in rows:
        ours_kind, _, ours_sql = expected[name]
        shadow = name.startswith("words_")  # written by SQLite itself, in words that may change between its versions
        right = isinstance(sql, str) and sql.startswith("CREATE TABLE ") if shadow else sql == ours_sql
        if kind != ours_kind or not right:
            raise Malformed(f"{name} isn't defined as build defines it")


def progress_sentence(path: Path) -> str:
    """How far the build of a .part is, and how to go on; never raises for what is inside the file."""
    try:
        with damage(path), contextlib.closing(open_readonly(path)) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if not 1 <= version <= SCHEMA_VERSION:
                raise Malformed("a schema that there never was")
            check_schema(connection, version)
            meta = read_meta(connection)
            count, end = connection.execute("SELECT count(*), max(end) FROM segments").fetchone()
            command = rebuild(path.with_name(path.name.removesuffix(".part")), meta, force=False)
            duration = float(meta.movie["duration"])
            share = min(100.0, 100.0 * float(end or 0.0) / duration) if duration > 0 else 0.0
            return (
                f"{plural(count, 'segment')} {'is' if count == 1 else 'are'} stored, {share:.0f} % of the movie. "
                f"If no build is running, go on with: {command}"
            )
    except InputError:
        return "its build was interrupted early; run the same chunkv2l build again."
