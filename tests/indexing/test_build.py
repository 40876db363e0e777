"""Building an index: what is stored, what a second build does, and everything that can go wrong on the way."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import chunkv2l.indexing.build as module
from chunkv2l.adapter.algebra import concat
from chunkv2l.ask import Index
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index import schema
from chunkv2l.index.file import IndexFile
from chunkv2l.index.verify import verify
from chunkv2l.index.writer import Writer
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import BuildReport, Progress
from chunkv2l.indexing.segments import MU_STATEMENTS
from chunkv2l.models import Calibration
from chunkv2l.models.base import Tag
from chunkv2l.video.probe import probe
from chunkv2l.video.segmentation import cut
from tests.helpers.fake_vlm import VOCABULARY, FakeModel, fake_model
from tests.helpers.indexes import rows_of, sign_part, write_index
from tests.helpers.killed_builds import batches_of_eight
from tests.helpers.media import scene, write
from tests.helpers.movies import block_movie

SEGMENTS = 20


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        batches_of_eight(patch)
        yield


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return block_movie(tmp_path_factory.mktemp("movie") / "blocks.mp4", [2.0] * SEGMENTS)


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return fake_model()


@pytest.fixture(scope="module")
def built(movie: Path, model: FakeModel) -> Path:
    """An index of the movie, read only."""
    return make(movie, movie.with_name("built.idx"), model).index


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may replace."""
    (tmp_path / "a.idx").write_bytes(built.read_bytes())
    return tmp_path / "a.idx"


def make(movie: Path, out: Path, model: Any, **options: Any) -> BuildReport:
    return build(movie, out, model=model, **{"detector": "fixed:2", **options})


# ---- what is stored


