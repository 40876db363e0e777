"""Files are written whole or not at all, under names that nobody can plant; user code is loaded from FILE.py:NAME."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.files import (
    atomic_write,
    check_file,
    check_safetensors,
    load_from_file,
    local_path,
    read_json,
    read_text,
    write_text,
)


def test_the_name_changes_hands_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_write(target) as part:
        assert part.parent == tmp_path and part.suffix == ".txt" and part.read_bytes() == b""
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


def test_after_an_exception_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_link_under_the_final_name_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "a.txt").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "precious").read_text() == "mine" and not (tmp_path / "a.txt").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "a.txt") as part:
            part.unlink()
            os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors does
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask


def test_names_as_long_as_the_system_allows(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".txt", "ä" * 127, "." + "x" * 254):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"


def test_a_folder_that_isnt_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "a.txt", "new")


# ---- FILE.py:NAME

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


# --- files from strangers ---------------------------------------------------------------------------------------------


def test_a_file_within_its_bounds_passes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1]}')
    check_file(tmp_path / "a.json", 10)
    assert read_json(tmp_path / "a.json") == {"a": [1]}
    with pytest.raises(InputError, match="too large for what it should be: 10 bytes, 9 at most"):
        check_file(tmp_path / "a.json", 9)


def test_a_hole_of_many_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        file.truncate(8 << 30)
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("this file system has no holes")
    with pytest.raises(InputError, match="most of its 8589934592 bytes are a hole"):
        check_file(path, 64 << 30)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes as on Unix")
def test_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="isn't a regular file"):
            read_text(path)
    with pytest.raises(InputError, match="There is no file"):
        read_text(tmp_path / "none")


def test_a_header_larger_than_any_models_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes((90 << 20).to_bytes(8, "little") + b"{")
    with pytest.raises(InputError, match="its header is too large"):
        check_safetensors(path, 1 << 30)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"{", b"1" * 5000])
def test_json_that_cant_be_read_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match="can't be read"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("https://www.example.com/x.mp4", "download it first"),
        ("rtsp://camera/1", "record it first"),
        ("file:///tmp/x.mp4", "give the path alone, /tmp/x.mp4"),
        ("www.example.com/x.mp4", "looks like an address, and only files are read"),
        ("WWW.example.co.uk:8080/x.mp4?a=1", "looks like an address"),
        ("youtube.com/watch?v=1", "looks like an address"),
        ("youtu.be/abc", "looks like an address"),
        ("videos.example.org/a/b.mp4", "looks like an address"),
        ("", "is empty"),
    ],
)
def test_addresses_are_no_files(name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        local_path(name, "movie")
    assert words in str(caught.value)


def test_folders_with_dots_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.example.com").mkdir()
    for name in ("my.example.com/x.mp4", "season.1/x.mp4", "x.com", "a.b/c.mp4", "./www.example.com/x.mp4", "x.tv.mp4"):
        assert local_path(name, "movie") == Path(name)
