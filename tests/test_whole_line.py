"""Build, show, ask, export on a SmolVLM2 folder and a released checkpoint of one's own, as typed."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from chunkv2l import cli
from chunkv2l.adapter import Adapter
from tests import frames2lora, tiny_smolvlm

KEYS = ["question", "answer", "spans", "not_there", "policy", "model", "visual_tokens", "timing"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the movie, the model's folder and the hypernetwork's file."""
    folder = tmp_path_factory.mktemp("line")
    shutil.copy(tiny_smolvlm.video(5), folder / "my movie.mp4")
    shutil.copytree(frames2lora.MODEL, folder / "tiny model")
    shutil.copy(tiny_smolvlm.CHECKPOINT, folder / "tiny.pt")
    return folder


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name both; the working folder is another one."""
    monkeypatch.chdir(folder.parent)
    return ["--model", str(folder / "tiny model"), "--hypernet", str(folder / "tiny.pt")]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code = cli.run([*arguments, "--json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


def test_the_whole_line(folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "movie.idx"
    built = run(capsys, "build", str(folder / "my movie.mp4"), "-o", str(index), "--detector", "fixed:1", *own)
    assert built["segments"] == 5
    shown = run(capsys, "show", str(index))
    assert shown["model"] == "tiny model" and shown["identity"]["family"] == "smolvlm"
    assert str(folder) not in json.dumps({key: value for key, value in shown.items() if key != "index"})
    when = run(capsys, "ask", str(index), "When does a dog run?", *own)
    assert list(when) == KEYS and list(when["spans"][0]) == ["start", "end", "score", "segments"]
    assert list(when["timing"]) == ["load_s", "route_s", "compose_s", "first_token_s", "total_s"]
    assert 0 <= when["not_there"] <= 1
    assert when["spans"] and when["visual_tokens"] == 0 and when["model"] == "tiny model"
    what = run(capsys, "ask", str(index), "What is on the table?", "--policy", "concat", *own)
    assert what["policy"] == "concat" and what["answer"]
    (out,) = run(capsys, "export", str(index), "--segments", "3", "-o", str(tmp_path / "out"), *own)
    assert Adapter.from_pretrained(tmp_path / "out" / out["folder"]).rank == out["rank"] == 8
    assert str(folder).encode() not in index.read_bytes()


def test_what_an_index_doesnt_know_it_asks_for(
    folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "movie.idx"
    arguments = [
        "build",
        str(folder / "my movie.mp4"),
        "-o",
        str(index),
        "--detector",
        "fixed:1",
        "--no-captions",
        *own,
    ]
    assert cli.run(arguments) == 0
    capsys.readouterr()
    assert cli.run(["ask", str(index), "What is red?"]) == 2
    told = capsys.readouterr().err
    assert "add --model FOLDER (tiny model) and --hypernet FILE (of SHA-256 " in told
    assert cli.run(["ask", str(index), "What is red?", *own[:2]]) == 2
    assert "add --hypernet FILE (of SHA-256 " in capsys.readouterr().err


def test_a_mismatch_says_the_command_that_rebuilds(
    folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, with the names in capitals replaced, makes the same index again."""
    index = tmp_path / "movie.idx"
    arguments = ["build", str(folder / "my movie.mp4"), "-o", str(index), "--codes", "int8", "--max-length", "2.5"]
    assert cli.run([*arguments, "--detector", "fixed:1.5", "--no-captions", *own]) == 0
    capsys.readouterr()
    before = run(capsys, "show", str(index))
    other = frames2lora.hypernet_file(tmp_path)
    assert cli.run(["ask", str(index), "What is red?", *own[:2], "--hypernet", str(other)]) == 2
    told = capsys.readouterr().err
    assert "built with another model (it differs in hypernet)" in told
    command, _, note = told[told.index("chunkv2l build") :].strip().partition(" (")
    assert note.startswith("MODEL_FOLDER: the folder of tiny model; HYPERNET_FILE: the file of SHA-256 ")
    places = {"MODEL_FOLDER": own[1], "HYPERNET_FILE": own[3], "my movie.mp4": str(folder / "my movie.mp4")}
    words = [places.get(word, word) for word in shlex.split(command)]
    assert cli.run(words[1:]) == 0
    capsys.readouterr()
    assert run(capsys, "show", str(index)) == before
