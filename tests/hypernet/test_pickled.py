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
from chunkv2l.hypernet.checkpoint import try_in_sandbox
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


@pytest.mark.parametrize("name", ["DATA.PKL", "data.Pkl"])
def test_a_pickle_is_checked_whatever_the_case_of_its_name(tmp_path: Path, name: str) -> None:
    """torch finds it all the same."""
    path = tmp_path / "hypernet.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"a/{name}", BOMBS["doubled lists"])
        archive.writestr("a/version", "3")
    with pytest.raises(InputError, match="builds more"):
        load_hypernetwork(path)


def test_names_that_end_at_a_zero_are_refused(tmp_path: Path) -> None:
    """Python ends such a name where torch goes on."""
    path = tmp_path / "hypernet.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/x_data.pkl", BOMBS["doubled lists"])
    path.write_bytes(path.read_bytes().replace(b"a/x_data.pkl", b"a/x\0data.pkl"))
    with pytest.raises(InputError, match="an entry of two names"):
        load_hypernetwork(path)


def test_the_wide_end_of_an_archive_counts_too(tmp_path: Path) -> None:
    """PyTorch's files have two ends; one that says little hides a list of any length in the other."""
    path, small = tmp_path / "hypernet.pt", (1).to_bytes(2, "little")
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(70_000):
            archive.writestr(f"{number}", b"")
    data = bytearray(path.read_bytes())
    assert data[-42:-38] == b"PK\x06\x07"
    data[-14:-10] = small + small
    data[-10:-6] = (50).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="more than 10000 entries"):
        load_hypernetwork(path)
    path.write_bytes(data.replace(b"PK\x06\x06", b"PK\x06\x05"))
    with pytest.raises(InputError, match="the end of its list of entries is missing"):
        load_hypernetwork(path)


def test_a_comment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hypernet.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.comment = b"PK\x05\x06" + bytes(18)
    with pytest.raises(InputError, match="damaged"):
        load_hypernetwork(path)


def test_a_file_that_the_sandbox_reads_or_refuses(tmp_path: Path) -> None:
    try_in_sandbox(frames2lora.FOLDER / "checkpoint_tiny.pt")
    path = tmp_path / "hypernet.pt"
    path.write_bytes((frames2lora.FOLDER / "checkpoint_tiny.pt").read_bytes()[:-40])
    with pytest.raises(InputError, match="cut short"):
        try_in_sandbox(path)
