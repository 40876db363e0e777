"""A run's log becomes a picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from chunkv2l.errors import InputError
from chunkv2l.train.__main__ import main
from chunkv2l.train.plot_log import draw, read_log, series

ROWS = (
    {"stage": "hypernet", "step": 50, "steps_s": 2.0, "internalise": 3.0, "find": 2.5, "key_found": 0.1},
    {"stage": "hypernet", "step": 100, "steps_s": 2.0, "internalise": 2.5, "key_found": 0.2},
    {"stage": "hypernet", "step": 100, "nll_adapter": 2.6, "R@1/64": 0.3, "odd": "text"},
)


def log(folder: Path, *rows: object) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_figures_are_read_where_they_were_logged(tmp_path: Path) -> None:
    rows = read_log(log(tmp_path, *ROWS))
    assert series(rows, "internalise") == ([50, 100], [3.0, 2.5])
    assert series(rows, "nll_adapter") == ([100], [2.6])
    assert series(rows, "odd") == ([], []) == series(rows, "none")


def test_a_panel_a_family_of_figures(tmp_path: Path) -> None:
    out = tmp_path / "three.png"
    result = CliRunner().invoke(main, ["plot", str(log(tmp_path, *ROWS)), "-o", str(out)])
    assert result.exit_code == 0, result.output
    three = cv2.imread(str(out))
    assert three is not None and three.shape[0] == 3 * 384  # nats a token, InfoNCE, shares
    assert three.std() > 5  # something is drawn
    draw(log(tmp_path, {"step": 50, "find": 1.0}), tmp_path / "one.png")
    one = cv2.imread(str(tmp_path / "one.png"))
    assert one is not None and one.shape[0] == 384


@pytest.mark.parametrize("text", ["", "{", "[1]\n", '{"loss": 1}\n'])
def test_what_is_no_log_gets_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="log"):
        draw(path, tmp_path / "out.png")


def test_a_log_without_figures_or_a_bad_ending_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the figures"):
        draw(log(tmp_path, {"step": 1}), tmp_path / "out.png")
    with pytest.raises(InputError, match="can't be written"):
        draw(log(tmp_path, *ROWS), tmp_path / "out.nothing")
    with pytest.raises(InputError, match="can't be written"):
        draw(log(tmp_path, *ROWS), tmp_path / "no" / "out.png")
