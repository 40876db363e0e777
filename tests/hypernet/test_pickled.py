"""Pickles that stand for more than any memory holds are refused, before anything builds what they say."""

from __future__ import annotations

import pickle
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.errors import InputError
from chunkv2l.hypernet import load_hypernetwork
from chunkv2l.hypernet.pickled import MAX_BYTES, MAX_INSTRUCTIONS, check_pickle
from tests.helpers import frames2lora


def doubled_lists(times: int = 60) -> list[Any]:
    """A list of 2^times elements, each twice the one before."""
    value: list[Any] = []
    for _ in range(times):
        value = [value, value]
    return value


def doubled_tuples_as_key(times: int = 60) -> bytes:
    """The pickle of {tuple of 2^times elements: None}: hashing it would never end."""
    double = pickle.BINPUT + b"\x00" + pickle.BINGET + b"\x00" + pickle.TUPLE2
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.EMPTY_TUPLE + double * times + b"Ns."


def nested(depth: int) -> bytes:
    """The pickle of a tuple in a tuple in a tuple …"""
    return pickle.PROTO + b"\x02)" + b"\x85" * depth + b"."


def in_itself() -> list[Any]:
    value: list[Any] = []
    value.append([value])
    return value


BOMBS = {
    "doubled lists": pickle.dumps(doubled_lists(), 2),
    "doubled tuples as a key": doubled_tuples_as_key(),
    "in itself": pickle.dumps(in_itself(), 2),
    "deep tuples": nested(100_000),
    "many instructions": pickle.PROTO + b"\x02](" + b"N" * MAX_INSTRUCTIONS + b"e.",
    "large": pickle.dumps("x" * MAX_BYTES, 2),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"pickle|contains itself|builds more"):
        check_pickle(BOMBS[name])


def test_lists_that_are_filled_after_others_hold_them() -> None:
    """The innermost list grows last: what a list holds isn't known when it is put into another."""
    lists: list[list[Any]] = [[] for _ in range(60)]
    for outer, inner in pairwise(lists):
        outer += [inner, inner]
    with pytest.raises(ValueError, match="builds more"):
        check_pickle(pickle.dumps(lists[0], 2))


@pytest.mark.parametrize("data", [b"", b"\x80\x02.", b"\x80\x02h\x01.", b"\x80\x02a.", b"\x80\x02\x93.", b"garbage"])
def test_damaged_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="pickle"):
        check_pickle(data)


def test_the_released_layout_passes() -> None:
    with zipfile.ZipFile(frames2lora.FOLDER / "checkpoint_tiny.pt") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pkl"))
        check_pickle(archive.read(name))


@pytest.mark.parametrize("name", BOMBS)
def test_a_checkpoint_with_a_bomb_is_a_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hypernet.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", BOMBS[name])
        archive.writestr("a/version", "3")
    with pytest.raises(InputError, match="can't be read as a checkpoint"):
        load_hypernetwork(path)


def test_an_archive_of_very_many_entries_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "hypernet.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"a/{number}", b"")
    with pytest.raises(InputError, match="more than 10000 entries"):
        load_hypernetwork(path)


def test_an_entry_twice_is_refused(tmp_path: Path) -> None:
    """torch and zipfile may not read the same one of the two."""
    path = tmp_path / "hypernet.pt"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data.pkl", BOMBS["deep tuples"])
    with pytest.raises(InputError, match="an entry twice"):
        load_hypernetwork(path)
