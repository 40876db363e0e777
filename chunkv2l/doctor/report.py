"""Is everything here that chunkv2l needs, and does it work? Findings, each a sentence; nothing is changed."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

from chunkv2l.errors import ChunkV2LError

Level = Literal["ok", "note", "problem"]
PACKAGES = ("torch", "transformers", "peft", "safetensors", "numpy", "networkx", "av", "scenedetect-headless", "gguf")
SAME_MODULE = (
    ("scenedetect", "scenedetect-headless"),
    ("opencv-python", "opencv-python-headless"),
    ("decord", "decord2"),
    ("decord", "eva-decord"),
)
_FREE = 2 << 30
"""bytes"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: "Python", "reader pyav", "caption of a 3-second clip" …
        level: "ok"; "note" for what is missing without harm; "problem" for what won't work.
        text: a sentence, with what to do about a problem.
    """

    subject: str
    level: Level
    text: str

    def to_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return asdict(self)


def doctor(model: str | None = None, *, hypernet: str | None = None, device: str = "auto") -> list[Finding]:
    """`examine`, all at once."""
    return list(examine(model, hypernet=hypernet, device=device))


def examine(model: str | None = None, *, hypernet: str | None = None, device: str = "auto") -> Iterator[Finding]:
    """Look at versions, device, readers, cache and weights; with a model's name, load it and use it, too.

    Args:
        model: fetched if it isn't here; two short clips are internalised and captioned with it. None fetches nothing.
        hypernet, device: as for `build`.

    Yields:
        Findings as they come. Nothing is raised: what fails is a finding.
    """
    from chunkv2l.doctor import trials as doctor_trials

    yield from versions()
    yield guarded("device", lambda: find_device(device))
    yield from doctor_trials.try_readers()
    yield guarded("cache", cache)
    if model is None:
        yield from weights()
    else:
        yield from doctor_trials.try_model(model, hypernet, device)


# --- the machine -----------------------------------------------------------------------------------------------------


def versions() -> Iterator[Finding]:
    """Python, the packages against what this version of chunkv2l requires, and SQLite's full-text search."""
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}.")
    required = _required()
    if required is None:
        text = "It isn't installed, only used from its folder, so versions can't be compared: pip install -e ."
        yield Finding("chunkv2l", "note", text)
    else:
        yield Finding("chunkv2l", "ok", f"{version_of('chunkv2l')}.")
    for name in PACKAGES:
        version = version_of(name)
        wanted = (required or {}).get(name, "")
        if version is None:
            yield Finding(name, "problem", f"{name} isn't installed: pip install '{name}{wanted}'.")
        elif not _fits(version, wanted):
            yield Finding(
                name, "problem", f"{version} is installed, but {wanted} is needed: pip install '{name}{wanted}'."
            )
        else:
            yield Finding(name, "ok", f"{version}.")
    for one, other in SAME_MODULE:
        if version_of(one) and version_of(other):
            yield Finding(
                one, "note", f"{one} and {other} install the same module: uninstall both, then install one again."
            )
    yield guarded("SQLite", _sqlite)


def find_device(device: str = "auto") -> Finding:
    """Where a model would run, and in which precision."""
    import torch

    if device not in ("auto", "cpu"):
        torch.zeros(1, device=device)
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        info: Any = torch.cuda.get_device_properties(torch.device("cuda" if device == "auto" else device))
        return Finding("device", "ok", f"{info.name}, {info.total_memory / 2**30:.0f} GiB, bfloat16.")
    if device not in ("auto", "cpu"):
        return Finding("device", "ok", f"{device}.")
    return Finding("device", "ok", f"CPU, {torch.get_num_threads()} threads, float32 (no GPU is used).")


def cache() -> Finding:
    """Where fetched weights are kept, whether that can be written to, and the space left."""
    from chunkv2l.models.assets.cache import cache_root

    root = cache_root()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(
            "cache", "problem", f"{root} can't be written to ({error.strerror}): set CHUNKV2L_CACHE to another folder."
        )
    used = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0
    free = shutil.disk_usage(there).free
    text = f"{root} holds {used / 1e6:.0f} MB, {free / 1e9:.1f} GB are free."
    return Finding("cache", "ok" if free > _FREE else "note", text)


def weights() -> Iterator[Finding]:
    """Which models' weights are on this machine."""
    from chunkv2l.models import available

    try:
        yield from (Finding(item.name, "ok" if item.here else "note", item.text) for item in available())
    except Exception as error:
        yield Finding("weights", "problem", sentence(error))


# --- small things ----------------------------------------------------------------------------------------------------


def guarded(subject: str, look: Callable[[], Finding]) -> Finding:
    """What `look` finds; what it raises is a problem."""
    try:
        return look()
    except Exception as error:
        return Finding(subject, "problem", sentence(error))


def sentence(error: Exception) -> str:
    """Our own errors are sentences already; others get their type's name before their first line."""
    return str(error) if isinstance(error, ChunkV2LError) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def version_of(package: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _required() -> dict[str, str] | None:
    """Package -> version specifier, as chunkv2l's own metadata have it; None where it isn't installed."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("chunkv2l") or []
    except metadata.PackageNotFoundError:
        return None
    found = [Requirement(line) for line in lines]
    return {item.name: str(item.specifier) for item in found if item.marker is None or item.marker.evaluate()}


def _fits(version: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def _sqlite() -> Finding:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    except sqlite3.OperationalError:
        return Finding(
            "SQLite",
            "problem",
            f"{sqlite3.sqlite_version} has no full-text search (FTS5): use another Python than {sys.executable}.",
        )
    finally:
        connection.close()
    return Finding("SQLite", "ok", f"{sqlite3.sqlite_version}, with full-text search.")