def test_an_index_has_what_the_model_made_of_each_segment(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    report = make(movie, tmp_path / "a.idx", model, codes="fp32")
    with IndexFile(report.index) as index:
        assert [(s.start, s.end) for s in index.segments] == [(2.0 * i, 2.0 * i + 2) for i in range(SEGMENTS)]
        codes = index.codes()
        torch.testing.assert_close(codes.norm(dim=-1), torch.ones(SEGMENTS, 2, 2))
        assert len({tuple(code.flatten().tolist()) for code in codes}) == SEGMENTS
        adapters = concat([model.hypernet.expand(codes)], bias=model.hypernet.bias)
        assert [s.caption for s in index.segments] == model.vlm.generate([""] * SEGMENTS, adapters)
        assert len({s.caption for s in index.segments}) > 3
        assert {i for i, _ in index.search("a rocket!", SEGMENTS)} == {
            s.id for s in index.segments if "rocket" in s.caption.split()
        }
        assert all(s.mu is None for s in index.segments)
        assert index.meta.model == "fake" and dict(index.meta.identity) == model.identity
        assert index.meta.movie["name"] == "blocks.mp4" and index.meta.movie["duration"] == pytest.approx(40.0)
    assert verify(report.index) == []
    assert [p.name for p in tmp_path.iterdir()] == ["a.idx"]


def test_nothing_in_it_tells_where_or_when(built: Path, movie: Path, tmp_path: Path, model: FakeModel) -> None:
    moved = tmp_path / "elsewhere" / movie.name
    moved.parent.mkdir()
    moved.write_bytes(movie.read_bytes())
    report = make(moved, tmp_path / "other name.idx", model)
    assert rows_of(report.index) == rows_of(built)
    assert report.index.read_bytes() == built.read_bytes()
    assert str(movie.parent).encode() not in built.read_bytes()


def test_beside_the_movie_unless_asked_otherwise(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    copied = tmp_path / "a.b.mp4"
    copied.write_bytes(movie.read_bytes())
    assert build(copied, model=model, detector="fixed:4").index == tmp_path / "a.b.idx"


def test_without_captions(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    report = make(movie, tmp_path / "a.idx", model, captions=False)
    with IndexFile(report.index) as index:
        assert {s.caption for s in index.segments} == {""} and index.search("the cat") == []
        assert "--no-captions" in index.rebuild_command()
    assert "captions" not in report.stages


def test_captions_come_from_codes_as_they_are_stored(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    with IndexFile(make(movie, tmp_path / "a.idx", model, codes="int8").index) as index:
        adapters = concat([model.hypernet.expand(index.codes())], bias=model.hypernet.bias)
        assert [s.caption for s in index.segments] == model.vlm.generate([""] * SEGMENTS, adapters)


def test_captions_are_one_line(movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fake_model()
    monkeypatch.setattr(
        model.vlm, "generate", lambda questions, *_, **__: [" A dog\x1b[2J\n\u2028 runs.\x00 "] * len(questions)
    )
    with IndexFile(make(movie, tmp_path / "a.idx", model).index) as index:
        assert {s.caption for s in index.segments} == {"A dog [2J runs."}


def test_mean_scores_where_the_model_was_calibrated_with_them(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    report = make(movie, tmp_path / "a.idx", replace(model, calibration=Calibration(mu=True)))
    with IndexFile(report.index) as index:
        adapters = concat([model.hypernet.expand(index.codes())], bias=model.hypernet.bias)
        own = model.vlm.score(MU_STATEMENTS, adapters)
        wanted = (own - model.vlm.score(MU_STATEMENTS, model.hypernet.bias)).mean(dim=1)
        torch.testing.assert_close(torch.tensor([s.mu for s in index.segments]), wanted)
        assert wanted.std() > 0
    assert "scores" in report.stages


# ---- what it tells


def test_report_and_progress(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    seen: list[Progress] = []
    report = make(movie, tmp_path / "a.idx", model, progress=seen.append)
    assert not report.nothing_to_do and (report.segments, report.resumed) == (SEGMENTS, 0)
    assert report.stages.keys() == {"load", "read", "wait", "encode", "hypernet", "captions", "write", "chapters"}
    assert 0 < report.realtime["total"] < report.realtime["encode"]
    assert report.index_bytes == (tmp_path / "a.idx").stat().st_size
    assert 2 * 2 * 8 * 2 < report.code_bytes < 200
    assert report.peak_memory_bytes is None or report.peak_memory_bytes > 50 << 20
    assert json.loads(json.dumps(report.to_json()))["index"] == str(tmp_path / "a.idx")
    assert [p.stage for p in seen] == ["read", *["encode", "captions", "write", "read"] * 3, "chapters"]
    assert [p.segments for p in seen[:13:4]] == [0, 8, 16, 20] and [p.done for p in seen[:13:4]] == [0, 16, 32, 40]
    assert seen[0].eta is None and seen[-1].eta == 0 and seen[-1].realtime > 0
    assert all(p.total == pytest.approx(40.0) for p in seen)


def test_what_readers_warn_of_is_in_the_report(
    movie: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_warning(*arguments: Any, **named: Any) -> Any:
        logging.getLogger("chunkv2l").warning("The picture near %.2f s can't be decoded.", 3.5)
        yield from cut(*arguments, **named)

    monkeypatch.setattr(module, "cut", with_a_warning)
    assert make(movie, tmp_path / "a.idx", model).notices == ("The picture near 3.50 s can't be decoded.",)


# ---- what is there already


def test_unchanged_there_is_nothing_to_do(movie: Path, out: Path, model: FakeModel, tmp_path: Path) -> None:
    before, entry = out.read_bytes(), out.stat()
    renamed = tmp_path / "another name.mp4"
    renamed.write_bytes(movie.read_bytes())
    for same in (movie, renamed):
        report = make(same, out, model)
        assert report.nothing_to_do and report.segments == SEGMENTS
        assert report.notices == (f"{out} is up to date with {same.name}: nothing to do.",)
    assert out.read_bytes() == before and out.stat().st_mtime_ns == entry.st_mtime_ns


def test_force_builds_anew(movie: Path, out: Path, model: FakeModel) -> None:
    with sqlite3.connect(out) as connection:
        connection.execute("UPDATE segments SET caption = 'A mistake.' WHERE id = 3")
    report = make(movie, out, model, force=True)
    assert not report.nothing_to_do and report.notices == ()
    with IndexFile(out) as index:
        assert index.segments[3].caption != "A mistake."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codes": "fp16"}, "codes"),
        ({"captions": False}, "captions"),
        ({"detector": "fixed:4", "max_length": 8.0}, "detector, max length"),
    ],
)
def test_other_settings_build_anew(
    movie: Path, out: Path, model: FakeModel, options: dict[str, Any], words: str
) -> None:
    report = make(movie, out, model, **options)
    assert report.notices == (f"{out} was built with another {words}: building it anew.",)
    with IndexFile(out) as index:
        assert {name: index.meta.settings[name] for name in options} == options
    assert make(movie, out, model, **options).nothing_to_do


def test_another_model_builds_anew(movie: Path, out: Path, model: FakeModel) -> None:
    report = make(movie, out, fake_model(seed=5))
    assert report.notices == (f"{out} was built with another model: building it anew.",)
    with IndexFile(out) as index, pytest.raises(InputError, match="another model"):
        index.require_identity(model.identity)


def test_another_movies_index_is_replaced_only_by_force(out: Path, model: FakeModel, tmp_path: Path) -> None:
    other = block_movie(tmp_path / "other.mp4", [2.0] * 3, seed=9)
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"index of another movie, blocks\.mp4: .* --force"):
        make(other, out, model)
    assert out.read_bytes() == before
    assert make(other, out, model, force=True).segments == 3


def test_names_that_sqlite_could_take_for_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_index(Path("file:x.idx"))
    for name in ("file:y.idx?mode=ro", "file:%41.idx", ":memory:"):
        with Writer(Path(name)) as writer:
            assert writer.path.exists()
    for name in ("file:x.idx", str(tmp_path / "file:x.idx")):
        with IndexFile(Path(name)) as index:
            assert index.meta.movie
    names = [":memory:.part", "file:%41.idx.part", "file:x.idx", "file:y.idx?mode=ro.part"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_an_unknown_encoding_is_refused_where_there_are_no_subtitles(tmp_path: Path, model: FakeModel) -> None:
    with pytest.raises(InputError, match="There is no encoding 'klingon'"):
        build(tmp_path / "a.mp4", model=model, encoding="klingon")


@pytest.mark.parametrize("force", [False, True])
def test_something_else_is_never_replaced(movie: Path, tmp_path: Path, model: FakeModel, force: bool) -> None:
    precious = tmp_path / "letter.txt"
    precious.write_text("Dear reader, " * 20)
    with pytest.raises(InputError, match="and isn't replaced: choose another -o"):
        make(movie, precious, model, force=force)
    with pytest.raises(InputError, match="is a folder"):
        make(movie, tmp_path, model, force=force)
    copied = tmp_path / "movie.idx"
    copied.write_bytes(movie.read_bytes())
    with pytest.raises(InputError, match="would replace the movie"):
        build(copied, model=model, force=force)
    assert precious.read_text().startswith("Dear") and copied.read_bytes() == movie.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter.txt", "movie.idx"]


def test_a_damaged_index_is_replaced_by_force(movie: Path, out: Path, model: FakeModel) -> None:
    data = bytearray(out.read_bytes())
    data[4096 * 2 :] = b"\xaa" * (len(data) - 4096 * 2)
    out.write_bytes(data)
    with pytest.raises(InputError, match="--force"):
        make(movie, out, model)
    make(movie, out, model, force=True)
    assert verify(out) == []


def test_a_newer_versions_index_is_replaced_by_force(movie: Path, out: Path, model: FakeModel) -> None:
    with sqlite3.connect(out) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="newer chunkv2l"):
        make(movie, out, model)
    make(movie, out, model, force=True)
    assert verify(out) == []


# ---- bad input


class Unloadable:
    """A model that mustn't be touched."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked of a model for a movie that can't be used")


def test_bad_movies_are_told_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_load", lambda *_: Unloadable())
    text = tmp_path / "text.mp4"
    text.write_text("no movie")
    for movie in (tmp_path / "missing.mp4", tmp_path, text):
        with pytest.raises(InputError):
            build(movie, tmp_path / "a.idx")
    assert [p.name for p in tmp_path.iterdir()] == ["text.mp4"]


def test_a_movie_that_turns_out_to_be_empty_leaves_nothing(
    movie: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cut", lambda *_, **__: (one for one in list[Any]()))
    with pytest.raises(InputError, match="no picture that can be decoded"):
        make(movie, tmp_path / "a.idx", model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [{"codes": "fp8"}, {"reader": "vlc"}, {"detector": "guess"}, {"min_length": 9.0}, {"max_length": -1.0}]
)
def test_bad_settings(movie: Path, tmp_path: Path, model: FakeModel, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(movie, tmp_path / "a.idx", model, **options)
    assert not list(tmp_path.iterdir())


def test_no_folder(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    with pytest.raises(InputError, match="no folder"):
        make(movie, tmp_path / "no" / "a.idx", model)
    with pytest.raises(InputError, match="unfinished"):
        make(movie, tmp_path / "a.idx.part", model)


# ---- interrupted


def stop_at(stage: str, count: int, error: BaseException | None = None) -> Any:
    """A progress function that raises when a stage begins for the n-th time; None stands for a real Ctrl+C."""
    seen: list[str] = []

    def progress(told: Progress) -> None:
        seen.append(told.stage)
        if told.stage == stage and seen.count(stage) == count:
            if error is None:
                signal.raise_signal(signal.SIGINT)
            else:
                raise error

    return progress


@pytest.mark.parametrize(("stage", "count", "stored"), [("encode", 1, 0), ("write", 2, 8), ("read", 3, 16)])
def test_interrupted_it_goes_on(
    movie: Path, built: Path, tmp_path: Path, model: FakeModel, stage: str, count: int, stored: int
) -> None:
    out = tmp_path / "a.idx"
    with pytest.raises(KeyboardInterrupt):
        make(movie, out, model, progress=stop_at(stage, count))
    assert not [t for t in threading.enumerate() if t.name == "chunkv2l-prefetch"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.idx.part"]
    seen: list[Progress] = []
    report = make(movie, out, model, progress=seen.append)
    assert report.resumed == stored and seen[0].segments == stored
    assert bool(report.notices) == (stored > 0)
    assert rows_of(out) == rows_of(built)


def test_a_model_that_fails_leaves_a_part_to_go_on_from(movie: Path, built: Path, tmp_path: Path) -> None:
    model, out = fake_model(), tmp_path / "a.idx"
    with pytest.raises(RuntimeError, match="out of memory"):
        make(movie, out, model, progress=stop_at("captions", 2, RuntimeError("out of memory")))
    assert make(movie, out, model).resumed == 8
    assert rows_of(out) == rows_of(built)


@pytest.mark.parametrize("options", [{"codes": "fp16"}, {"detector": "fixed:4"}, {"captions": False}])
def test_a_part_of_other_settings_is_started_over(
    movie: Path, tmp_path: Path, model: FakeModel, options: dict[str, Any]
) -> None:
    out = tmp_path / "a.idx"
    with pytest.raises(KeyboardInterrupt):
        make(movie, out, model, progress=stop_at("encode", 2))
    report = make(movie, out, model, **options)
    assert report.resumed == 0 and "starting over" in report.notices[0]
    whole = make(movie, tmp_path / "b.idx", model, **options)
    assert rows_of(out) == rows_of(whole.index)


def test_a_part_whose_cuts_have_moved_is_started_over(
    movie: Path, built: Path, tmp_path: Path, model: FakeModel
) -> None:
    out = tmp_path / "a.idx"
    with pytest.raises(KeyboardInterrupt):
        make(movie, out, model, progress=stop_at("encode", 2))
    with sqlite3.connect(out.with_name("a.idx.part")) as connection:
        connection.execute("UPDATE segments SET end = end + 0.1 WHERE id = 5")
        connection.execute("UPDATE segments SET start = start + 0.1 WHERE id = 6")
    sign_part(out.with_name("a.idx.part"))
    report = make(movie, out, model)
    assert "cuts are found elsewhere" in report.notices[1] and report.resumed == 0
    assert rows_of(out) == rows_of(built)


def test_a_part_with_more_than_there_is_now(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    out = tmp_path / "a.idx"
    make(movie, out, model)
    out.rename(out.with_name("a.idx.part"))
    with sqlite3.connect(out.with_name("a.idx.part")) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'segments'")
        connection.execute(
            "INSERT INTO segments SELECT 20, 40, 42, caption, speech, code, mu, key, thumbnail FROM segments LIMIT 1"
        )
        connection.execute("INSERT INTO words (words) VALUES ('delete-all')")  # filled when a build ends
    sign_part(out.with_name("a.idx.part"))
    report = make(movie, out, model)
    assert "cuts are found elsewhere" in report.notices[1] and report.segments == SEGMENTS


@pytest.mark.parametrize("content", [b"no database" * 1000, None])
def test_a_part_that_isnt_ours_is_left_alone(
    movie: Path, tmp_path: Path, model: FakeModel, content: bytes | None
) -> None:
    part = tmp_path / "a.idx.part"
    if content is None:
        with sqlite3.connect(part) as connection:
            connection.execute("CREATE TABLE letters (x)")
    else:
        part.write_bytes(content)
    before = part.read_bytes()
    with pytest.raises(InputError, match="remove it and build again"):
        make(movie, tmp_path / "a.idx", model)
    assert part.read_bytes() == before


# ---- two builds, full disks


def test_a_second_build_of_the_same_index_says_so(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    out = tmp_path / "a.idx"

    def second(progress: Progress) -> None:
        for force in (False, True):
            with pytest.raises(InputError, match=r"Another build is writing .*a\.idx now"):
                make(movie, out, model, force=force)

    report = make(movie, out, model, progress=second)
    assert report.notices == () and verify(out) == []


def test_the_lock_is_there_from_the_beginning_and_gone_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "a.idx"
    with Writer(out), pytest.raises(InputError, match="Another build"):
        Writer(out)
    with Writer(out) as writer, pytest.raises(InputError, match="Another build"):
        writer.start_over()
        Writer(out)
    write_index(out)
    Writer(out).close()


def test_a_reader_of_the_part_doesnt_stop_the_build(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    out = tmp_path / "a.idx"

    def look(progress: Progress) -> None:
        with pytest.raises(InputError, match=f"isn't finished: {progress.segments} segments are stored"):
            IndexFile(out)

    make(movie, out, model, progress=look)
    assert verify(out) == []


def test_a_full_disk(
    movie: Path, built: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite meets its page limit as it meets a full disk, with SQLITE_FULL: in one transaction after another."""
    out, pages = tmp_path / "a.idx", built.stat().st_size // schema.PAGE_SIZE
    stored = []
    prepare = Writer._prepare
    for limit in range(1, pages, 2):

        def small(writer: Writer, connection: sqlite3.Connection, limit: int = limit) -> None:
            connection.execute(f"PRAGMA max_page_count = {limit}")
            prepare(writer, connection)

        with monkeypatch.context() as patched:
            patched.setattr(Writer, "_prepare", small)
            with pytest.raises(ChunkV2LError, match=r"disk is full: .*run the same command to go on") as caught:
                make(movie, out, model)
        assert caught.value.exit_code == 1
        with Writer(out) as writer:
            stored.append(len(writer.stored()))
    assert stored == sorted(stored) and {0, 8, 16} <= set(stored)
    make(movie, out, model)
    assert rows_of(out) == rows_of(built)


# ---- a file that is still being written, and a header that is wrong


def build_while(change: Callable[[Path], object], movie: Path, folder: Path, model: FakeModel) -> BuildReport:
    """Build the index of a copy of the movie, to whose file something happens on the way."""
    copy = folder / movie.name
    copy.write_bytes(movie.read_bytes())
    waiting = [change]

    def progress(state: Progress) -> None:
        if state.segments and waiting:
            waiting.pop()(copy)

    report = make(copy, folder / "a.idx", model, progress=progress)
    assert not waiting
    return report


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(1000))


def overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40:] = bytes(40)
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))


def edit_in_secret(path: Path) -> None:
    """Change one byte in place, and set the time of the last change back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-40, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [grow, overwrite, edit_in_secret, Path.unlink])
def test_a_movie_that_changes_while_it_is_read_is_not_indexed(
    change: Callable[[Path], object], movie: Path, tmp_path: Path, model: FakeModel
) -> None:
    with pytest.raises(InputError, match=r"has changed while it was read \([\d,]+ bytes then, [\d,]+ now\)"):
        build_while(change, movie, tmp_path, model)
    assert [path.name for path in tmp_path.iterdir() if path.name != movie.name] == []


def test_a_movie_that_grows_is_not_read_to_its_end(
    movie: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkv2l.indexing.build.BATCH", 4)
    stored: list[int] = []

    def grow_and_count(state: Progress) -> None:
        stored.append(state.segments)
        if state.segments == 4:
            grow(copy)

    copy = tmp_path / movie.name
    copy.write_bytes(movie.read_bytes())
    with pytest.raises(InputError, match="has changed while it was read"):
        make(copy, tmp_path / "a.idx", model, progress=grow_and_count)
    assert max(stored) < SEGMENTS and list(tmp_path.iterdir()) == [copy]


def test_a_movie_that_is_touched_while_it_is_read_is_indexed(movie: Path, tmp_path: Path, model: FakeModel) -> None:
    report = build_while(lambda path: os.utime(path, ns=(1, 1)), movie, tmp_path, model)
    assert report.segments == SEGMENTS and report.notes == ()


def test_a_large_movie_that_gets_another_link_is_indexed_with_a_note(
    movie: Path, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large one samples are compared, so that what changed between them can't be known."""
    monkeypatch.setattr("chunkv2l.indexing.build.WHOLE", 0)
    report = build_while(lambda path: path.chmod(0o600), movie, tmp_path, model)
    assert report.segments == SEGMENTS and [note.kind for note in report.notes] == ["file"]


def test_an_index_says_the_length_that_was_read(tmp_path: Path, model: FakeModel) -> None:
    parts = [write(tmp_path / f"{n}.mpg", scene(n, 150), codec="mpeg2video") for n in (1, 2)]
    joined_movie = tmp_path / "a.mpg"
    joined_movie.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert probe(joined_movie).duration < 7
    report = make(joined_movie, tmp_path / "a.idx", model)
    assert report.movie["duration"] == pytest.approx(12.0, abs=0.1)
    with IndexFile(report.index) as index:
        assert index.meta.movie["duration"] == index.segments[-1].end == report.movie["duration"]
    assert make(joined_movie, tmp_path / "a.idx", model).nothing_to_do


def test_a_length_that_is_off_by_less_than_a_second_is_corrected_with_a_note(tmp_path: Path, model: FakeModel) -> None:
    """A program stream has no length in its header: FFmpeg estimates it from the rate of the last bytes."""
    path = write(tmp_path / "a.vob", [image for seed in range(4) for image in scene(seed, 50)], codec="mpeg2video")
    header = probe(path).duration
    report = build(path, model=model)
    with IndexFile(report.index) as index:
        assert index.meta.movie["duration"] == index.segments[-1].end == pytest.approx(8.0)
    assert 0.3 < abs(header - 8.0) < 2.0
    assert [note.kind for note in report.notes] == ["length"] and "lasts 8.00 s, although" in report.notes[0].text


def test_tags_are_stored_and_enter_no_prompt(movie: Path, tmp_path: Path) -> None:
    """What is asked of the language model, while building and asking, is the same token for token without them."""
    prompts, plain, tagged = [], fake_model(), fake_model()
    tagged.vlm.tags = (Tag("rocket", 0.75), Tag("house", 0.12345))
    for name, model in (("plain", plain), ("tagged", tagged)):
        path = tmp_path / f"{name}.idx"
        build(movie, path, model=model, detector="fixed:2")
        for policy in (None, "route", "fts", "mean"):
            with Index(path, model) as index:
                index.ask("What does the dog catch?", policy=policy, budget=4)
        prompts.append(model.vlm.prompts)
    with IndexFile(tmp_path / "tagged.idx") as file:
        assert [[(tag.name, tag.p) for tag in tags] for tags in file.tags()] == [
            [("rocket", 0.75), ("house", 0.1235)]
        ] * SEGMENTS
        assert {number for number, _ in file.search("rockets")} == set(range(SEGMENTS))
    assert verify(tmp_path / "tagged.idx") == []
    assert prompts[0] == prompts[1]
    words = {VOCABULARY.index("rocket"), VOCABULARY.index("house")}
    assert not words & {token for prompt in prompts[1] for token in prompt}
