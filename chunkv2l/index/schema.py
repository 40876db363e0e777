"""The format of movie.idx: the marks of the file, its schema, and the numbered migrations between its versions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x63763269  # "cv2i"
PAGE_SIZE: Final = 4096
MAX_SEGMENTS: Final = 100_000
"""More than a day of movie in segments of one second."""

# Migration i takes a file from user_version i to i + 1. Never edit one that was released: append the next. All but the
# first only add tables: readers of an older file get them empty, in memory (`add_missing_tables`).
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        # code: packed code; mu: mean score over fixed statements, nats, or NULL; key: safetensors {"key"}, or NULL.
        "CREATE TABLE segments ("
        "id INTEGER PRIMARY KEY, start REAL NOT NULL, end REAL NOT NULL, caption TEXT NOT NULL, speech TEXT NOT NULL, "
        "code BLOB NOT NULL, mu REAL, key BLOB, thumbnail BLOB NOT NULL)",
        "CREATE TABLE chapters ("
        "id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, code BLOB NOT NULL)",
        "CREATE TABLE subtitles (id INTEGER PRIMARY KEY, start REAL NOT NULL, end REAL NOT NULL, text TEXT NOT NULL)",
        "CREATE VIRTUAL TABLE words USING fts5("
        "caption, speech, content='segments', content_rowid='id', tokenize='porter unicode61')",
    ),
    (
        # Pairs of similar segments: a < b, and the cosine of their pooled codes.
        "CREATE TABLE similar (a INTEGER NOT NULL, b INTEGER NOT NULL, cosine REAL NOT NULL, PRIMARY KEY (a, b)) "
        "WITHOUT ROWID",
    ),
    (
        # source: given, heard or read; confidence in [0, 1]; words: JSON, [[start, end, text], …] in milliseconds.
        # Subtitles are cues from here on; the table `subtitles` stays for indexes of earlier versions.
        "CREATE TABLE cues ("
        "id INTEGER PRIMARY KEY, start REAL NOT NULL, end REAL NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, "
        "confidence REAL NOT NULL, words TEXT NOT NULL)",
        # vector: safetensors {"vector"}, or NULL where no sentence encoder was at hand.
        "CREATE TABLE sentences ("
        "id INTEGER PRIMARY KEY, start REAL NOT NULL, end REAL NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL, "
        "vector BLOB)",
    ),
    (
        # A classifier's names of segments, in their order; of one segment the likeliest first. p: its probability.
        "CREATE TABLE tags (id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, name TEXT NOT NULL, p REAL NOT NULL)",
    ),
)
SCHEMA_VERSION: Final = len(MIGRATIONS)

READ_TAGS: Final = (
    "SELECT id, segment, CASE WHEN length(name) <= :max THEN name END, p FROM tags ORDER BY id LIMIT :count"
)
"""Query of `rows.check_tags`' rows."""

READ_CUES: Final = (
    "SELECT start, end, CASE WHEN length(text) <= :text THEN text END, source, confidence, "
    "CASE WHEN length(words) <= :words THEN words END FROM cues ORDER BY id LIMIT :count"
)
"""Query of `cue_rows.check_cues`' rows."""

SchemaRow = tuple[str, str, str | None]
"""A row of sqlite_master: type, name, SQL."""


class Malformed(Exception):
    """An index file isn't as this format says; the message says what is wrong inside it."""


def apply_migrations(connection: sqlite3.Connection, start: int, stop: int | None = None) -> None:
    """Take an open database from user_version `start` to `stop` (the newest), inside the caller's transaction."""
    for version in range(start, len(MIGRATIONS) if stop is None else stop):
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")


def add_missing_tables(connection: sqlite3.Connection, version: int) -> None:
    """Give an open file of an older version the tables of the newer ones, empty and in memory; the file stays."""
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement.replace("CREATE TABLE ", "CREATE TEMP TABLE ", 1))


def expected_schema(version: int) -> dict[str, SchemaRow]:
    """Return what sqlite_master holds at a schema version, by name, as the SQLite at hand writes it."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        apply_migrations(connection, 0, version)
        return read_schema(connection)


def read_schema(connection: sqlite3.Connection) -> dict[str, SchemaRow]:
    """Return what sqlite_master holds of a trusted database, by name."""
    rows: list[SchemaRow] = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {name: (object_type, name, sql) for object_type, name, sql in rows}


def part_path(out: Path) -> Path:
    """Return the path of `out` while it is unfinished: its name and ".part".

    A name so long that SQLite's journal would have no room for its own is cut off, and made unique by its hash.
    """
    name = out.name
    if len(os.fsencode(name)) + len(".part-journal") > 255:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        name = f"{os.fsencode(name)[:200].decode('utf-8', 'ignore')}~{digest}"
    return out.with_name(f"{name}.part")
