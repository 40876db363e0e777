"""The catalogue lists what lies under the given paths and nothing else, and opens only what a first look passed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.serve.catalogue import Catalogue
from chunkv2l.serve.refusals import NotReady, UnknownMovie
from tests.helpers.indexes import write_index
from tests.helpers.movies import block_movie
from tests.helpers.serving import accept, index_with_movie, make_service


def test_folders_files_and_movies_without_an_index(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    index_with_movie(tmp_path / "a")
    write_index(tmp_path / "a" / "b" / "Ball game!.idx")
    write_index(tmp_path / ".hidden" / "x.idx")
    block_movie(tmp_path / "a" / "new.mp4", (1.0,))
    (tmp_path / "a" / "begun.mkv").write_bytes(b"")
    (tmp_path / "a" / "begun.idx.part").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("no movie")
    catalogue = Catalogue([tmp_path / "a"], check=accept)
    names = [entry.name for entry in catalogue.entries()]
    assert names == ["b/Ball game!.idx", "begun.mkv", "movie.idx", "new.mp4"]
    states = {movie["name"]: movie["state"] for movie in map(catalogue.summary, catalogue.entries())}
    assert states == {
        "b/Ball game!.idx": "not looked at yet",
        "begun.mkv": "unfinished",
        "movie.idx": "not looked at yet",
        "new.mp4": "no index",
    }
    ids = [entry.id for entry in catalogue.entries()]
    assert ids[0].startswith("ball-game-")
    assert ids == [entry.id for entry in Catalogue([tmp_path / "a"], check=accept).entries()]
    with pytest.raises(NotReady, match=r"new\.mp4 has no index yet"):
        catalogue.open(ids[3])


def test_an_index_by_name_brings_its_movie_and_no_neighbours(tmp_path: Path) -> None:
    path = index_with_movie(tmp_path)
    write_index(tmp_path / "other.idx")
    catalogue = Catalogue([path], check=accept)
    (entry,) = catalogue.entries()
    assert catalogue.open(entry.id).movie == (tmp_path / "movie.mp4").resolve()


def test_links_out_of_the_paths_arent_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    outside = index_with_movie(tmp_path / "outside")
    (tmp_path / "inside" / "link.idx").symlink_to(outside)
    (tmp_path / "inside" / "folder").symlink_to(tmp_path / "outside")
    catalogue = Catalogue([tmp_path / "inside"], check=accept)
    assert catalogue.entries() == []
    shutil.copy(outside, tmp_path / "inside" / "movie.idx")
    (tmp_path / "inside" / "movie.mp4").symlink_to(tmp_path / "outside" / "movie.mp4")
    (entry,) = catalogue.entries(anew=True)
    assert catalogue.open(entry.id).movie is None  # its movie is a link to the outside


def test_a_movie_that_is_replaced_isnt_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret outside")
    (tmp_path / "inside").mkdir()
    index_with_movie(tmp_path / "inside")
    service = make_service(tmp_path / "inside")
    try:
        (entry,) = service.catalogue.entries()
        opened = service.catalogue.open(entry.id)
        movie = service.movie_file(opened)
        content = movie.read_bytes()
        movie.unlink()
        movie.symlink_to(secret)
        with pytest.raises(UnknownMovie):
            service.movie_file(opened)
        movie.unlink()
        movie.write_bytes(content[:-1] + b"x")
        with pytest.raises(UnknownMovie):
            service.movie_file(opened)
        movie.write_bytes(content)
        assert service.movie_file(opened) == movie
    finally:
        service.close()


def test_links_within_the_paths_are_one_movie(tmp_path: Path) -> None:
    index_with_movie(tmp_path)
    (tmp_path / "link.idx").symlink_to(tmp_path / "movie.idx")
    assert len(Catalogue([tmp_path], check=accept).entries()) == 1


def test_the_first_look_is_in_a_sandbox_and_decides(tmp_path: Path) -> None:
    sound, damaged = index_with_movie(tmp_path), write_index(tmp_path / "damaged.idx")
    content = bytearray(damaged.read_bytes())
    content[5000:9000] = bytes(4000)
    damaged.write_bytes(content)
    catalogue = Catalogue([tmp_path])
    by_name = {entry.name: entry for entry in catalogue.entries()}
    assert catalogue.open(by_name["movie.idx"].id).file.path == sound.resolve()
    with pytest.raises(NotReady, match=r"damaged\.idx can't be used"):
        catalogue.open(by_name["damaged.idx"].id)
    summary = catalogue.summary(by_name["damaged.idx"])
    assert summary["state"] == "refused"
    assert str(tmp_path) not in summary["error"]


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    looked: list[Path] = []

    def look(path: Path) -> list[str]:
        looked.append(path)
        return []

    path = write_index(tmp_path / "m.idx")
    catalogue = Catalogue([path], check=look)
    (entry,) = catalogue.entries()
    assert len(catalogue.open(entry.id).file) == 5
    catalogue.open(entry.id)
    assert len(looked) == 1
    os.replace(write_index(tmp_path / "new.idx", ["one", "two"]), path)
    assert len(catalogue.open(entry.id).file) == 2
    assert len(looked) == 2


def test_a_movie_is_known_by_path_and_by_name(tmp_path: Path) -> None:
    path = index_with_movie(tmp_path)
    catalogue = Catalogue([tmp_path], check=accept)
    (entry,) = catalogue.entries()
    catalogue.open(entry.id)
    for spelled in (path, tmp_path / "movie.mp4", Path("movie.idx"), Path("movie")):
        assert catalogue.find(spelled) == entry
    for spelled in (Path("/etc/passwd"), Path("other"), Path("x\0y"), tmp_path / ".." / "movie.idx"):
        assert catalogue.find(spelled) is None


def test_bad_paths_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is nothing at .*none"):
        Catalogue([tmp_path / "none"])
    with pytest.raises(InputError, match="Name an index"):
        Catalogue([])
    catalogue = Catalogue([tmp_path], check=accept)
    with pytest.raises(UnknownMovie, match='no movie "x"'):
        catalogue.open("x")


def test_no_more_files_are_listed_than_may_be(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.mp4").write_bytes(b"")
    assert len(Catalogue([tmp_path], most=3, check=accept).entries()) == 3


@pytest.mark.parametrize("name", ["//server/share/movie.mp4", "\\\\server\\share\\movie.mp4"])
def test_files_of_other_machines_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    index_with_movie(tmp_path)
    catalogue = Catalogue([tmp_path], check=accept)
    assert catalogue.find(tmp_path / "movie.mp4") is not None
    monkeypatch.setattr(Path, "resolve", lambda *_: pytest.fail("it was looked for"))
    assert catalogue.find(Path(name)) is None
