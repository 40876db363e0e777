"""A folder of indexes on the command line: ask, show, filters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkv2l.cli import main as cli
from tests.helpers.fake_vlm import fake_model
from tests.helpers.written import random_codes, write_index

WHEN = "When does a dog catch the ball?"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    monkeypatch.setattr("chunkv2l.ask.MODELS", ("fake",))
    for i in range(3):
        write_index(tmp_path / f"m{i}.idx", random_codes(4 + i, i))
    return str(tmp_path)


def test_ask_a_folder(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", library, WHEN, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert {span["movie"] for span in values["spans"]} == {"m0.idx", "m1.idx", "m2.idx"}
    assert cli.run(["ask", library, WHEN, "--explain", "--movie", "m1*"]) == 0
    told = capsys.readouterr().out
    assert "m1.idx" in told and "m0.idx" not in told and "among 5 segments" in told
    assert "%  m1.idx\n" in told and "  not in any video " in told


def test_show_a_folder(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(library, "broken.idx").write_bytes(b"no index")
    assert cli.run(["show", library]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("3 movies, 1:00, 15 segments, model fake\n") and "broken.idx" in told.err
    assert cli.run(["show", library, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [movie["segments"] for movie in values["movies"]] == [4, 5, 6] and len(values["notes"]) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ask", "{}", WHEN, "--movie", "x*"], "No movie of"),
        (["ask", "{}", WHEN, "--longer", "1:75"], "no length"),
        (["ask", "{}", WHEN, "--since", "yesterday"], "no day"),
        (["ask", "{}", WHEN, "--clip", "x.mp4"], "not a folder"),
        (["ask", "{}/m0.idx", WHEN, "--longer", "1:00"], "name a folder"),
        (["ask", "{}/m0.idx", WHEN, "-r"], "name a folder"),
        (["show", "{}", "--transcript"], "not a folder"),
        (["show", "{}/nothing"], "nothing"),
    ],
)
def test_bad_input(arguments: list[str], sentence: str, library: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([argument.format(library) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("text", "expected"), [("90", 1), ("0:18", 2), ("0:00:20.5", 1), ("0", 3)])
def test_lengths(text: str, expected: int, library: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["ask", library, "What is there?", "--policy", "concat", "--longer", text, "--json"])
    told = capsys.readouterr()
    if text == "90":
        assert code == 2
    else:
        assert len({span["movie"] for span in json.loads(told.out)["spans"]}) == expected
