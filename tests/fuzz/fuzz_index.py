"""Fuzzing the index reader: whatever is in a file, reading it gives what was asked for or an InputError, nothing else.

    python tests/fuzz/fuzz_index.py --seconds 60

Two kinds of mutation, mixed: bytes (flipped, overwritten, pages exchanged, cut off), and SQL (any value into any
column, schema changed). A file that crashes the interpreter stays in the folder that is printed at the start.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from hypothesis import strategies as st
from torch import Tensor

from chunkv2l.channels.cues import ChannelCue, Sentence, Word
from chunkv2l.errors import InputError
from chunkv2l.graph import groups, segment_graph, segments
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.indexing.progress import peak_memory
from chunkv2l.sanitize import is_line
from tests.fuzz.harness import Case, check_time, main
from tests.helpers.indexes import write_index

SLOWEST = 5.0
"""Seconds of CPU time that reading a small file may take, whatever is in it (`harness.check_time`)."""
MEMORY = 512 << 20
"""Bytes that it may take."""

NEVER_FILLED = ("subtitles",)
"""Tables that only earlier versions filled."""
COLUMNS = [
    *[("meta", name) for name in ("key", "value")],
    *[("segments", name) for name in "id start end caption speech code mu key thumbnail".split()],  # noqa: SIM905
    *[("chapters", name) for name in ("id", "first", "last", "code")],
    *[("subtitles", name) for name in ("id", "start", "end", "text")],
    *[("cues", name) for name in ("id", "start", "end", "text", "source", "confidence", "words")],
    *[("sentences", name) for name in ("id", "start", "end", "text", "source", "vector")],
    *[("tags", name) for name in ("id", "segment", "name", "p")],
    *[("similar", name) for name in ("a", "b", "cosine")],
    *[("words_data", name) for name in ("id", "block")],
    *[("words_idx", name) for name in ("segid", "term", "pgno")],
    *[("words_docsize", name) for name in ("id", "sz")],
    *[("words_config", name) for name in ("k", "v")],
    *[("sqlite_master", name) for name in ("type", "name", "tbl_name", "rootpage", "sql")],
]

CUES = (
    ChannelCue(4.0, 5.5, "The rocket starts.", "heard", 0.875, (Word(4.0, 4.5, "The"), Word(4.5, 5.5, "rocket"))),
    ChannelCue(9.0, 12.0, "PLATFORM 9", "read", 0.75),
)


def encode(sentences: Sequence[Sentence]) -> Tensor:
    """Return vectors as a sentence encoder makes them: of length 1."""
    return torch.eye(len(sentences))


values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2, 30),
    st.floats(),
    st.text(max_size=200),
    st.binary(max_size=300),
    st.sampled_from(["[2,2,8]", '{"codes":"int8"}', "5", "[1e9,1,1]", '"fake"', "CREATE VIEW v AS SELECT 1"]),
    st.builds(lambda size: b"\0" * size, st.integers(0, 1 << 21)),
)
byte_mutations = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 1 << 17), st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("set"), st.integers(0, 120), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("page"), st.integers(0, 40), st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("copy"), st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 17), st.none()),
    # b-trees: a page's type, its number of cells, its right child, the place of a cell, the child or chain in a cell
    st.tuples(st.just("type"), st.integers(0, 40), st.sampled_from([2, 5, 10, 13])),
    st.tuples(st.just("cells"), st.integers(0, 40), st.integers(0, 2000)),
    st.tuples(st.just("child"), st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.just("cell"), st.integers(0, 40), st.integers(0, 4095)),
    st.tuples(st.just("chain"), st.integers(0, 40), st.integers(0, 40)),
)
sql_mutations = st.one_of(
    st.tuples(st.just("update"), st.sampled_from(COLUMNS), st.integers(0, 9), values),
    st.tuples(st.just("delete"), st.sampled_from(COLUMNS), st.integers(0, 9), values),
    st.tuples(
        st.just("execute"),
        st.sampled_from(
            [
                "DROP TABLE words",
                "CREATE TRIGGER t AFTER INSERT ON meta BEGIN SELECT 1; END",
                "CREATE VIEW v AS SELECT * FROM segments",
                "ALTER TABLE segments ADD COLUMN more",
                "PRAGMA user_version = 0",
                "PRAGMA application_id = 1",
                "INSERT INTO words (words) VALUES ('delete-all')",
                "INSERT INTO chapters SELECT id + 2, id, id, code FROM segments",
                "INSERT INTO subtitles SELECT id + 2, start, end, caption FROM segments",
                "INSERT INTO cues SELECT id + 20, start, end, caption, 'read', 1.0, '[]' FROM segments",
                "INSERT INTO sentences SELECT id + 20, start, end, text, source, vector FROM sentences",
                "INSERT INTO tags SELECT id + 20, segment, name || '!', p FROM tags",
                "UPDATE sentences SET vector = (SELECT key FROM segments WHERE id = 0)",
                "UPDATE cues SET words = '[[0,9000000,\"late\"]]'",
                "UPDATE tags SET segment = 4 - segment",
                "INSERT INTO similar SELECT id, id + 1, 0.5 FROM segments WHERE id > 1",
                "DROP TABLE similar",
                "DROP TABLE tags",
                "PRAGMA user_version = 1",
                "PRAGMA user_version = 3",
                "UPDATE segments SET key = code",
            ]
        ),
        st.just(0),
        st.none(),
    ),
)


class Target:
    """A sound index, and what happens to mutations of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mutated.idx"
        self.sounds = [
            write_index(
                folder / f"{kind}.idx",
                kind=kind,
                keys=torch.ones(5, 128),
                chapters=[(0, 1), (2, 4)],
                similar=[(0, 2, 0.5), (1, 4, 0.25)],
                subtitles=[(0.5, 1.5, "Hello!"), (1.0, 9.0, "A dog?")],
                cues=CUES,
                tags={0: (("dog", 0.5), ("grass", 0.25)), 3: (("rocket", 0.75),)},
                encoder=encode,
            )
            for kind in ("fp32", "fp16", "int8")
        ]
        self.refused = self.read = 0
        for sound in self.sounds:
            check_tables(sound)

    def cases(self) -> list[Case]:
        several = st.lists(sql_mutations, max_size=3), st.lists(byte_mutations, max_size=4)
        return [Case(self.index, (st.integers(0, 2), *several), 200)]

    def index(self, which: int, in_sql: list[Any], in_bytes: list[Any]) -> None:
        self.mutate(which, in_sql, in_bytes)
        self.check()

    def mutate(self, which: int, in_sql: list[Any], in_bytes: list[Any]) -> None:
        self.path.write_bytes(self.sounds[which].read_bytes())
        mutate(self.path, in_sql, in_bytes)

    def check(self) -> None:
        """Read everything; only an InputError with a sentence may come of it."""
        before, started = self.path.read_bytes(), time.process_time()
        memory = peak_memory() or 0
        try:
            read_all(self.path)
            self.read += 1
        except InputError as error:
            assert str(self.path) in str(error) and str(error).isprintable(), str(error)
            self.refused += 1
        findings = verify(self.path)
        assert all(isinstance(finding, str) for finding in findings)
        spent = time.process_time() - started
        check_time(spent, SLOWEST, lambda: _read_and_verify([self.path]), lambda: _read_and_verify(self.sounds))
        assert (peak_memory() or 0) - memory < MEMORY
        assert self.path.read_bytes() == before

    def __str__(self) -> str:
        return f"{self.refused + self.read} files: {self.refused} refused, {self.read} read"


