"""Report what chunkv2l needs and lacks on this machine: findings, each a sentence. Nothing is changed."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

from chunkv2l.defaults import RECOGNISERS
from chunkv2l.doctor.finding import Finding, describe_error, guard, installed_version
from chunkv2l.models import ModelSpec

PACKAGES: Final = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "numpy",
    "networkx",
    "av",
    "scenedetect-headless",
    "gguf",
)
SAME_MODULE: Final = (
    ("scenedetect", "scenedetect-headless"),
    ("opencv-python", "opencv-python-headless"),
    ("decord", "decord2"),
    ("decord", "eva-decord"),
)
_ENOUGH_SPACE: Final = 2 << 30  # bytes


def doctor(model: str | None = None, *, hypernet: str | None = None, device: str = "auto") -> list[Finding]:
    """Return all findings of `examine` as a list."""
    return list(examine(ModelSpec(model, hypernet, device)))


def examine(spec: ModelSpec) -> Iterator[Finding]:
    """Look at versions, device, readers, cache and weights; with a model's name, load it and use it, too.

    Args:
        spec: the model is fetched if it isn't here; two short clips are internalised and captioned with it. Without a
            name nothing is fetched.

    Yields:
        Findings as they come. Nothing is raised: what fails is a finding.
    """
    yield from versions()
    from chunkv2l.doctor import trials  # after the versions, which may say that NumPy is missing

    yield guard("device", lambda: find_device(spec.device))
    yield from trials.try_readers()
    yield guard("cache", cache)
    yield guard("speech", find_speech)
    yield guard("screen text", find_screen_text)
    if spec.name is None:
        yield from weights()
    else:
        yield from trials.try_model(spec)


# --- the machine -----------------------------------------------------------------------------------------------------


def versions() -> Iterator[Finding]:
    """Compare the packages with what this version of chunkv2l requires, and try SQLite's full-text search."""
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}.")
    required = _required()
    if required is None:
        text = "It isn't installed, only used from its folder, so versions can't be compared: pip install -e ."
        yield Finding("chunkv2l", "note", text)
    else:
        yield Finding("chunkv2l", "ok", f"{installed_version('chunkv2l')}.")
    for name in PACKAGES:
        version = installed_version(name)
        specifier = (required or {}).get(name, "")
        if version is None:
            yield Finding(name, "problem", f"{name} isn't installed: pip install '{name}{specifier}'.")
        elif not _fits(version, specifier):
            yield Finding(
                name, "problem", f"{version} is installed, but {specifier} is needed: pip install '{name}{specifier}'."
            )
        else:
            yield Finding(name, "ok", f"{version}.")
    for package, other in SAME_MODULE:
        if installed_version(package) and installed_version(other):
            yield Finding(
                package,
                "note",
                f"{package} and {other} install the same module: uninstall both, then install one again.",
            )
    yield guard("SQLite", _sqlite)


def find_device(device: str = "auto") -> Finding:
    """Name the device that a model would run on, and its precision."""
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
    """Check that the folder of fetched weights can be written to, and report its size and the space left."""
    from chunkv2l.models.assets.cache import cache_root

    root = cache_root()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(
            "cache", "problem", f"{root} can't be written to ({error.strerror}): set CHUNKV2L_CACHE to another folder."
        )
    used = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0
    free = shutil.disk_usage(existing).free
    text = f"{root} holds {used / 1e6:.0f} MB, {free / 1e9:.1f} GB are free."
    return Finding("cache", "ok" if free > _ENOUGH_SPACE else "note", text)


def find_screen_text() -> Finding:
    """Say whether text on the screen can be read."""
    from chunkv2l.screen_text import is_installed

    if not is_installed():
        text = "rapidocr isn't installed, so text on the screen isn't read: pip install 'chunkv2l[screen]'."
        return Finding("screen text", "note", text)
    return Finding("screen text", "ok", f"rapidocr {installed_version('rapidocr')}, with its models.")


def find_speech() -> Finding:
    """Say whether speech can be recognised, and with which weights that are here."""
    from chunkv2l.speech import find_recogniser, is_installed

    if not is_installed():
        text = "faster-whisper isn't installed, so builds don't listen: pip install 'chunkv2l[speech]'."
        return Finding("speech", "note", text)
    here = [name for name in RECOGNISERS if find_recogniser(name) is not None]
    if not here:
        text = "Whisper's weights are fetched when they are first needed: chunkv2l models fetch speech."
        return Finding("speech", "note", text)
    return Finding("speech", "ok", f"faster-whisper {installed_version('faster-whisper')}, with {', '.join(here)}.")


def weights() -> Iterator[Finding]:
    """List the models whose weights are on this machine."""
    from chunkv2l.models import available

    try:
        yield from (Finding(item.name, "ok" if item.here else "note", item.text) for item in available())
    except Exception as error:
        yield Finding("weights", "problem", describe_error(error))


# --- small things ----------------------------------------------------------------------------------------------------


def _required() -> dict[str, str] | None:
    """Return {package: version specifier} from chunkv2l's own metadata, None where chunkv2l isn't installed."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("chunkv2l") or []
    except metadata.PackageNotFoundError:
        return None
    requirements = [Requirement(line) for line in lines]
    return {item.name: str(item.specifier) for item in requirements if item.marker is None or item.marker.evaluate()}


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
