"""An index from elsewhere is untrusted: everything that can be wrong with one is a sentence, and nothing happens."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.rows import MAX_TAGS
from chunkv2l.index.schema import APPLICATION_ID, SCHEMA_VERSION
from chunkv2l.index.verify import verify
from tests.helpers.indexes import jpeg, write_index


def read_all(path: Path) -> None:
    """Everything that asking and showing read."""
    with IndexFile(path) as index:
        index.search("dog ball")
        index.codes()
        index.keys()
        index.chapter_codes()
        index.similar()
        index.cues()
        index.sentences()
        index.sentence_vectors()
        for i in range(len(index)):
            index.thumbnail(i)


def refusal(path: Path) -> str:
    """The sentence with which an index is refused."""
    with pytest.raises(InputError) as caught:
        read_all(path)
    sentence = str(caught.value)
    assert str(path) in sentence and sentence.isprintable()
    return sentence


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_index(tmp_path_factory.mktemp("index") / "a.idx").read_bytes()


@pytest.fixture
def path(tmp_path: Path, sound: bytes) -> Path:
    (tmp_path / "a.idx").write_bytes(sound)
    return tmp_path / "a.idx"


def change(path: Path, *statements: str | tuple[str, tuple[Any, ...]]) -> None:
    """Run SQL on an index, whatever it allows or not."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))
        connection.commit()


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


# ---- files that aren't an index


def test_missing(tmp_path: Path) -> None:
    sentence = refusal(tmp_path / "no such.idx")
    assert "There is no" in sentence and f"chunkv2l build MOVIE -o '{tmp_path / 'no such.idx'}'" in sentence


def test_a_part_that_is_finished_or_never_was(tmp_path: Path) -> None:
    whole = tmp_path / "a.idx"
    assert f"chunkv2l build MOVIE -o {whole}" == refusal(tmp_path / "a.idx.part").split("with ")[1]
    write_index(whole)
    assert refusal(tmp_path / "a.idx.part").endswith(f"the build is finished, ask {whole}.")


def test_a_directory(tmp_path: Path) -> None:
    assert "directory" in refusal(tmp_path)


def test_unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", denied)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"SQLite format 3\0", os.urandom(4096), b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_not_an_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.idx").write_bytes(content)
    assert "not an index" in (sentence := refusal(tmp_path / "a.idx")) or "isn't an index" in sentence


def test_another_sqlite_file(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.idx")) as connection:
        connection.execute("CREATE TABLE segments (id)")
    assert "not an index" in refusal(tmp_path / "a.idx")


def test_wrong_application_id(path: Path) -> None:
    change(path, "PRAGMA application_id = 7")
    assert "not an index" in refusal(path)


def test_newer_schema(path: Path) -> None:
    change(path, "PRAGMA user_version = 99")
    assert "newer chunkv2l (schema 99" in refusal(path) and "upgrade" in refusal(path)


def test_no_schema_version(path: Path) -> None:
    change(path, "PRAGMA user_version = 0")
    assert "header" in refusal(path)


def test_write_ahead_log(path: Path) -> None:
    change(path, "PRAGMA journal_mode = WAL")
    assert "header" in refusal(path)


def test_truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)
    assert "damaged" in refusal(path)


def test_only_a_header(path: Path) -> None:
    os.truncate(path, 100)
    assert "damaged" in refusal(path)


def test_a_planted_journal_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    journal = path.with_name(path.name + "-journal")
    header = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 1, 0, 1, 512, 4096)
    page = b"\0" * 4096
    journal.write_bytes(header.ljust(512, b"\0") + struct.pack(">I", 1) + page + struct.pack(">I", 0))
    kept = journal.read_bytes()
    try:
        read_all(path)
    except InputError as error:
        assert str(path) in str(error)
    assert path.read_bytes() == before and journal.read_bytes() == kept


# ---- schema


@pytest.mark.parametrize(
    "table", ["meta", "segments", "chapters", "similar", "subtitles", "cues", "sentences", "words", "tags"]
)
def test_missing_table(path: Path, table: str) -> None:
    change(path, f"DROP TABLE {table}")
    assert f"missing in its schema: {table}" in refusal(path)


