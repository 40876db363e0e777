"""Commands for what is said and written: listen, read, show --transcript, export --srt and --vtt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkv2l.channels.cues import ChannelCue
from chunkv2l.cli import main as cli
from chunkv2l.index.file import IndexFile
from chunkv2l.indexing.build import build
from tests.helpers.fake_vlm import fake_model
from tests.helpers.indexes import write_index
from tests.helpers.speech import install_fake_recogniser, write_talk

CUES = (
    ChannelCue(1.0, 2.0, "Good morning.", "heard", 0.9),
    ChannelCue(0.0, 4.0, "EXIT", "read", 0.9),
)


@pytest.fixture
def index(tmp_path: Path) -> str:
    return str(write_index(tmp_path / "a.idx", cues=CUES))


def test_a_transcript_is_shown(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["show", index, "--transcript"]) == 0
    assert capsys.readouterr().out == "0:00.0  [EXIT]\n0:01.0  Good morning.\n"
    assert cli.run(["show", index, "--transcript", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {
        "start": 1.0,
        "end": 2.0,
        "text": "Good morning.",
        "source": "heard",
        "channel": "heard",
    }


def test_what_is_said_is_exported(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    srt, vtt = tmp_path / "a.srt", tmp_path / "a.vtt"
    assert cli.run(["export", index, "--srt", str(srt), "--vtt", str(vtt)]) == 0
    assert srt.read_text() == "1\n00:00:01,000 --> 00:00:02,000\nGood morning.\n"
    assert vtt.read_text() == "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nGood morning.\n"
    assert capsys.readouterr().out.count("what is said, 1 cues.") == 2


def test_an_index_that_holds_nothing_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_index(tmp_path / "a.idx"))
    for command in (["show", path, "--transcript"], ["export", path, "--srt", str(tmp_path / "a.srt")]):
        assert cli.run(command) == 2
        assert f"chunkv2l listen {path} adds it" in capsys.readouterr().err
    assert cli.run(["export", path, "--srt", "a.srt", "-o", "folder"]) == 2


def test_listen_adds_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = write_talk(tmp_path / "talk.mkv", [(1.0, 2.0), (5.0, 6.0)], 8.0)
    path = build(movie, model=fake_model(), detector="fixed:4").index
    assert cli.run(["listen", str(path)]) == 2
    assert "pip install 'chunkv2l[speech]'" in capsys.readouterr().err
    assert cli.run(["read", str(path)]) == 2
    assert "pip install 'chunkv2l[screen]'" in capsys.readouterr().err
    (tmp_path / "weights").mkdir()
    install_fake_recogniser(monkeypatch, tmp_path / "weights")
    monkeypatch.setattr("chunkv2l.models.sentence.minilm.Lazy", lambda: None)
    assert cli.run(["listen", str(path)]) == 0
    assert "2 cues heard" in capsys.readouterr().out
    with IndexFile(path) as opened:
        assert [cue.source for cue in opened.cues()] == ["heard", "heard"]
    assert cli.run(["listen", str(path)]) == 0
    assert "has it already" in capsys.readouterr().err
    assert cli.run(["listen", str(path), "--speech", "off"]) == 2
    assert cli.run(["listen", str(path), "--movie", str(tmp_path / "missing.mkv")]) == 2
