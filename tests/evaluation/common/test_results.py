"""What commands leave behind, and the tables in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.errors import InputError
from evaluation.common import results, table


def test_three_files_with_the_numbers_and_how_they_came_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/evaluation/__main__.py", "moments", "--index", f"{tmp_path}/a b.idx"])

    def draw(figure: Any) -> None:
        figure.subplots().plot([0, 1], [0, 1])

    figures = {"R1": 0.5, "nothing": float("nan"), "spans": ((0, 1.5),), "file": tmp_path / "x.idx"}
    path = results.write("trial", figures, table.markdown(["a"], [["1"]]), draw, out=tmp_path / "new", seed=3)
    assert path == tmp_path / "new" / "trial.json"
    found = results.read(path)
    assert found == json.loads(path.read_text())
    assert found["figures"] == {"R1": 0.5, "nothing": None, "spans": [[0, 1.5]], "file": "x.idx"}
    assert (found["name"], found["seed"]) == ("trial", 3)
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"chunkv2l", "torch", "numpy"} <= found["versions"].keys()
    assert found["hardware"]["cores"] >= 1
    assert found["command"] == "python -m evaluation moments --index 'a b.idx'"
    text = path.with_suffix(".md").read_text()
    assert text.startswith("|   a |\n|----:|\n|   1 |\n\n`python -m evaluation moments")
    assert "seed 3" in text
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in path.read_text() + text

    again = results.write("trial", {}, "no table", None, out=tmp_path / "new", seed=None)
    assert not again.with_suffix(".png").exists()
    assert sorted(file.name for file in again.parent.iterdir()) == ["trial.json", "trial.md"]


def test_no_matplotlib_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = results.write("trial", {}, "", lambda figure: None, out=tmp_path)
    assert path.exists() and not path.with_suffix(".png").exists()
    assert "matplotlib isn't installed" in capsys.readouterr().err


def test_what_cannot_be_written_or_read_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't be written to"):
        results.write("trial", {}, "", None, out=tmp_path / "file" / "folder")
    for text, words in (("{", "isn't JSON"), ("[]", "isn't a result"), ('{"name": "x"}', "isn't a result")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(InputError, match=words):
            results.read(tmp_path / "x.json")
    with pytest.raises(InputError, match="can't be read"):
        results.read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="name for files"):
        results.write("../x", {}, "", out=tmp_path)


def test_command_lines_keep_what_is_no_path() -> None:
    line = ["x.py", "--policy", "recipes/a.py:f", "--tau=.5", "When? And/or?", "/a/b/"]
    assert results.command_line(line) == "x.py --policy a.py:f --tau=.5 'When? And/or?' b"
    assert results.command_line(["x.py", "/a b/c d.idx", "..\\e\\f.idx"]) == "x.py 'c d.idx' f.idx"
    assert results.command_line([]) == ""


def test_tables_align_numbers_and_survive_odd_cells() -> None:
    shown = table.markdown(["name", "share"], [["a|b\nc", ".5"], ["d", "–"]])
    assert shown.splitlines() == [
        "| name   | share |",
        "|--------|------:|",
        "| a\\|b c |    .5 |",
        "| d      |     – |",
    ]
    assert table.markdown(["only"], []) == "| only |\n|------|"
    with pytest.raises(ValueError, match="a row of 1 cells"):
        table.markdown(["a", "b"], [["1"]])
    assert [table.share(x) for x in (0.05, 0.999, -0.5, 12.0, 0.0, 1)] == [
        ".05",
        "1.00",
        "-.50",
        "12.00",
        ".00",
        "1.00",
    ]
