"""Test `ask --plot` and `--clip`: the files they make, and that bad input is refused before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chunkv2l.cli import main as cli
from chunkv2l.cli.artifacts import find_movie
from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.indexing.build import build
from chunkv2l.video.fingerprint import fingerprint
from chunkv2l.video.probe import probe
from tests.helpers import indexes
from tests.helpers.fake_vlm import fake_model
from tests.helpers.movies import block_movie

WHEN = "When does a dog catch the ball?"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a movie beside it: 5 segments of 2 s."""
    options: Any = {"detector": "fixed:2"}
    report = build(block_movie(tmp_path / "movie.mp4", (2.0,) * 5), model=fake_model(), **options)
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model())
    return Path(report.index)


def test_a_plot_and_a_clip_of_one_answer(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, clip = tmp_path / "out.png", tmp_path / "out.mp4"
    files = ["--plot", str(picture), "--clip", str(clip), "--reencode"]
    assert cli.run(["ask", str(index), WHEN, "--json", *files]) == 0
    output = capsys.readouterr()
    best = json.loads(output.out)["spans"][0]
    assert f"{picture}: the timeline." in output.err and f"{clip}: " in output.err
    with Image.open(picture) as image:
        assert image.format == "PNG"
    assert probe(clip).duration == pytest.approx(best["end"] - best["start"], abs=0.05)


def test_without_reencode_it_says_where_the_clip_begins(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = (tmp_path / "movie.mp4").rename(tmp_path / "elsewhere.mp4")
    assert cli.run(["ask", str(index), WHEN, "--clip", str(tmp_path / "out.mkv"), "--movie", str(moved)]) == 0
    assert "at a key frame (--reencode cuts exactly)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "out.png"], "need a QUESTION"),
        (["--clip", "out.mp4"], "need a QUESTION"),
        ([WHEN, "--reencode"], "add --clip FILE"),
        ([WHEN, "--movie", "movie.mp4"], "add --clip FILE"),
        ([WHEN, "--plot", "out.jpg"], "must end in .png or .svg"),
        ([WHEN, "--clip", "out.gif"], "must end in .mp4"),
        ([WHEN, "--clip", "movie.mp4"], "would replace the movie"),
        ([WHEN, "--clip", "out.mp4", "--movie", "movie.idx"], "its content differs"),
        ([WHEN, "--clip", "out.mp4", "--movie", "nothing.mp4"], "There is no movie"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_loaded(
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.chdir(index.parent)
    monkeypatch.setattr("chunkv2l.models.load_model", loaded)
    assert cli.run(["ask", str(index), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in index.parent.iterdir()) == ["movie.idx", "movie.mp4"]


# ---- the movie of an index


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