def check_tables(path: Path, empty: Sequence[str] = ()) -> None:
    """Check that no table of today's schema is empty but those named, and that each of its columns is mutated."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'words%'")
        for (table,) in names.fetchall():
            columns = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
            assert columns <= {column for of, column in COLUMNS if of == table}, table
            row = connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
            assert row is not None or table in (*NEVER_FILLED, *empty), table


def mutate(path: Path, in_sql: list[Any], in_bytes: list[Any]) -> None:
    """Change an index or a .part by SQL, then byte by byte."""
    if in_sql:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA writable_schema = ON")
            for mutation in in_sql:
                _execute(connection, *mutation)
    data = bytearray(path.read_bytes())
    for how, where, what in in_bytes:
        _change_bytes(data, how, where, what)
    path.write_bytes(data)


def _change_bytes(data: bytearray, how: str, where: int, what: Any) -> None:
    page = where * 4096 % max(1, len(data))
    header = page + (100 if page == 0 else 0)  # of the page's b-tree
    if how == "set":
        place = where % max(1, len(data))
        data[place : place + len(what)] = what
    elif how == "page":
        data[page : page + len(what)] = what
    elif how == "copy":
        source = what * 4096 % max(1, len(data))
        data[source : source + 4096] = data[page : page + 4096]
    elif how == "cut":
        del data[where % max(1, len(data)) :]
    elif header + 16 <= len(data):
        number = (what + 1).to_bytes(4, "big")
        if how == "type":
            data[header : header + 1] = bytes([what])
        elif how == "cells":
            data[header + 3 : header + 5] = what.to_bytes(2, "big")
        elif how == "child":
            data[header + 8 : header + 12] = number
        elif how == "cell":
            data[header + 8 : header + 10] = what.to_bytes(2, "big")
        else:  # the first four bytes of an overflow page name the next one, those of an interior cell its child
            data[page : page + 4] = number


def _read_and_verify(paths: list[Path]) -> None:
    for path in paths:
        verify(path)
        read_all(path)


def _execute(connection: sqlite3.Connection, how: str, what: Any, row: int, value: object) -> None:
    try:
        if how == "execute":
            connection.execute(what)
            return
        table, column = what
        key = "rowid" if table not in ("meta", "similar", "words_idx", "words_config") else "1"
        where = f"{key} IN (SELECT {key} FROM {table} LIMIT 1 OFFSET {row})"
        if how == "delete":
            connection.execute(f"DELETE FROM {table} WHERE {where}")
        else:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    except (sqlite3.Error, OverflowError, UnicodeError):
        pass  # SQLite itself won't have it


def read_all(path: Path) -> None:
    """Everything that asking and showing read, and that what was read is what it should be."""
    with IndexFile(path) as index:
        count = len(index)
        assert count == len(index.segments) > 0
        for word in ("dog", "a red ball", "zebra"):
            assert all(0 <= i < count for i, _ in index.search(word))
        codes = index.codes()
        assert codes.shape == (count, *index.meta.code_shape) and bool(torch.isfinite(codes).all())
        keys = index.keys()
        assert keys is None or (keys.shape[0] == count and bool(torch.isfinite(keys).all()))
        chapters, similar = index.chapters(), index.similar()
        assert index.chapter_codes().shape[0] == len(chapters)
        graph = segment_graph(index.segments, similar, chapters)
        assert len(segments(graph)) == count and len(groups(graph)) == len(chapters)
        assert bool(torch.isfinite(index.codes([*groups(graph), 0])).all())
        assert all(s.start <= s.end for s in index.subtitles())
        assert all(s.start <= s.end and 0 <= s.confidence <= 1 for s in index.cues())
        assert all(s.start <= s.end for s in index.sentences())
        for tags in index.tags():
            assert all(0 < tag.p <= 1 and is_line(tag.name) for tag in tags)
        index.sentence_vectors()
        for i in range(count):
            assert index.thumbnail(i).startswith(b"\xff\xd8\xff")
        assert index.rebuild_command().isprintable()


if __name__ == "__main__":
    main(__doc__, "index", Target)
