"""What an interrupted build left is checked before another one goes on with it, whoever put it there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.schema import part_path
from chunkv2l.index.verify import verify
from chunkv2l.index.writer import Writer
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import BuildReport, Progress
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.indexes import rows_of, write_index
from tests.helpers.killed_builds import batches_of_eight
from tests.helpers.movies import block_movie

SPEECH = "1\n00:00:01,000 --> 00:00:03,000\nHello there!\n"


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return fake_model()


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return block_movie(tmp_path_factory.mktemp("movie") / "blocks.mp4", seconds=(2.0,) * 20)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    batches_of_eight(monkeypatch)


def make(movie: Path, out: Path, model: Any, **options: Any) -> BuildReport:
    return build(movie, out, model=model, detector="fixed:2", **options)


@pytest.fixture(scope="module")
def interrupted(movie: Path, model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a build leaves that was interrupted after two batches."""

    def stop(progress: Progress) -> None:
        if progress.segments >= 16:
            raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("part") / "a.idx"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        batches_of_eight(patch)
        make(movie, out, model, progress=stop)
    assert [path.name for path in out.parent.iterdir()] == [part_path(out).name]
    return part_path(out).read_bytes()


@pytest.fixture
def part(interrupted: bytes, tmp_path: Path) -> Path:
    """A copy of it that may be spoilt."""
    path = part_path(tmp_path / "a.idx")
    path.write_bytes(interrupted)
    return path


