"""Code of the user's own, from FILE.py:NAME."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.user_code import load_from_file

FORM = "FILE.py:NAME"


def test_a_name_of_a_file_is_returned(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: int = 3\n")
    loaded = load_from_file(f"{tmp_path / 'mine.py'}:A", "policy", FORM)
    assert isinstance(loaded, type) and loaded().x == 3
    assert load_from_file(f"{tmp_path / 'mine.py'}:B", "policy", FORM) is None


def test_a_file_never_replaces_an_installed_module(tmp_path: Path) -> None:
    import json

    (tmp_path / "json.py").write_text("value = 1\n")
    assert load_from_file(f"{tmp_path / 'json.py'}:value", "policy", FORM) == 1
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "nowhere.py",
            None,
            r'There is no file ".*nowhere.py" to load the detector \'value\' from; name it as FILE.py',
        ),
        ("mine.txt", "value = 1\n", "A detector's file must be Python"),
        ("broken.py", "1 / 0\n", "The detector file .* can't be run: ZeroDivisionError"),
        ("leaves.py", "raise SystemExit(3)\n", "can't be run: SystemExit: 3"),
    ],
)
def test_what_cannot_be_loaded_is_a_sentence(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_from_file(f"{tmp_path / name}:value", "detector", FORM)