def test_missing_shadow_table(path: Path) -> None:
    change(path, "DELETE FROM sqlite_master WHERE name = 'words_data'")
    assert "words_data" in refusal(path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM segments; END",
        "CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN SELECT 1; END",
        "CREATE VIEW more AS SELECT load_extension('evil.so')",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON segments (abs(start))",
        "CREATE VIRTUAL TABLE more USING fts5(x)",
        "ANALYZE",
    ],
)
def test_planted(path: Path, statement: str) -> None:
    change(path, "CREATE VIEW v AS SELECT 1", statement)
    sentence = refusal(path)
    assert "what build doesn't make" in sentence


def test_a_view_in_the_place_of_a_table(path: Path) -> None:
    change(path, "DROP TABLE subtitles", "CREATE VIEW subtitles AS SELECT 0 AS id, 0 AS start, 1 AS end, 'x' AS text")
    assert "subtitles isn't defined as build defines it" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("caption TEXT NOT NULL", "caption TEXT NOT NULL DEFAULT (randomblob(9))"),
        ("mu REAL", "mu REAL AS (1/0)"),
        ("end REAL NOT NULL", "end REAL NOT NULL CHECK (load_extension('evil.so'))"),
    ],
)
def test_a_table_defined_otherwise(path: Path, old: str, new: str) -> None:
    change(path, ("UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'segments'", (old, new)))
    assert "damaged" in refusal(path)


def test_search_over_another_table(path: Path) -> None:
    change(path, "UPDATE sqlite_master SET sql = replace(sql, 'segments', 'meta') WHERE name = 'words'")
    assert "words isn't defined as build defines it" in refusal(path)


def test_schema_with_a_huge_statement(path: Path) -> None:
    padding = " " * 100_000
    change(path, ("UPDATE sqlite_master SET sql = sql || ? WHERE name = 'meta'", (padding,)))
    assert "meta isn't defined" in refusal(path)


def test_sentences_dont_carry_control_characters_out_of_the_file(path: Path) -> None:
    """Found by fuzzing: SQLite quotes the schema in its errors."""
    evil = "CREATE TABLE 'words_config\x1b[2J\u202e(k PRIMARY KEY, v"
    change(path, ("UPDATE sqlite_master SET sql = ? WHERE name = 'words_config'", (evil,)))
    refusal(path)
    assert all(finding.isprintable() for finding in verify(path))


def test_a_planted_name_with_control_characters(path: Path) -> None:
    change(path, 'CREATE TABLE "\x1b[2J" (x)')
    refusal(path)


# ---- meta


def set_meta(path: Path, key: str, value: object) -> None:
    change(path, ("UPDATE meta SET value = ? WHERE key = ?", (value, key)))


@pytest.mark.parametrize("key", ["movie", "model", "identity", "settings", "code_shape", "segments"])
@pytest.mark.parametrize("value", [None, "{", "3.5", '"\\u001b[2J"', "[" * 100_000, '{"a":NaN}', "1e999", b"\xff"])
def test_bad_meta(path: Path, key: str, value: object) -> None:
    if value is None:
        change(path, f"DELETE FROM meta WHERE key = '{key}'")
    else:
        set_meta(path, key, value)
    refusal(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("code_shape", [2, 2]),
        ("code_shape", [2, 2, -8]),
        ("code_shape", [2, 2, 8.0]),
        ("code_shape", [True, 2, 8]),
        ("code_shape", [1 << 20, 1 << 20, 8]),
        ("code_shape", [2, 2, 16]),
        ("code_shape", [1024, 16, 512]),
        ("segments", 4),
        ("segments", 6),
        ("segments", "5"),
        ("segments", True),
        ("settings", {}),
        ("settings", {"codes": "fp8"}),
        ("settings", {"codes": "int8"}),
        ("settings", {"codes": ["fp16"]}),
        ("settings", {"codes": "fp16", "detector": {"a": [[[[[[[[[1]]]]]]]]]}}),
        ("movie", {"name": "m.mp4", "sha256": "ab"}),
        ("movie", {"name": "m\x1b[31m.mp4", "sha256": "ab", "duration": 1}),
        ("movie", {"name": 3, "sha256": "ab", "duration": 1}),
    ],
)
def test_meta_that_doesnt_fit(path: Path, key: str, value: object) -> None:
    set_meta(path, key, json.dumps(value))
    assert "damaged" in refusal(path)


def test_oversized_meta(path: Path) -> None:
    set_meta(path, "model", json.dumps("x" * (2 << 20)))
    assert "too long" in refusal(path)


