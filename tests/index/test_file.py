"""Reading what was written: segments, codes, keys, pictures, search, and who an index belongs to."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch

from chunkv2l.errors import InputError
from chunkv2l.graph import groups, segment_graph
from chunkv2l.index import schema
from chunkv2l.index import tensors as packing
from chunkv2l.index import writer as store
from chunkv2l.index.database import Database
from chunkv2l.index.file import IndexFile
from chunkv2l.index.fts import make_fts_query
from chunkv2l.index.verify import verify
from tests.helpers.indexes import CAPTIONS, jpeg, origin, rows_of, some_codes, write_index


@pytest.mark.parametrize(("kind", "tolerance"), [("fp32", 0.0), ("fp16", 5e-4), ("int8", 4e-3)])
def test_codes_come_back(tmp_path: Path, kind: str, tolerance: float) -> None:
    with IndexFile(write_index(tmp_path / "a.idx", kind=kind)) as index:
        codes = index.codes()
        assert codes.dtype == torch.float32
        torch.testing.assert_close(codes, some_codes(), rtol=0, atol=tolerance)
        assert torch.equal(index.codes([3, 0, 3]), codes[[3, 0, 3]])
        assert index.codes([]).shape == (0, 2, 2, 8)
        with pytest.raises(InputError, match="segments 0 to 4, not 5"):
            index.codes([5])
        with pytest.raises(InputError, match="not -1"):
            index.codes([-1])


def test_segments_keys_and_pictures_come_back(tmp_path: Path) -> None:
    keys = torch.randn(5, 128, generator=torch.Generator().manual_seed(1))
    with IndexFile(write_index(tmp_path / "a.idx", keys=keys)) as index:
        assert [s.caption for s in index.segments] == list(CAPTIONS)
        assert [(s.id, s.start, s.end, s.duration) for s in index.segments[:2]] == [(0, 0, 4, 4), (1, 4, 8, 4)]
        read = index.keys()
        assert read is not None and torch.equal(read, keys)
        assert index.thumbnail(2) == jpeg()
        assert index.chapters() == () and index.subtitles() == ()
    with IndexFile(write_index(tmp_path / "b.idx")) as index:
        assert index.keys() is None


def test_search_ranks_and_stems(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", speech={3: "we have a running dog on board"})
    with IndexFile(path) as index:
        assert {i for i, _ in index.search("dogs")} == {0, 3, 4}
        best, score = index.search("a red ball")[0]
        assert best == 2 and score > 0
        scores = [score for _, score in index.search("dog ball grass book")]
        assert scores == sorted(scores, reverse=True)
        assert len(index.search("dog ball grass book", limit=2)) == 2
        assert index.search("elephant") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?!",
        '"',
        "'",
        'dog" OR "man',
        "caption:dog",
        "dog NOT man",
        "NEAR(dog man)",
        "dog*",
        "^dog",
        "-dog",
        "(dog",
        "{caption}:dog",
        "dog\0man",
        "Ünïcode 漢字 😀",
        "a " * 5000,
        "AND",
        "\ud800 dog",
    ],
)
def test_search_takes_any_text(tmp_path: Path, text: str) -> None:
    with IndexFile(write_index(tmp_path / "a.idx")) as index:
        found = index.search(text)
        assert {i for i, _ in found} <= set(range(5))
        if "dog" in text:
            assert 0 in {i for i, _ in found}


def test_words_are_quoted_once() -> None:
    assert make_fts_query('Dog NOT "dog" dog*') == '"dog" OR "not"'


def test_words_that_say_nothing_find_nothing_beside_others(tmp_path: Path) -> None:
    assert make_fts_query("When does a dog catch the ball?") == '"dog" OR "catch" OR "ball"'
    assert make_fts_query("Where is it?") == '"where" OR "is" OR "it"'
    with IndexFile(write_index(tmp_path / "a.idx")) as index:
        assert {i for i, _ in index.search("a rocket")} == {3}


TAGS = {0: (("dog", 0.9), ("golden retriever", 0.6)), 2: (("tennis ball", 0.5),), 4: (("golden retriever", 0.1),)}


def test_tags_come_back(tmp_path: Path) -> None:
    with IndexFile(write_index(tmp_path / "a.idx", tags=TAGS)) as index:
        tags = index.tags()
        assert [[(tag.name, tag.p) for tag in of_segment] for of_segment in tags] == [
            list(TAGS.get(number, ())) for number in range(5)
        ]
    with IndexFile(write_index(tmp_path / "b.idx")) as index:
        assert index.tags() == ((),) * 5


def test_search_finds_words_that_only_tags_say(tmp_path: Path) -> None:
    with IndexFile(write_index(tmp_path / "a.idx", tags=TAGS)) as index:
        assert [number for number, _ in index.search("retrievers")] == [0, 4]  # the likelier tag counts for more
        assert [number for number, _ in index.search("retriever", limit=1)] == [0]
        assert [number for number, _ in index.search("retriever", within=(1, 4))] == [4]
        assert all(score > 0 for _, score in index.search("retriever"))
        plain = dict(IndexFile(write_index(tmp_path / "b.idx")).search("ball"))
        tagged = dict(index.search("ball"))
        assert plain.keys() == tagged.keys() == {2, 4}
        assert tagged[2] > plain[2] and tagged[4] == plain[4]  # a caption and a tag that say it count together


def test_segments_keep_their_tags_over_several_batches(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    codes = some_codes()
    with store.Writer(path) as writer:
        writer.write(meta=origin())
        for first, numbers in ((0, (0, 1)), (2, (2,)), (3, (3, 4))):
            rows = [
                store.NewSegment(
                    4.0 * i, 4.0 * (i + 1), "", packing.to_bytes(codes[i], "fp16"), jpeg(), tags=TAGS.get(i, ())
                )
                for i in numbers
            ]
            writer.write(first, rows)
        writer.finish()
    with IndexFile(path) as index:
        assert [len(of_segment) for of_segment in index.tags()] == [2, 0, 1, 0, 1]


def test_chapters_and_subtitles(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx")
    with closing(sqlite3.connect(path)) as connection:
        code = connection.execute("SELECT code FROM segments WHERE id = 1").fetchone()[0]
        connection.executemany("INSERT INTO chapters VALUES (?, ?, ?, ?)", [(0, 0, 1, code), (1, 2, 4, code)])
        connection.execute("INSERT INTO subtitles VALUES (0, 1.5, 2.5, 'Look at the dog!')")
        connection.commit()
    with IndexFile(path) as index:
        assert [(c.first, c.last) for c in index.chapters()] == [(0, 1), (2, 4)]
        assert torch.equal(index.chapter_codes(), index.codes([1, 1]))
        assert [(s.start, s.end, s.text) for s in index.subtitles()] == [(1.5, 2.5, "Look at the dog!")]


@pytest.mark.parametrize("borders", [[(0, 0, 1), (1, 3, 4)], [(0, 0, 4), (1, 4, 4)], [(0, 0, 3)], [(0, 0, 7)]])
def test_chapters_that_dont_cover_the_movie(tmp_path: Path, borders: list[tuple[int, int, int]]) -> None:
    path = write_index(tmp_path / "a.idx")
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO chapters VALUES (?, ?, ?, x'00')", borders)
        connection.commit()
    with IndexFile(path) as index, pytest.raises(InputError, match="chapters that don't"):
        index.chapters()


def test_codes_by_the_graphs_nodes(tmp_path: Path) -> None:
    with IndexFile(write_index(tmp_path / "a.idx", kind="fp32", chapters=[(0, 1), (2, 4)])) as index:
        own, codes = index.chapter_codes(), index.codes()
        assert torch.equal(index.codes(["g1", 3, "g0"]), torch.stack([own[1], codes[3], own[0]]))
        for wrong in ("g2", "g01", "g-1", "h0", "", "g99999999999", "g²"):
            with pytest.raises(InputError, match=f"has groups g0 to g1, not '{wrong}'"):
                index.codes([0, wrong])
    with (
        IndexFile(write_index(tmp_path / "b.idx")) as index,
        pytest.raises(InputError, match="has no groups, not 'g0'"),
    ):
        index.codes(["g0"])


def test_similar_segments(tmp_path: Path) -> None:
    pairs = [(0, 1, 0.25), (0, 4, 1.0), (1, 3, 1e-6)]
    with IndexFile(write_index(tmp_path / "a.idx", similar=pairs)) as index:
        assert index.similar() == tuple(pairs)
    with IndexFile(write_index(tmp_path / "b.idx")) as index:
        assert index.similar() == ()


def first_version(path: Path) -> Path:
    """Make an index one of schema 1: without the tables that later ones added."""
    with closing(sqlite3.connect(path)) as connection:
        for name in schema.expected_schema(schema.SCHEMA_VERSION).keys() - schema.expected_schema(1).keys():
            connection.execute(f"DROP TABLE {name}")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    return path


def test_an_index_of_the_first_version_still_opens(tmp_path: Path) -> None:
    path = first_version(write_index(tmp_path / "a.idx", kind="fp16"))
    before = path.read_bytes()
    assert schema.expected_schema(1).keys() == schema.expected_schema(2).keys() - {"similar"}
    with IndexFile(path) as index:
        assert index.chapters() == () and index.similar() == () and index.chapter_codes().shape[0] == 0
        assert index.tags() == ((),) * 5
        assert index.codes([4]).shape == (1, 2, 2, 8) and [i for i, _ in index.search("rocket")] == [3]
        graph = segment_graph(index.segments, index.similar(), index.chapters())
        assert groups(graph) == [] and len(graph) == 5
    assert verify(path) == [] and path.read_bytes() == before


def test_a_part_of_the_first_version_says_how_far_it_is(tmp_path: Path) -> None:
    write_index(tmp_path / "a.idx", finish=False)
    first_version(tmp_path / "a.idx.part")
    with pytest.raises(InputError, match="5 segments are stored, 100 %"):
        IndexFile(tmp_path / "a.idx")


def test_another_models_codes_are_refused_with_the_command_that_rebuilds(tmp_path: Path) -> None:
    settings = {"detector": "fixed:4", "min_length": 0.5, "reader": "pyav", "captions": False, "codes": "int8"}
    path = write_index(tmp_path / "my index.idx", kind="int8", meta=origin("int8", settings=settings, model="mini"))
    with IndexFile(path) as index:
        index.require_identity({"hypernet": "cd" * 32})
        with pytest.raises(InputError, match="another model") as caught:
            index.require_identity({"hypernet": "ef" * 32, "vlm": "x"})
    sentence = str(caught.value)
    assert "hypernet, vlm" in sentence
    command = shlex.split(sentence[sentence.index("chunkv2l build") :])
    assert command == [
        *("chunkv2l", "build", "my movie.mp4", "-o", str(path), "--model", "mini", "--detector", "fixed:4"),
        *("--min-length", "0.5", "--reader", "pyav", "--codes", "int8", "--no-captions", "--force"),
    ]


@pytest.mark.parametrize(
    ("own", "words", "note"),
    [
        (["folder", "hypernet"], "--model MODEL_FOLDER --hypernet HYPERNET_FILE", "MODEL_FOLDER: the folder of mini; "),
        (["hypernet"], "--model mini --hypernet HYPERNET_FILE", ""),
        (["folder"], "--model MODEL_FOLDER --detector", "MODEL_FOLDER: the folder of mini)"),
    ],
)
def test_files_of_ones_own_are_named_in_capitals(tmp_path: Path, own: list[str], words: str, note: str) -> None:
    with IndexFile(write_index(tmp_path / "a.idx", meta=origin(own=own, model="mini"))) as index:
        command = index.rebuild_command()
        assert index.meta.origin()["own"] == own
    assert words in command and note in command and command.index("--force") < command.index(" (")
    assert ("HYPERNET_FILE: the file of SHA-256 cdcdcdcdcdcdcdcd…)" in command) == ("hypernet" in own)


def test_the_command_is_exact_about_numbers_names_and_detectors(tmp_path: Path) -> None:
    settings = {"detector": "own:Mine", "min_length": 1 / 3, "max_length": 12.5, "codes": "fp16"}
    meta = origin(settings=settings, model="mini", movie={**origin()["movie"], "name": "--force.mp4"})
    with IndexFile(write_index(tmp_path / "a.idx", meta=meta)) as index:
        command, _, note = index.rebuild_command().partition(" (")
    assert shlex.split(command)[2] == "./--force.mp4" and "--detector" not in command
    assert f"--min-length {1 / 3} --max-length 12.5" in command and note == "from Python, with your detector Mine)"


@pytest.mark.parametrize("model", ["../planted", "somebody/weights", "mini2"])
@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        ("detector", "evil.py:Detector", "--detector DETECTOR"),
        ("detector", "fixed:../4", "--detector DETECTOR"),
        ("reader", "evil", "--reader READER"),
        ("min_length", "$(id)", "--min-length MIN_LENGTH"),
    ],
)
def test_the_command_names_no_path_and_no_model_of_the_index(
    tmp_path: Path, model: str, setting: str, value: str, option: str
) -> None:
    settings = {**origin()["settings"], setting: value}
    with IndexFile(write_index(tmp_path / "a.idx", meta=origin(model=model, settings=settings))) as index:
        command, _, note = index.rebuild_command().partition(" (")
    assert model not in command and value not in command
    assert "--model MODEL " in command and option in command
    assert f"MODEL: the model that the index calls {model}" in note and f"{setting.upper()}: {value}" in note


def test_reading_changes_nothing_even_with_tricks(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx")
    before = path.read_bytes()
    with closing(Database(path)) as database, database.reading():
        for statement in ("DELETE FROM segments", "CREATE TABLE more (x)"):
            with pytest.raises(sqlite3.OperationalError):
                database.execute(statement)
        database.forbid_changes()
        with pytest.raises(sqlite3.OperationalError):
            database.execute("CREATE TEMP TABLE more (x)")
    with IndexFile(path) as index:
        index.search("dog")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.idx"]


def test_an_older_schema_gets_the_missing_tables_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_index(tmp_path / "a.idx")
    before = path.read_bytes()
    newer = (*schema.MIGRATIONS, ("CREATE TABLE places (id INTEGER PRIMARY KEY)",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    monkeypatch.setattr("chunkv2l.index.file.SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with IndexFile(path) as index:
        assert torch.equal(index.codes(), some_codes().half().float())
    assert path.read_bytes() == before


def test_migrations_only_add_tables() -> None:
    """Readers of an older index rely on it: they make the missing tables in memory, and copy nothing."""
    for statements in schema.MIGRATIONS[1:]:
        assert all(statement.startswith("CREATE TABLE ") for statement in statements)


def test_an_older_part_is_migrated_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_index(tmp_path / "a.idx", finish=False)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE places (id INTEGER PRIMARY KEY)",)))
    for module in ("writer", "validation", "file"):
        monkeypatch.setattr(f"chunkv2l.index.{module}.SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with store.Writer(tmp_path / "a.idx") as writer:
        assert len(writer.stored()) == 5
        writer.finish()
    rows = rows_of(tmp_path / "a.idx")
    assert rows["user_version"] == [(schema.SCHEMA_VERSION + 1,)] and rows["places"] == []


def test_not_finished(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", finish=False)
    for wanted in (path, tmp_path / "a.idx.part"):
        with pytest.raises(InputError, match=r"isn't finished: 5 segments are stored, 100 % of the movie") as caught:
            IndexFile(wanted)
        sentence = str(caught.value)
        command = shlex.split(sentence[sentence.index("chunkv2l build") :])
        assert command[:5] == ["chunkv2l", "build", "my movie.mp4", "-o", str(path)] and "--force" not in command


def test_how_far_a_build_is_can_be_asked_while_it_runs(tmp_path: Path) -> None:
    with store.Writer(tmp_path / "a.idx") as writer:
        writer.write(meta=origin())
        with pytest.raises(InputError, match="0 segments are stored, 0 %"):
            IndexFile(tmp_path / "a.idx")


def test_a_part_that_says_nothing(tmp_path: Path) -> None:
    for content in (b"", b"SQLite format 3\0", b"\0" * 5000):
        (tmp_path / "a.idx.part").write_bytes(content)
        with pytest.raises(InputError, match="interrupted early; run the same chunkv2l build again"):
            IndexFile(tmp_path / "a.idx.part")
