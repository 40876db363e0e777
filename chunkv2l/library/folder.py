"""List a folder's indexes and movies, in bounds: no links, no pipes, so many files, so many folders deep."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.sanitize import escape_line

INDEX_SUFFIX: Final = ".idx"
MEDIA_TYPES: Final = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",  # the same format but for its mark; browsers refuse video/quicktime unseen
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".vob": "video/mpeg",
    ".wmv": "video/x-ms-wmv",
    ".flv": "video/x-flv",
    ".3gp": "video/3gpp",
}
"""Endings of movies' names, and what browsers are told of their content."""
MOST_FILES: Final = 20_000
"""Files of such names that are listed."""
MOST_ENTRIES: Final = 500_000
"""Names that are looked at, of whatever kind."""
MOST_DEPTH: Final = 8
"""Folders within folders that are looked into."""
MOST_NOTES: Final = 20


@dataclass(frozen=True)
class Listing:
    """The files of a folder, in order of their paths, and a sentence about each that was left out.

    Attributes:
        root: the folder.
    """

    root: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def list_files(folder: str | Path, suffixes: Collection[str], recursive: bool = False) -> Listing:
    """List the regular files of a folder whose names end so; hidden files and folders are passed over.

    Links aren't followed: what a folder that somebody else packed links to is not part of it.

    Args:
        suffixes: in lower case, with the dot.
        recursive: look into the folders in it, too, `MOST_DEPTH` deep.

    Raises:
        InputError: it isn't a folder, or can't be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"There is no folder {root}.")
    files: list[Path] = []
    notes: list[str] = []
    for number, entry in enumerate(walk(root, MOST_DEPTH if recursive else 0, notes)):
        if number >= MOST_ENTRIES:
            notes.append(f"{_show(root)} holds more than {MOST_ENTRIES} names: the others were not looked at.")
            break
        if os.path.splitext(entry.name)[1].lower() not in suffixes:
            continue
        if len(files) >= MOST_FILES:
            notes.append(f"{_show(root)} holds more than {MOST_FILES} files: the others were left out.")
            break
        if entry.is_symlink():
            notes.append(f"{_show(entry.path)} is a link, and was left out.")
        elif not entry.is_file(follow_symlinks=False):
            if not entry.is_dir(follow_symlinks=False):
                notes.append(f"{_show(entry.path)} isn't a regular file, and was left out.")
        else:
            files.append(Path(entry.path))
    return Listing(root, tuple(sorted(files)), shorten_notes(notes))


def shorten_notes(notes: Collection[str]) -> tuple[str, ...]:
    """Return notes, of very many the first and the number of the others."""
    listed = list(dict.fromkeys(notes))
    if len(listed) <= MOST_NOTES:
        return tuple(listed)
    return (*listed[: MOST_NOTES - 1], f"There are {len(listed) - MOST_NOTES + 1} more notes of this kind.")


def walk(folder: Path, depth: int, notes: list[str]) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder by name, then what is in the folders in it, without what is hidden.

    Links are yielded, and not followed: what they lead to is for the caller to judge.

    Args:
        depth: folders within folders that are looked into.
        notes: gets a sentence about each folder that can't be read.
    """
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(islice(scanned, MOST_ENTRIES), key=lambda entry: entry.name)
    except OSError as error:
        notes.append(f"{_show(folder)} can't be read ({error.strerror}), and was left out.")
        return
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    yield from visible
    if depth:
        for entry in visible:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path), depth - 1, notes)


def _show(path: str | Path) -> str:
    return escape_line(os.fsencode(os.fspath(path)).decode("utf-8", "replace"))
