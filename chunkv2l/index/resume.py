"""Check what an interrupted build left before another one goes on with it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from chunkv2l.errors import InputError
from chunkv2l.index.cue_rows import MAX_CUES, MAX_WORDS_JSON, check_cues
from chunkv2l.index.database import Database, name_blob
from chunkv2l.index.digests import COLUMNS, KEY, extend_digest
from chunkv2l.index.meta import Meta, read_meta
from chunkv2l.index.rows import MAX_TAG, MAX_TAGS, check_chapters, check_segments, check_tags
from chunkv2l.index.schema import READ_CUES, READ_TAGS, Malformed, apply_migrations
from chunkv2l.index.tensors import HEADER_ROOM, MAX_KEY, CodeForm, is_within, read_key
from chunkv2l.index.thumbnail import MAX_THUMBNAIL, check_thumbnail
from chunkv2l.index.validation import check_schema, check_version, count_segments
from chunkv2l.index.verify import verify
from chunkv2l.sanitize import MAX_TEXT, quoted


def check_part(part: Path) -> str | None:
    """Read a .part through that this process has locked.

    Returns:
        What is wrong with it, so that a build can't go on with it; None where nothing is.
    """
    try:
        with contextlib.closing(Database(part, finished=False)) as database:
            with database.reading():
                check_schema(database.connection, check_version(database.connection))
                if database.execute("SELECT 1 FROM meta LIMIT 1").fetchone() is None:
                    tables = ("segments", "chapters", "subtitles", "similar", "cues", "sentences", "tags")
                    if any(database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in tables):
                        raise Malformed("rows without a description of the build")
                    return None
                meta = read_meta(database)
            _check_rows(database, meta)
            faults = database.check_structure(most=1)
            if not faults and meta.segments is None:
                _check_digests(database, meta)
                _check_search_is_empty(database)
        if not faults and meta.segments is not None:
            faults = verify(part, finished=False)
    except InputError as error:
        return quoted(error.__cause__ or error)
    return faults[0] if faults else None


def _check_rows(database: Database, meta: Meta) -> None:
    form = CodeForm(meta.code_shape, meta.codes)
    database.limit_values(max(form.bytes + HEADER_ROOM, 1 << 20))
    with database.reading():
        count = count_segments(database)
        if count * form.bytes > database.bytes:
            raise Malformed("it is too small for that many codes")
        check_segments(
            database.execute(
                "SELECT id, start, end, CASE WHEN length(caption) <= :max THEN caption END, "
                "CASE WHEN length(speech) <= :max THEN speech END, mu FROM segments ORDER BY id",
                {"max": MAX_TEXT},
            ),
            database.bytes,
        )
        _check_cues(database)
        chapters = database.execute("SELECT id, first, last FROM chapters ORDER BY id LIMIT ?", (count + 1,)).fetchall()
        if chapters:
            last = chapters[-1][2]
            check_chapters(chapters, last + 1 if type(last) is int and last < count else 0)
    with database.reading():
        tags = database.execute(READ_TAGS, {"max": MAX_TAG, "count": MAX_TAGS * count + 1}).fetchall()
        check_tags(tags, count)
    for number in range(count):
        with database.reading():
            _check_segment(database, number, form)
    for number in range(len(chapters)):
        with database.reading():
            _check_code(database, "chapters", number, form)


def _check_cues(database: Database) -> None:
    """Check the cues, whose numbers those that are added follow."""
    count, last = database.execute(
        "SELECT count(*), max(id) FROM (SELECT id FROM cues LIMIT ?)", (MAX_CUES,)
    ).fetchone()
    if count and last != count - 1:
        raise Malformed("cues that don't follow each other")
    check_cues(
        database.execute(READ_CUES, {"text": MAX_TEXT, "words": MAX_WORDS_JSON, "count": MAX_CUES}), database.bytes
    )


def _check_search_is_empty(database: Database) -> None:
    """Check that full-text search holds what a new one does: only the end of a build fills it."""
    with (
        contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh,
        database.reading(),
    ):
        apply_migrations(fresh, 0)
        for table in ("words_config", "words_data", "words_idx", "words_docsize"):
            expected = fresh.execute(f"SELECT * FROM {table}").fetchall()
            if database.execute(f"SELECT * FROM {table} LIMIT ?", (len(expected) + 1,)).fetchall() != expected:
                raise Malformed("its search isn't a new one")


def _check_digests(database: Database, meta: Meta) -> None:
    recorded = meta.extra.get(KEY, {})
    for table, columns in COLUMNS.items():
        with database.reading(database.check_seconds):
            digest = extend_digest("", database.execute(f"SELECT {columns} FROM {table} ORDER BY id"))
            if not isinstance(recorded, dict) or recorded.get(table, "") != digest:
                raise Malformed(f"its {table} aren't those that were stored")


def _check_segment(database: Database, number: int, form: CodeForm) -> None:
    _check_code(database, "segments", number, form)
    thumbnail = database.read_blob("segments", "thumbnail", number, MAX_THUMBNAIL)
    check_thumbnail(thumbnail, name_blob("segments", "thumbnail", number))
    if database.execute("SELECT 1 FROM segments WHERE id = ? AND key IS NOT NULL", (number,)).fetchone():
        key = database.read_blob("segments", "key", number, 4 * MAX_KEY + HEADER_ROOM)
        read_key(key, name_blob("segments", "key", number))


def _check_code(database: Database, table: str, number: int, form: CodeForm) -> None:
    blob, subject = (
        database.read_blob(table, "code", number, form.bytes + HEADER_ROOM),
        name_blob(table, "code", number),
    )
    if not is_within(form.read(blob, subject)):
        raise Malformed(f"{subject} has values that aren't numbers")
