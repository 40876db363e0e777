"""Test `ask --plot` and `--clip`: the files they make, and that bad input is refused before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chunkv2l.cli import main as cli
from chunkv2l.indexing.build import build
from chunkv2l.video.probe import probe
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
