"""Files are there as a whole or not at all, under names that nobody can plant."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chunkv2l.files import atomic_write, write_text


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