def test_too_many_meta_values(path: Path) -> None:
    change(path, *[("INSERT INTO meta VALUES (?, '1')", (f"k{i}",)) for i in range(100)])
    assert "more meta values" in refusal(path)


# ---- segments and blobs


@pytest.mark.parametrize(
    "assignment",
    [
        "start = 'x' WHERE id = 2",
        "start = 9e999 WHERE id = 2",
        "start = 7 WHERE id = 2",
        "end = 8 WHERE id = 2",
        "end = x'00' WHERE id = 2",
        "start = -1 WHERE id = 0",
        "id = 9 WHERE id = 4",
        "id = -1 WHERE id = 0",
        "caption = x'ff' WHERE id = 2",
        "caption = CAST(x'ff00fe' AS TEXT) WHERE id = 2",
        "caption = char(27) || '[2J' WHERE id = 2",
        "speech = char(10) WHERE id = 2",
        "caption = hex(zeroblob(100000)) WHERE id = 2",
        "mu = 'high' WHERE id = 2",
        "mu = -9e999 WHERE id = 2",
    ],
)
def test_bad_segments(path: Path, assignment: str) -> None:
    change(path, f"UPDATE segments SET {assignment}")
    assert "damaged" in refusal(path)


def fit(**tensors: torch.Tensor) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0",
        "a text",
        12,
        os.urandom(136),
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 0),
        _header(b"{}"),
        _header(b"[" * 500),
        _header(b'{"codes":{"dtype":"F16","shape":[2,2,8],"data_offsets":[0,64]}}'),
        _header(b'{"codes":{"dtype":"F16","shape":[2,2,8],"data_offsets":[0,9223372036854775807]}}') + b"\0" * 64,
        _header(b'{"codes":{"dtype":"F16","shape":[4294967296,4294967296,8],"data_offsets":[0,64]}}') + b"\0" * 64,
        _header(b'{"codes":{"dtype":"Q99","shape":[2,2,8],"data_offsets":[0,64]}}') + b"\0" * 64,
        b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02ls\x94\x85\x94R\x94.",
        fit(codes=torch.ones(2, 2, 4, dtype=torch.float16)),
        fit(codes=torch.ones(2, 2, 8)),
        fit(codes=torch.ones(2, 2, 8, dtype=torch.bfloat16)),
        fit(codes=torch.ones(32, dtype=torch.float16)),
        fit(code=torch.ones(2, 2, 8, dtype=torch.float16)),
        fit(codes=torch.ones(2, 2, 8, dtype=torch.float16), more=torch.ones(1)),
        fit(codes=torch.full((2, 2, 8), torch.nan, dtype=torch.float16)),
        fit(codes=torch.full((2, 2, 8), torch.inf, dtype=torch.float16)),
        fit(codes=torch.ones(2, 2, 8, dtype=torch.int8), scales=torch.ones(2, 2, dtype=torch.float16)),
        b"\0" * (1 << 20),
    ],
)
@pytest.mark.parametrize("table", ["segments", "chapters"])
def test_malformed_codes(path: Path, table: str, blob: object) -> None:
    if table == "segments":
        change(path, ("UPDATE segments SET code = ? WHERE id = 3", (blob,)))
    else:
        change(path, ("INSERT INTO chapters VALUES (0, 0, 4, ?)", (blob,)))
    sentence = refusal(path)
    assert "damaged" in sentence
    assert any("damaged" in finding for finding in verify(path))


