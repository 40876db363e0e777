"""Hold what a hub gives to what is known of it: by a commit and hashes that stand here, or else by the first fetch.

A hub's repository may hold something else tomorrow under the same name, and a mirror something else than the hub. The
commit and the SHA-256 of each file that is used are recorded in the cache when they are used for the first time;
whatever differs afterwards is refused, until somebody removes the record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chunkv2l.errors import InputError
from chunkv2l.files import read_json, write_text
from chunkv2l.models.assets.cache import cache_root, sha256
from chunkv2l.sanitize import canonical_json

FOLDER: Final = "pins"
"""In the cache: a file OWNER--NAME.json of each repository."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Pin:
    """The content of a repository that is used.

    Attributes:
        revision: the repository's commit; None where none is known.
        files: {file name: SHA-256} of files whose hash is known.
    """

    revision: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


UNKNOWN: Final = Pin()
"""The pin of a repository of which nothing is known."""


@dataclass(frozen=True)
class _Record:
    """The recorded content of a repository; `files` is {name: [size, time of change in nanoseconds, SHA-256]}."""

    revision: str | None
    files: Mapping[str, list[Any]]


def choose_revision(repository: str, pin: Pin) -> str | None:
    """Return the commit to fetch a repository at: the pinned one, that of the first fetch, or None for the newest.

    Raises:
        InputError: the record can't be read.
    """
    return pin.revision or _read(_path(repository), pin).revision


def check(repository: str, files: Iterable[Path], pin: Pin, inspect: Callable[[Path], object] | None = None) -> None:
    """Refuse files that aren't those of a pin or of the first fetch; record those that nothing is known of.

    A file whose size and time are the recorded ones counts as unchanged; any other is hashed.

    Args:
        files: in a folder that the hub's cache calls by its commit.
        inspect: looks at a file before it is recorded, and raises what keeps it from that.

    Raises:
        InputError: names the file, and what to do; or the record can't be read.
    """
    path = _path(repository)
    record = _read(path, pin)
    entries, revision = dict(record.files), record.revision
    for file in sorted(files):
        status = file.stat()
        entry = record.files.get(file.name)
        stamp = [status.st_size, status.st_mtime_ns]
        digest = entry[2] if entry is not None and entry[:2] == stamp else sha256(file)
        if digest != pin.files.get(file.name, digest):
            raise InputError(
                f"{file} isn't the file that chunkv2l expects of {repository} (its SHA-256 differs): remove it, and "
                "fetch it anew, from another hub if this one changes its files."
            )
        if entry is not None and entry[2] != digest:
            raise InputError(
                f"{file} isn't the file that was first fetched of {repository} (its SHA-256 differs): somebody has "
                f"changed it, there or here. If you trust the new one, remove {path} and run the command again."
            )
        if entry is None and inspect is not None:
            inspect(file)
        entries[file.name] = [*stamp, digest]
        revision = revision or (file.parent.name if _COMMIT.fullmatch(file.parent.name) else None)
    if entries != record.files or revision != record.revision:
        with suppress(OSError):  # a cache that others keep: the files are hashed again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, canonical_json({"revision": revision, "files": entries}) + "\n")


def _path(repository: str) -> Path:
    return cache_root() / FOLDER / f"{repository.replace('/', '--')}.json"


def _read(path: Path, pin: Pin) -> _Record:
    """Return what is recorded; nothing where nothing is, or where it is of another commit than the pinned one."""
    if not path.exists():
        return _Record(pin.revision, {})
    values = read_json(path)
    if not (isinstance(values, dict) and isinstance(values.get("files"), dict)):
        raise InputError(f"{path} is damaged: remove it, and what a hub gives next is recorded there.")
    revision, files = values.get("revision"), values["files"]
    is_sound = all(isinstance(entry, list) and len(entry) == 3 for entry in files.values())
    if not is_sound or not (revision is None or (isinstance(revision, str) and _COMMIT.fullmatch(revision))):
        raise InputError(f"{path} is damaged: remove it, and what a hub gives next is recorded there.")
    if pin.revision not in (None, revision):
        return _Record(pin.revision, {})
    return _Record(revision, files)
