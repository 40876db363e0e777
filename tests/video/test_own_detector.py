"""`build --detector FILE.py:CLASS`: a detector from a file of the user's own, and a sentence where it can't be one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkv2l.cli import main as cli
from chunkv2l.errors import InputError
from chunkv2l.video.detectors import load_detector
from tests.helpers.fake_vlm import fake_model
from tests.helpers.movies import block_movie

EVERY = """
from scenedetect.detector import SceneDetector

class Every(SceneDetector):
    def __init__(self, seconds=3.0):
        super().__init__()
        self.next = self.seconds = seconds

    def process_frame(self, timecode, frame_img):
        if timecode.seconds < self.next:
            return []
        self.next += self.seconds
        return [timecode]

class Needs(SceneDetector):
    def __init__(self, seconds):
        super().__init__()

def function():
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(EVERY)
    return path


def test_a_build_with_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model())
    movie = block_movie(tmp_path / "movie.mp4", (6.0, 3.5))
    command = ["build", str(movie), "--model", "fake", "--detector", f"{file}:Every"]
    assert cli.run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments"] == 3  # half a second is merged
    assert cli.run(["show", str(tmp_path / "movie.idx"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [segment["end"] for segment in shown["segments"]] == pytest.approx([3.0, 6.0, 9.5], abs=0.11)
    assert shown["settings"]["detector"] == "own:Every"
    assert cli.run(command) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["adaptive", "fixed:8", "what:ever", "adaptive:py"])
def test_other_names_are_left_to_the_build(name: str) -> None:
    assert load_detector(name) == name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing.py:Every", "There is no file"),
        ("{file}:Other", "is no class that derives from"),
        ("{file}:function", "is no class that derives from"),
        ("{file}:Needs", "can't be made without arguments"),
        ("{broken}:Every", "can't be run: ZeroDivisionError"),
    ],
)
def test_what_is_no_detector(file: Path, tmp_path: Path, spec: str, message: str) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    with pytest.raises(InputError, match=message):
        load_detector(spec.format(file=file, broken=broken))
