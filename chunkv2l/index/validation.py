"""Check the header and the schema of an index file before anything in it is believed.

An index may come from anywhere. Everything that is wrong with one becomes an InputError that says what and what to do.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from chunkv2l.errors import InputError
from chunkv2l.index.database import Database, check_part_files, read_header
from chunkv2l.index.meta import read_meta, rebuild_command
from chunkv2l.index.schema import (
    APPLICATION_ID,
    MAX_SEGMENTS,
    SCHEMA_VERSION,
    Malformed,
    SchemaRow,
    expected_schema,
    part_path,
)
from chunkv2l.sanitize import plural

_INTERRUPTED = "its build was interrupted early; run the same chunkv2l build again."


def check_header(path: Path, newer: bool = False) -> int:
    """Check a file by its first hundred bytes, before SQLite reads it, and return its schema version.

    Args:
        newer: accept a schema from the future (for replacing the file, not for reading it).

    Raises:
        InputError: missing, unreadable, not an index, not finished, or from a newer version.
    """
    if path.name.endswith(".part") and os.path.lexists(path):
        raise InputError(f"{path} isn't finished: {describe_progress(path)}")
    try:
        header = read_header(path)
    except FileNotFoundError:
        raise InputError(_explain_missing(path)) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory, not an index.") from None
    except OSError as error:
        raise InputError(f"Can't read {path} ({error.strerror}).") from error
    except ValueError as error:  # a name with a zero byte
        raise InputError(f"Can't read {path!r} ({error}).") from error
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise InputError(f"{path} isn't an index that chunkv2l build made.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(f"{path} is a SQLite file, but not an index that chunkv2l build made.")
    version = int.from_bytes(header[60:64], "big")
    if version > SCHEMA_VERSION and not newer:
        raise InputError(
            f"{path} is from a newer chunkv2l (schema {version}, this one reads up to {SCHEMA_VERSION}): upgrade it."
        )
    if version < 1 or header[19] > 1:  # the version to read it with: 2 needs a log beside the file
        raise InputError(f"{path} is damaged or was tampered with: its header isn't one that chunkv2l build writes.")
    return version


def _explain_missing(path: Path) -> str:
    if (part := part_path(path)).exists():
        return f"{path} isn't finished: {describe_progress(part, path)}"
    whole = path.with_name(path.name.removesuffix(".part"))
    if whole != path and whole.exists():
        return f"There is no {path} any more: the build is finished, ask {whole}."
    return f"There is no {path}: make it with chunkv2l build MOVIE -o {shlex.quote(str(whole))}"


def check_schema(connection: sqlite3.Connection, version: int) -> None:
    """Refuse any schema but the exact one that `build` makes at this version: no trigger, no view, nothing missing.

    Raises:
        Malformed: names what is missing, planted or changed.
    """
    compare_schema(connection, expected_schema(version))


def compare_schema(connection: sqlite3.Connection, expected: Mapping[str, SchemaRow]) -> None:
    """Refuse any schema but an expected one, whose full-text table, if there is one, is called "words".

    Raises:
        Malformed: names what is missing, planted or changed.
    """
    rows = connection.execute(
        "SELECT type, name, CASE WHEN length(sql) <= 4096 THEN sql END FROM sqlite_master LIMIT 100"
    ).fetchall()
    names = [name for _, name, _ in rows]
    missing, planted = sorted(expected.keys() - set(names)), [name for name in names if name not in expected]
    if missing:
        raise Malformed(f"missing in its schema: {', '.join(missing)}")
    if planted or len(names) != len(expected):
        raise Malformed(f"its schema has what build doesn't make: {', '.join(map(str, planted)) or 'doubled names'}")
    for object_type, name, sql in rows:
        expected_type, _, expected_sql = expected[name]
        is_shadow = name.startswith("words_")  # written by SQLite itself, in words that may change between its versions
        is_right = isinstance(sql, str) and sql.startswith("CREATE TABLE ") if is_shadow else sql == expected_sql
        if object_type != expected_type or not is_right:
            raise Malformed(f"{name} isn't defined as build defines it")


def describe_progress(part: Path, out: Path | None = None) -> str:
    """Say how far the build of a .part is, and how to go on; never raises for what is inside the file.

    Args:
        out: the index that it becomes, where the .part's name doesn't say it.
    """
    out = out or part.with_name(part.name.removesuffix(".part"))
    try:
        check_part_files(part)
        with contextlib.closing(Database(part, finished=False)) as database, database.reading():
            check_schema(database.connection, check_version(database.connection))
            meta = read_meta(database)
            count = count_segments(database)
            end = database.execute("SELECT end FROM segments ORDER BY id DESC LIMIT 1").fetchone()
            share = min(1.0, float(end[0]) / meta.duration) if end and meta.duration > 0 else 0.0
            command = rebuild_command(out, meta, force=False)
            return (
                f"{plural(count, 'segment')} {'is' if count == 1 else 'are'} stored, {100 * share:.0f} % of the movie. "
                f"If no build is running, go on with: {command}"
            )
    except (InputError, OSError, TypeError, ValueError):
        return _INTERRUPTED


def check_version(connection: sqlite3.Connection) -> int:
    """Return the schema version of an open .part.

    Raises:
        Malformed: it isn't one of ours.
    """
    application, version = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if application != APPLICATION_ID or not 1 <= version <= SCHEMA_VERSION or mode == "wal":
        raise Malformed("it isn't an unfinished index of this version")
    return version


def count_segments(database: Database) -> int:
    """Return how many segments are stored.

    Raises:
        Malformed: more than a build can make.
    """
    counting = "SELECT count(*) FROM (SELECT 1 FROM segments LIMIT ?)"
    count = int(database.execute(counting, (MAX_SEGMENTS + 1,)).fetchone()[0])
    if count > MAX_SEGMENTS:
        raise Malformed(f"more than {MAX_SEGMENTS} segments")
    return count
