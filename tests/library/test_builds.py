"""Folders of movies built with one model: what is missing or stale, failures, resuming, moved movies, watching."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import chunkv2l.indexing.build as module
from chunkv2l.cli import main as cli
from chunkv2l.errors import InputError
from chunkv2l.index.schema import part_path
from chunkv2l.indexing.build import LoadedModel, build
from chunkv2l.library import builds
from chunkv2l.library.builds import FolderBuild, FolderProgress
from chunkv2l.library.library import Library
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import rows_of
from tests.helpers.movies import block_movie

OPTIONS: dict[str, Any] = {
    "detector": "fixed:2",
    "captions": False,
    "speech": "off",
    "screen_text": "off",
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for name, scenes in (("c", 1), ("a", 2), ("b", 3)):
        block_movie(folder / f"{name}.mp4", (2.0,) * scenes, seed=scenes)
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals, tmp_path / "movies"))


def of(*paths: Path, **options: Any) -> FolderBuild:
    return FolderBuild(paths, lambda: LoadedModel(fake_model(), []), OPTIONS, **options)


def states(build: FolderBuild) -> list[tuple[str, str]]:
    return [(outcome.movie.name, outcome.state) for outcome in build.run().outcomes]


def test_missing_indexes_are_built_smallest_first_and_once(folder: Path) -> None:
    told: list[FolderProgress] = []
    loads: list[int] = []

    def load() -> LoadedModel:
        loads.append(1)
        return LoadedModel(fake_model(), [])

    built = FolderBuild([folder], load, OPTIONS, progress=told.append).run()
    sizes = [outcome.movie.stat().st_size for outcome in built.outcomes]
    assert sizes == sorted(sizes) and {outcome.state for outcome in built.outcomes} == {"built"} and loads == [1]
    shares = [progress.share for progress in told]
    assert shares == sorted(shares) and told[-1].number == told[-1].total == 3 and told[-1].eta is not None
    assert built.describe() == ["3 movies: 3 built."]
    assert states(of(folder)) == [("c.mp4", "up to date"), ("a.mp4", "up to date"), ("b.mp4", "up to date")]
    with Library(folder, fake_model()) as library:
        assert [record.name for record in library.movies] == ["a.mp4", "b.mp4", "c.mp4"]


def test_a_failure_ends_it_or_is_told_at_the_end(folder: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"no movie")
    ended = of(folder).run()
    assert [outcome.movie.name for outcome in ended.failures] == ["broken.mp4"] and len(ended.left) == 3
    assert "3 not begun (--keep-going" in ended.describe()[0]
    report = of(folder, keep_going=True).run()
    summary, sentence = report.describe()
    assert summary == "4 movies: 3 built, 1 failed." and "broken.mp4" in sentence and sentence.endswith(".")
    assert report.to_json()["movies"][0]["state"] == "failed"


def test_two_at_once_make_the_same_rows(folder: Path, tmp_path: Path, originals: Path) -> None:
    assert len(of(folder, jobs=2).run().outcomes) == 3
    build(originals / "b.mp4", tmp_path / "b.idx", model=fake_model(), **OPTIONS)
    assert rows_of(folder / "b.idx") == rows_of(tmp_path / "b.idx")


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_goes_on(jobs: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1)

    def interrupt(progress: FolderProgress) -> None:
        if progress.movie.name == "b.mp4" and progress.progress.segments == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of(folder, jobs=jobs, progress=interrupt).run()
    assert part_path(folder / "b.idx").exists() and not (folder / "b.idx").exists()
    resumed = {outcome.movie.name: outcome for outcome in of(folder, jobs=jobs).run().outcomes}
    report = resumed["b.mp4"].report
    assert report is not None and report.resumed == 2 and report.segments == 3


def test_moved_and_renamed_movies_keep_their_indexes(folder: Path) -> None:
    of(folder).run()
    rows = rows_of(folder / "a.idx")
    (folder / "deep").mkdir()
    (folder / "a.mp4").rename(folder / "deep" / "new name.mp4")
    shutil.copy(folder / "b.mp4", folder / "copy.mp4")
    report = of(folder, recursive=True).run()
    by_name = {outcome.movie.name: outcome.state for outcome in report.outcomes}
    assert by_name == {"c.mp4": "up to date", "new name.mp4": "moved", "b.mp4": "up to date", "copy.mp4": "same"}
    assert not (folder / "a.idx").exists() and rows_of(folder / "deep" / "new name.idx") == rows
    with Library(folder, fake_model(), recursive=True) as library:
        assert [record.name for record in library.movies] == ["b.mp4", "c.mp4", "deep/new name.mp4"]


def test_another_file_of_the_same_size_doesnt_make_a_copy_of_a_movie(folder: Path) -> None:
    movie = folder / "c.mp4"
    build(movie, folder / "c.idx", model=fake_model(), **OPTIONS)
    movie.rename(folder / "d.mp4")
    movie.write_bytes(bytes((folder / "d.mp4").stat().st_size))
    assert states(of(folder / "d.mp4")) == [("d.mp4", "moved")]


def test_a_movie_that_has_changed_is_built_anew_but_no_other_movies_index_is_replaced(folder: Path) -> None:
    of(folder).run()
    shutil.copy(folder / "b.mp4", folder / "a.mp4")
    assert ("a.mp4", "built") in states(of(folder))
    (folder / "b.mp4").unlink()
    (folder / "c.idx").unlink()
    (folder / "b.idx").rename(folder / "c.idx")
    report = of(folder, keep_going=True).run()
    (failure,) = report.failures
    assert failure.movie.name == "c.mp4" and "another movie" in failure.text


def test_the_index_of_another_model_is_stale(folder: Path) -> None:
    of(folder).run()
    other = FolderBuild([folder / "c.mp4"], lambda: LoadedModel(fake_model(3), ["hypernet"]), OPTIONS)
    assert states(other) == [("c.mp4", "built")]


def test_links_and_pipes_are_left_out(folder: Path, tmp_path: Path, originals: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "link.mp4").symlink_to(originals / "a.mp4")
    os.mkfifo(folder / "pipe.mp4")
    with pytest.raises(InputError, match="no movie in"):
        of(folder).run()
    with pytest.raises(InputError, match="nothing at"):
        of(tmp_path / "nowhere").run()


def test_a_watched_folder_takes_new_movies_once_they_are_whole(
    folder: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1e9]
    whole = (originals / "b.mp4").read_bytes()
    for path in (folder / "a.mp4", folder / "b.mp4"):
        path.unlink()
    os.utime(folder / "c.mp4", (1e8, 1e8))
    looks = [0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        looks[0] += 1
        if looks[0] < 5:  # it grows
            (folder / "new.mp4").write_bytes(whole[: len(whole) * looks[0] // 5])
        elif looks[0] == 5:
            (folder / "new.mp4").write_bytes(whole)
        elif looks[0] > 20:
            raise KeyboardInterrupt
        if looks[0] <= 5:
            os.utime(folder / "new.mp4", (now[0], now[0]))

    monkeypatch.setattr(builds, "sleep", sleep)
    monkeypatch.setattr(builds, "monotonic", lambda: now[0])
    monkeypatch.setattr(builds, "time", lambda: now[0])
    rounds = []
    with pytest.raises(KeyboardInterrupt):
        for report in of(folder).watch():
            rounds.append([(outcome.movie.name, outcome.state, looks[0]) for outcome in report.outcomes])
    assert rounds == [[("c.mp4", "built", 0)], [("new.mp4", "built", 8)]]


def test_build_a_folder_on_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    (folder / "broken.mp4").write_bytes(b"no movie")
    words = ["build", str(folder), "--model", "fake", "--detector", "fixed:2", "--no-captions", "--keep-going"]
    assert cli.run([*words, "--speech", "off", "--screen-text", "off"]) == 1
    told = capsys.readouterr()
    assert "4 movies: 3 built, 1 failed.\n  " in told.out and "Error: " in told.err
    assert cli.run([*words, "-o", "x.idx"]) == 2
    assert cli.run(["build", str(folder / "a.mp4"), "--jobs", "2"]) == 2
    assert "name one" in capsys.readouterr().err
