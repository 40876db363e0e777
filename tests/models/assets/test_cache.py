"""Folders of the cache: whole or not there, verified, and never blamed on anything else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from chunkv2l.errors import ChunkV2LError
from chunkv2l.files import new_folder
from chunkv2l.models.assets.cache import MANIFEST, blaming, provide


def fill(part: Path, downloads: Path) -> None:
    """Fetch a file and convert it."""
    (downloads / "wheel").write_bytes(b"w" * 100)
    (part / "inner").mkdir()
    (part / "inner" / "weights").write_bytes((downloads / "wheel").read_bytes())


def never(part: Path, downloads: Path) -> None:
    raise AssertionError("it was fetched again")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return provide(tmp_path / "cache" / "mine-1", fill)


def test_a_folder_is_filled_once_and_keeps_no_download(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["inner", MANIFEST]
    assert provide(folder, never) == folder
    assert [path.name for path in folder.parent.iterdir()] == ["mine-1"]


def test_a_file_of_the_same_size_that_has_changed_is_named(folder: Path) -> None:
    (folder / "inner" / "weights").write_bytes(b"w" * 99 + b"x")
    with pytest.raises(ChunkV2LError, match=r"mine-1 is damaged \(inner/weights has changed\): remove that folder"):
        provide(folder, never)


def test_a_file_that_was_cut_short_or_removed_is_named(folder: Path) -> None:
    (folder / "inner" / "weights").write_bytes(b"w")
    with pytest.raises(ChunkV2LError, match="inner/weights has changed"):
        provide(folder, never)
    (folder / "inner" / "weights").unlink()
    with pytest.raises(ChunkV2LError, match="inner/weights is missing"):
        provide(folder, never)


def test_a_copy_with_new_times_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(folder / "inner" / "weights", (1, 1))
    provide(folder, never)
    monkeypatch.setattr("chunkv2l.models.assets.cache.sha256", lambda path: pytest.fail("it was hashed again"))
    provide(folder, never)


def test_a_folder_of_an_earlier_version_gets_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "weights").write_bytes(b"w")
    provide(tmp_path / "old", never)
    (tmp_path / "old" / "weights").write_bytes(b"x")
    with pytest.raises(ChunkV2LError, match="weights has changed"):
        provide(tmp_path / "old", never)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"inner/weights": 3}', "[" * 100_000])
def test_a_damaged_manifest_is_a_sentence(content: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(ChunkV2LError, match="mine-1 is damaged"):
        provide(folder, never)


def test_a_root_that_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(ChunkV2LError, match=r"can't be read or written .*set CHUNKV2L_CACHE"):
        provide(tmp_path / "cache" / "mine-1", fill)


def test_weights_that_a_library_cant_read_are_the_caches_fault(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(100)}, tmp_path / "weights.safetensors")
    os.truncate(tmp_path / "weights.safetensors", 200)
    with pytest.raises(ChunkV2LError, match=r"is damaged .*remove that folder"), blaming(tmp_path):
        load_file(tmp_path / "weights.safetensors")


# --- processes that were killed ---------------------------------------------------------------------------------------

_FILLING = """
import sys, time
from pathlib import Path
from chunkv2l.models.assets.cache import provide
def fill(part, downloads):
    (downloads / "wheel").write_bytes(bytes(1 << 20))
    print("filling", flush=True)
    time.sleep(600)
provide(Path(sys.argv[1]), fill)
"""


@pytest.mark.skipif(os.name == "nt", reason="locks as on Unix")
def test_what_a_killed_fetch_left_is_removed_and_what_a_living_one_fills_isnt(tmp_path: Path) -> None:
    final = tmp_path / "cache" / "mine-1"
    processes = [
        subprocess.Popen([sys.executable, "-c", _FILLING, str(final)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "filling\n"
    before = set(final.parent.iterdir())
    assert len(before) == 2
    processes[0].kill()
    processes[0].wait()
    for part in before:
        os.utime(part, (time.time() - 100,) * 2)
    provide(final, fill)
    remaining = {path for path in final.parent.iterdir() if path != final}
    processes[1].kill()
    processes[1].wait()
    assert len(remaining) == 1 and remaining < before


def test_a_link_under_a_leftovers_name_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    os.utime(precious, (1, 1))
    (tmp_path / ".mine-1-link").symlink_to(precious)
    with new_folder(tmp_path / "mine-1") as part:
        (part / "a").write_text("")
    assert (precious / "file").read_text() == "mine"
