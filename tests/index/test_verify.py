"""`verify`: nothing to say about a sound index, a sentence about anything else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from chunkv2l.index.verify import MOST, verify
from tests.helpers.indexes import jpeg, write_index


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()


def test_a_sound_index(tmp_path: Path) -> None:
    assert verify(write_index(tmp_path / "a.idx")) == []
    full = write_index(
        tmp_path / "b.idx",
        kind="int8",
        keys=torch.ones(5, 128),
        speech={1: "Hello there!"},
        chapters=[(0, 4)],
        similar=[(0, 3, 0.5)],
        subtitles=[(4.5, 5.5, "Hello there!")],
        tags={0: (("dog", 0.9), ("cat", 0.1)), 4: (("cat", 0.25),)},
    )
    before = full.read_bytes()
    assert verify(full) == []
    assert full.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_what_cant_be_opened_is_one_finding(tmp_path: Path) -> None:
    (finding,) = verify(tmp_path / "missing.idx")
    assert "There is no" in finding
    (finding,) = verify(write_index(tmp_path / "a.idx", finish=False))
    assert "isn't finished" in finding


def test_thumbnails_are_decoded_for_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The markers of all are looked at, however many there are."""
    path = write_index(tmp_path / "a.idx")
    change(path, "UPDATE segments SET thumbnail = ? WHERE id = 1", jpeg()[:-12])
    change(path, "UPDATE segments SET thumbnail = x'ffd8ff00' WHERE id = 4")
    assert len(verify(path)) == 2
    monkeypatch.setattr("chunkv2l.index.verify.THUMBNAIL_SECONDS", -1.0)
    (finding,) = verify(path)
    assert "the thumbnail of segment 4 isn't a baseline JPEG" in finding


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda p: change(p, "UPDATE segments SET caption = 'A cat.' WHERE id = 0"), "search doesn't find"),
        (lambda p: change(p, "DELETE FROM words_docsize WHERE id = 2"), "search doesn't find"),
        (lambda p: change(p, "INSERT INTO words (words) VALUES ('delete-all')"), "search doesn't find"),
        (lambda p: change(p, "UPDATE segments SET thumbnail = x'ffd8ff00' WHERE id = 1"), "thumbnail of segment 1"),
        (lambda p: change(p, "UPDATE segments SET thumbnail = ? WHERE id = 1", jpeg()[:-12]), "can't be shown"),
        (
            lambda p: change(p, "UPDATE segments SET thumbnail = ? WHERE id = 1", jpeg(size=(5000, 10))),
            "is 5000 × 10",
        ),
        (lambda p: change(p, "UPDATE segments SET key = x'00' WHERE id = 1"), "key of segment 0"),
        (lambda p: change(p, "INSERT INTO chapters VALUES (0, 0, 3, x'00')"), "cover the movie"),
        (lambda p: change(p, "INSERT INTO chapters VALUES (0, 0, 4, x'00')"), "code of chapter 0"),
        (lambda p: change(p, "INSERT INTO similar VALUES (0, 7, 0.5)"), "similar segments that don't exist"),
        (lambda p: change(p, "INSERT INTO subtitles VALUES (0, 2.0, 1.0, 'Hello')"), "a subtitle without times"),
        (
            lambda p: change(p, "INSERT INTO subtitles VALUES (0, 2.0, 3.0, 'Hello'), (1, 1.0, 3.0, 'there')"),
            "subtitles out of order",
        ),
    ],
)
def test_harm_is_found(tmp_path: Path, harm: Callable[[Path], None], words: str) -> None:
    path = write_index(tmp_path / "a.idx")
    harm(path)
    findings = verify(path)
    assert len(findings) == 1 and words in findings[0], findings


def test_every_bad_code_is_named_up_to_a_number(tmp_path: Path) -> None:
    path = write_index(tmp_path / "a.idx", captions=["A dog."] * 30)
    change(path, "UPDATE segments SET code = x'00' WHERE id IN (3, 7)")
    one, other = verify(path)
    assert "code of segment 3 can't be read" in one and "code of segment 7 can't be read" in other
    change(path, "UPDATE segments SET code = x'00'")
    assert len(verify(path)) == MOST


@pytest.mark.parametrize("page", [3, 6, 9])
def test_scribbled_pages_are_found(tmp_path: Path, page: int) -> None:
    path = write_index(tmp_path / "a.idx", captions=["A dog runs."] * 40)
    data = bytearray(path.read_bytes())
    data[4096 * page : 4096 * page + 600] = b"\x07" * 600
    path.write_bytes(data)
    assert verify(path)