def test_malformed_int8_scales(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", kind="int8")
    read_all(path)
    scales = torch.full((2, 2), torch.inf, dtype=torch.float16)
    change(path, ("UPDATE segments SET code = ?", (fit(codes=torch.ones(2, 2, 8, dtype=torch.int8), scales=scales),)))
    assert "aren't numbers" in refusal(path)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        "text",
        fit(other=torch.ones(128)),
        fit(key=torch.ones(2, 64)),
        fit(key=torch.ones(64)),
        fit(key=torch.full((128,), torch.nan)),
        fit(key=torch.ones(128, dtype=torch.int64)),
        fit(key=torch.ones(1 << 18)),
        None,
    ],
)
def test_malformed_keys(tmp_path: Path, blob: object) -> None:
    path = write_index(tmp_path / "a.idx", keys=torch.ones(5, 128))
    read_all(path)
    change(path, ("UPDATE segments SET key = ? WHERE id = 1", (blob,)))
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("blob", [b"", b"<svg/>", "text", jpeg() + b"\0" * (2 << 20)])
def test_malformed_thumbnails(path: Path, blob: object) -> None:
    change(path, ("UPDATE segments SET thumbnail = ? WHERE id = 1", (blob,)))
    assert "thumbnail" in refusal(path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0, 5, 0.5)], "don't exist"),
        ([(-1, 2, 0.5)], "don't exist"),
        ([(2, 1, 0.5)], "don't exist"),
        ([("x", 2, 0.5)], "don't exist"),
        ([(0, b"1", 0.5)], "don't exist"),
        ([(0, 1, 1.5)], "no cosine"),
        ([(0, 1, 0.0)], "no cosine"),
        ([(0, 1, "much")], "no cosine"),
        ([(0, 1, float("inf"))], "no cosine"),
    ],
)
def test_malformed_similar_segments(path: Path, rows: list[tuple[Any, ...]], words: str) -> None:
    change(path, *[("INSERT INTO similar VALUES (?, ?, ?)", row) for row in [(0, 2, 0.5), *rows]])
    assert words in refusal(path) and any(words in finding for finding in verify(path))


def test_more_pairs_than_a_build_makes(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", ["A dog."] * 12)
    change(path, *[("INSERT INTO similar VALUES (?, ?, 0.5)", (0, b)) for b in range(1, 10)])
    assert "more similar segments than there can be" in refusal(path)


@pytest.mark.parametrize(
    "row", [(0, "x", 1.0, "a"), (0, 1.0, 0.5, "a"), (0, 0.0, 1.0, b"a"), (0, 0.0, 1.0, "\x1b]0;"), (0, 0.0, 9e999, "a")]
)
def test_malformed_subtitles(path: Path, row: tuple[Any, ...]) -> None:
    change(path, ("INSERT INTO subtitles VALUES (?, ?, ?, ?)", row))
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((3, 4, "cat", 0.5), "don't follow"),  # there is no row 2
        ((2, 5, "cat", 0.5), "don't follow"),
        ((2, 0, "cat", 0.5), "don't follow"),  # behind those of segment 1
        ((2, "x", "cat", 0.5), "don't follow"),
        ((2, 1, "", 0.5), "isn't a line"),
        ((2, 1, b"cat", 0.5), "isn't a line"),
        ((2, 1, "a\x1b[2J", 0.5), "isn't a line"),
        ((2, 1, "x" * 65, 0.5), "isn't a line"),
        ((2, 1, "cat", 0.75), "can't be"),  # likelier than the one before
        ((2, 1, "cat", 0.0), "can't be"),
        ((2, 1, "cat", 9e999), "can't be"),
        ((2, 1, "cat", "much"), "can't be"),
        ((2, 1, "dog", 0.5), "more tags"),
    ],
)
def test_malformed_tags(tmp_path: Path, row: tuple[Any, ...], words: str) -> None:
    path = write_index(tmp_path / "a.idx", tags={0: (("dog", 0.9),), 1: (("dog", 0.6),)})
    read_all(path)
    change(path, ("INSERT INTO tags VALUES (?, ?, ?, ?)", row))
    assert words in refusal(path) and any(words in finding for finding in verify(path))


def test_more_tags_than_a_build_makes(path: Path) -> None:
    change(path, *[("INSERT INTO tags VALUES (?, 0, ?, 0.01)", (i, f"name {i}")) for i in range(MAX_TAGS + 1)])
    assert "more tags than there can be" in refusal(path)


def test_search_that_names_segments_that_arent_there(path: Path) -> None:
    change(path, "INSERT INTO words (rowid, caption, speech) VALUES (77, 'dog', '')")
    assert "full-text entries" in refusal(path)


def test_forged_search_data(path: Path) -> None:
    change(path, "UPDATE words_data SET block = randomblob(4000)")
    assert "damaged" in refusal(path)


def test_the_header_is_where_it_should_be(path: Path) -> None:
    """The offsets that the reader trusts before SQLite does."""
    header = path.read_bytes()[:100]
    assert (
        int.from_bytes(header[68:72], "big") == APPLICATION_ID
        and int.from_bytes(header[60:64], "big") == SCHEMA_VERSION
    )
    read_all(path)
    patch(path, 68, b"\0\0\0\0")
    refusal(path)