@pytest.fixture(scope="module")
def whole(movie: Path, model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a build that ran through."""
    with pytest.MonkeyPatch.context() as patch:
        batches_of_eight(patch)
        return rows_of(make(movie, tmp_path_factory.mktemp("whole") / "a.idx", model).index)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 4 : 4096 * 4 + 500] = os.urandom(500)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: change(path, "UPDATE segments SET code = x'00' WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET code = zeroblob(length(code)) WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET thumbnail = x'ffd8ff' WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET caption = char(27) WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET caption = 'Another caption.' WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET code = (SELECT code FROM segments WHERE id = 4) WHERE id = 3"),
        lambda path: change(path, "DELETE FROM meta WHERE key = 'digests'"),
        lambda path: change(path, "UPDATE segments SET speech = 'planted' WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET speech = 'planted' WHERE id = 15"),
        lambda path: change(path, "UPDATE segments SET mu = 9e999 WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET key = x'00' WHERE id = 3"),
        lambda path: change(path, "UPDATE segments SET end = 1e308 WHERE id = 15"),
        lambda path: change(path, "DELETE FROM segments WHERE id = 3"),
        lambda path: change(path, "DELETE FROM meta WHERE key = 'movie'"),
        lambda path: change(path, "DELETE FROM meta"),
        lambda path: change(path, "UPDATE meta SET value = '[' WHERE key = 'movie'"),
        lambda path: change(path, "INSERT INTO meta VALUES ('segments', '16')"),
        lambda path: change(path, "INSERT INTO chapters VALUES (0, 0, 40, x'00')"),
        lambda path: change(path, "CREATE TRIGGER t AFTER INSERT ON segments BEGIN UPDATE segments SET mu = 1; END"),
        lambda path: change(path, "CREATE VIEW v AS SELECT * FROM segments"),
        lambda path: change(path, "DROP TABLE similar"),
        lambda path: change(path, "PRAGMA user_version = 1"),
        lambda path: change(path, "PRAGMA user_version = 1", "CREATE VIEW v AS SELECT * FROM segments"),
        lambda path: change(path, "UPDATE words_config SET v = NULL"),
        scribble,
    ],
)
def test_what_is_damaged_or_planted_is_started_over(
    movie: Path, part: Path, model: FakeModel, whole: dict[str, list[tuple[Any, ...]]], harm: Callable[[Path], None]
) -> None:
    harm(part)
    report = make(movie, part.with_name("a.idx"), model)
    assert any("starting over" in notice for notice in report.notices) and report.resumed == 0
    assert rows_of(report.index) == whole and verify(report.index) == []


def test_rows_that_only_the_end_of_a_build_writes_are_replaced(
    movie: Path, part: Path, model: FakeModel, whole: dict[str, list[tuple[Any, ...]]]
) -> None:
    change(
        part,
        "INSERT INTO similar VALUES (0, 1, 0.5)",
        "INSERT INTO words (rowid, caption, speech) VALUES (2, 'planted', '')",
        "INSERT INTO subtitles VALUES (0, 0.0, 1.0, 'planted')",
        "INSERT INTO meta VALUES ('notes', '[]')",
    )
    report = make(movie, part.with_name("a.idx"), model)
    assert rows_of(report.index) == whole and verify(report.index) == []


def test_force_throws_away_what_was_left(
    movie: Path, part: Path, model: FakeModel, whole: dict[str, list[tuple[Any, ...]]]
) -> None:
    change(part, "UPDATE segments SET caption = 'A planted caption.' WHERE id = 3")
    report = make(movie, part.with_name("a.idx"), model, force=True)
    assert report.resumed == 0 and rows_of(report.index) == whole


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (47, 5),  # SQLite's formats of schemas end with 4
        (18, 3),  # versions to write it with end with 2
        (b"CREATE TABLE segments", b"CREATE TABLX segm\x80nts"),  # of which SQLite's message is no UTF-8
    ],
)
def test_a_part_of_an_unknown_format_is_to_be_removed(
    movie: Path, part: Path, model: FakeModel, where: int | bytes, value: Any
) -> None:
    data = bytearray(part.read_bytes())
    if isinstance(where, int):
        data[where] = value
    else:
        data = data.replace(where, value)
    part.write_bytes(data)
    with pytest.raises(InputError, match="remove it and build again"):
        make(movie, part.with_name("a.idx"), model)


def test_a_header_that_sqlite_goes_on_with_is_that_of_an_index(
    movie: Path, part: Path, model: FakeModel, whole: dict[str, list[tuple[Any, ...]]]
) -> None:
    """Found by fuzzing: the version to write a file with may be 0, and the finished index was refused for it."""
    data = bytearray(part.read_bytes())
    data[18] = 0
    part.write_bytes(data)
    report = make(movie, part.with_name("a.idx"), model)
    assert report.resumed == 16 and rows_of(report.index) == whole and verify(report.index) == []


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + b"\xff" * 5000])
def test_files_of_others_are_left_alone(movie: Path, tmp_path: Path, model: FakeModel, content: bytes) -> None:
    part = part_path(tmp_path / "a.idx")
    part.write_bytes(content)
    for force in (False, True):
        with pytest.raises(InputError, match="remove it and build again"):
            make(movie, tmp_path / "a.idx", model, force=force)
    assert part.read_bytes() == content


def test_what_cant_be_read_back_never_gets_its_name(tmp_path: Path) -> None:
    write_index(tmp_path / "a.idx", finish=False)
    change(part_path(tmp_path / "a.idx"), "UPDATE segments SET start = -1 WHERE id = 0")
    with Writer(tmp_path / "a.idx") as writer:  # thrown away when it is opened
        assert writer.stored() == []
    write_index(tmp_path / "a.idx", finish=False)
    with Writer(tmp_path / "a.idx") as writer:
        writer.write(meta={"movie": {}})
        with pytest.raises(ChunkV2LError, match=r"can't be read back .* was removed"):
            writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_index_of_the_same_name_whose_movie_has_changed(tmp_path: Path, model: FakeModel) -> None:
    movie = block_movie(tmp_path / "m.mp4", seconds=(2.0,) * 2)
    make(movie, tmp_path / "m.idx", model)
    block_movie(movie, seconds=(2.0,) * 3)
    with pytest.raises(InputError, match=r"m\.mp4 has changed since .*m\.idx was built: build it anew with --force"):
        make(movie, tmp_path / "m.idx", model)
    assert make(movie, tmp_path / "m.idx", model, force=True).segments == 3


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("name", [b"lat\xe9in.mp4", "ä".encode() * 125 + b".mp4", b"a" * 251 + b".mp4", b" \n%?#.mp4"])
def test_names_of_any_bytes_and_lengths(
    tmp_path: Path, model: FakeModel, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "chunkv2l")  # what is captured is sent between processes, as UTF-8
    movie = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    block_movie(tmp_path / "m.mp4", seconds=(2.0,) * 2).rename(movie)
    report = build(movie, model=model, detector="fixed:2")
    with IndexFile(report.index) as index:
        assert len(index) == 2 and index.meta.movie["name"].isprintable()
    assert verify(report.index) == [] and build(movie, model=model, detector="fixed:2").nothing_to_do


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_names_that_no_file_can_have_are_refused(movie: Path, tmp_path: Path, model: FakeModel, name: str) -> None:
    with pytest.raises(InputError, match=r"choose a(nother| shorter) -o"):
        make(movie, tmp_path / name, model)


def test_notes_are_reported_and_recorded(tmp_path: Path, model: FakeModel) -> None:
    movie = block_movie(tmp_path / "m.mp4", seconds=(2.0,) * 3)
    (tmp_path / "m.srt").write_text(SPEECH + "\n2\n00:01:00,000 --> 00:01:03,000\nToo late.\n")
    report = make(movie, tmp_path / "m.idx", model)
    (note,) = report.notes
    assert note.kind == "subtitles" and "1 of the subtitles begins behind the movie's end" in note.text
    assert report.to_json()["notes"] == [{"kind": note.kind, "text": note.text}]
    with IndexFile(report.index) as index:
        assert [dict(recorded) for recorded in index.meta.notes] == report.to_json()["notes"]
    again = make(movie, tmp_path / "m.idx", model)
    assert again.nothing_to_do and again.notes == report.notes


def test_a_build_without_notes_records_none(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    report = make(movie, tmp_path / "a.idx", model)
    assert report.notes == () and "notes" not in dict(rows_of(report.index)["meta"])


@pytest.mark.parametrize("out", [".", "..", "/", "here"])
def test_an_index_isnt_put_where_a_folder_is(
    movie: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"is a folder: name a file in it with -o, such as .*\.idx"):
        build(movie, out, model=model)
