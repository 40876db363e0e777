"""An index's movie lies beside it, under either name, and is known by its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.movie_file import find_movie
from chunkv2l.video.fingerprint import fingerprint
from tests.helpers import indexes
from tests.helpers.movies import block_movie


def index_of(movie: Path, path: Path) -> Path:
    recorded = {"name": movie.name, **fingerprint(movie), "duration": 20.0, "fps": 12.0}
    return indexes.write_index(path, meta=indexes.origin(movie=recorded))


def test_the_movie_is_found_beside_the_index_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    movie = block_movie(tmp_path / "m.mp4")
    with IndexFile(index_of(movie, tmp_path / "m.idx")) as index:
        assert find_movie(index) == movie
        moved = movie.rename(tmp_path / "other" / "called otherwise.mp4")
        with pytest.raises(InputError, match=r"movie m.mp4 isn't beside .*m.idx: say where it is with --movie FILE"):
            find_movie(index)
        assert find_movie(index, moved) == moved
        with pytest.raises(InputError, match="There is no movie"):
            find_movie(index, tmp_path / "nothing.mp4")
        with pytest.raises(InputError, match="There is no movie"):
            find_movie(index, tmp_path)
        for changed in (moved.read_bytes()[:-1], moved.read_bytes()[:-1] + b"\0"):
            (tmp_path / "m.mp4").write_bytes(changed)
            with pytest.raises(InputError, match="its content differs"):
                find_movie(index)


def test_index_and_movie_may_be_renamed_together(tmp_path: Path) -> None:
    movie = block_movie(tmp_path / "m.mp4")
    index_of(movie, tmp_path / "holiday.idx")
    renamed = movie.rename(tmp_path / "holiday.mp4")
    with IndexFile(tmp_path / "holiday.idx") as index:
        assert find_movie(index) == renamed


def test_a_name_in_an_index_leads_nowhere_else(tmp_path: Path) -> None:
    """An index may come from anywhere: what it calls its movie isn't a path."""
    movie = block_movie(tmp_path / "m.mp4")
    (tmp_path / "there").mkdir()
    recorded = {"name": "../m.mp4", **fingerprint(movie), "duration": 20.0, "fps": 12.0}
    path = indexes.write_index(tmp_path / "there" / "x.idx", meta=indexes.origin(movie=recorded))
    with IndexFile(path) as index, pytest.raises(InputError, match="isn't beside"):
        find_movie(index)
