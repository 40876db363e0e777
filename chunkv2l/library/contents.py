"""Find out what a library holds: records, keys and words of its indexes, from its own two files where they fit."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.movie_file import movie_beside
from chunkv2l.index.schema import Malformed
from chunkv2l.library.folder import INDEX_SUFFIX, list_files, shorten_notes
from chunkv2l.library.keys_file import (
    NAME,
    Damaged,
    Entry,
    Foreign,
    Keys,
    MovieRecord,
    digest,
    read_keys,
    write_keys,
)
from chunkv2l.library.text_file import NAME as TEXT_NAME
from chunkv2l.library.text_file import MovieTexts, TextFile, TextUpdate, open_text, update_text
from chunkv2l.sanitize import canonical_json, one_line, quoted

logger = logging.getLogger(__name__)

MOST_SEGMENTS: Final = 20_000_000
"""Segments of a library: thirty thousand hours."""


@dataclass(frozen=True)
class IndexSet:
    """The indexes of a library.

    Attributes:
        title: the library's name in sentences.
        folder: where library.keys and library.text lie.
        paths: of the indexes, by their names: paths with slashes, below the folder where they lie in it.
        keeps: tells of another name whether what those files have of it stays there.
        is_writable: those files may be written; else their content lies in memory, and in a temporary folder.
        notes: sentences about what isn't among the indexes.
    """

    title: str
    folder: Path
    paths: Mapping[str, Path]
    keeps: Callable[[str], bool]
    is_writable: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """A library's movies, in order of their indexes' names.

    Attributes:
        indexes: those that were listed.
        matrix: the keys of all movies that have some, one below the other in this order; None without any.
        text: the words and vectors of all; None where there is no room for them.
        notes: a sentence about each file that was left out.
    """

    indexes: IndexSet
    entries: tuple[Entry, ...]
    matrix: Keys | None
    text: TextFile | None
    notes: tuple[str, ...]

    def rename(self, number: int, name: str) -> Contents:
        """Return the same with another name of a movie."""
        entries = list(self.entries)
        entries[number] = replace(entries[number], record=replace(entries[number].record, name=name))
        return replace(self, entries=tuple(entries))

    def path(self, record: MovieRecord) -> Path:
        """Return the path of a movie's index."""
        return self.indexes.paths[record.index]


def identity_digest(identity: object) -> str:
    """Return the SHA-256 of a model's identity."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def list_indexes(folder: str | Path, recursive: bool = False) -> IndexSet:
    """Return the indexes of a folder; of the folders in it, what an earlier look has noted stays in its files.

    Raises:
        InputError: there is no such folder.
    """
    listing = list_files(folder, {INDEX_SUFFIX}, recursive)
    return IndexSet(
        str(listing.root),
        listing.root,
        {path.relative_to(listing.root).as_posix(): path for path in listing.files},
        keeps=lambda name: not recursive and "/" in name,
        notes=listing.notes,
    )


def read_contents(indexes: IndexSet) -> Contents:
    """Read what indexes hold; those that library.keys and library.text know as they are aren't opened.

    These are written where an index is new, changed or gone, if they may be, and can be.
    """
    notes = list(indexes.notes)
    path, text_path = indexes.folder / NAME, indexes.folder / TEXT_NAME
    stored, matrix, is_writable = _read_stored(path, notes)
    text, is_text_writable = _open_stored(text_path, notes)
    known = {entry.record.index: entry for entry in stored}
    others = [entry for name, entry in known.items() if name not in indexes.paths and indexes.keeps(name)]
    try:
        with update_text(text_path, text, indexes.is_writable and is_text_writable) as update:
            listed = list(_read_all(indexes, known, update, notes))
            names = {entry.record.index for entry in listed}
            update.keep(lambda name: name in names or (name not in indexes.paths and indexes.keeps(name)))
        text = update.open()
    except (OSError, sqlite3.Error, Damaged, Malformed) as error:
        logger.warning("%s can't be written (%s): movies are chosen without words.", text_path, error)
        text, listed = None, list(_read_all(indexes, known, None, notes))
    entries = sorted([*listed, *others], key=lambda entry: entry.record.index)
    if len(entries) != len(stored) or any(a is not b for a, b in zip(entries, stored, strict=True)):
        entries = _same_size(entries, notes)
        matrix = None
        if indexes.is_writable and is_writable:
            try:
                write_keys(path, entries)
                entries, matrix = read_keys(path)
            except (OSError, Damaged, Foreign) as error:
                logger.info("%s can't be written (%s): its content stays in memory.", path, error)
        if matrix is None:
            matrix = _stack(entries)
    chosen, matrix = _choose(entries, matrix, indexes)
    return Contents(indexes, _name(chosen), matrix, text, shorten_notes(notes))


def _read_stored(path: Path, notes: list[str]) -> tuple[list[Entry], Keys | None, bool]:
    """Return the content of library.keys, and whether it may be written."""
    try:
        return *read_keys(path), True
    except Damaged as damage:
        logger.warning("%s is damaged (%s), and is made anew.", path, damage)
        return [], None, True
    except Foreign as foreign:
        notes.append(f"{quoted(foreign)}, so it is neither used nor replaced: move it elsewhere.")
        return [], None, False


def _open_stored(path: Path, notes: list[str]) -> tuple[TextFile | None, bool]:
    """Return library.text, opened, and whether it may be written."""
    try:
        text = open_text(path)
    except Damaged as damage:
        logger.warning("%s is damaged (%s), and is made anew.", path, damage)
        return None, True
    except Foreign as foreign:
        notes.append(f"{quoted(foreign)}, so it is neither used nor replaced: move it elsewhere.")
        return None, False
    if text is not None and text.is_wasteful:
        text.close()
        return None, True
    return text, True


def _read_all(
    indexes: IndexSet, known: dict[str, Entry], update: TextUpdate | None, notes: list[str]
) -> Iterator[Entry]:
    """Yield the entries of all sound indexes; add the words of those that `update` doesn't know to it."""
    segments = 0
    for relative, path in indexes.paths.items():
        try:
            status = path.stat(follow_symlinks=False)
            entry = known.get(relative)
            if entry is not None and (entry.record.size, entry.record.mtime_ns) != (status.st_size, status.st_mtime_ns):
                entry = None
            is_new = update is not None and not update.has(relative, status)
            if entry is None or is_new:
                with _open_index(path, relative) as file:
                    entry = entry or _read_entry(file, relative, status)
                    if update is not None and is_new:
                        update.add(relative, status, _read_texts(file))
        except (InputError, OSError) as error:
            reason = str(error).removesuffix(".") if isinstance(error, InputError) else f"{path}: {error.strerror}"
            notes.append(f"{quoted(reason)}; it was left out.")
            continue
        segments += entry.record.segments
        if segments > MOST_SEGMENTS:
            notes.append(
                f"The library has more than {MOST_SEGMENTS} segments: indexes from {relative} on were left out."
            )
            return
        yield entry


def _open_index(path: Path, relative: str) -> IndexFile:
    """Return an index, opened.

    Raises:
        InputError: it isn't a sound one.
        OSError: it can't be read.
    """
    if one_line(relative) != relative:
        raise InputError(f"{relative} has a name with characters that can't be shown: rename it")
    return IndexFile(path)


def _read_entry(file: IndexFile, relative: str, status: os.stat_result) -> Entry:
    """Return what library.keys has of an index."""
    tensor = file.keys()
    keys = None if tensor is None else tensor.numpy()
    record = MovieRecord(
        index=relative,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        name=name_movie(file, relative),
        seconds=file.segments[-1].end,
        segments=len(file),
        sentences=len(file.sentences()),
        model=one_line(file.meta.model),
        identity=identity_digest(dict(file.meta.identity)),
        has_keys=keys is not None,
        sha256=digest(keys),
    )
    return Entry(record, keys)


def name_movie(file: IndexFile, relative: str) -> str:
    """Return the movie's name below the folder: that of the file beside its index, or else the one in the index.

    Args:
        relative: the index's path below the folder.
    """
    beside = movie_beside(file)
    name = PurePosixPath(str(file.meta.movie["name"])).name if beside is None else one_line(beside.name)
    return str(PurePosixPath(relative).parent / name)


def _read_texts(file: IndexFile) -> MovieTexts:
    """Return what library.text has of an index."""
    segments = [f"{segment.caption} {segment.speech}" for segment in file.segments]
    for number, tags in enumerate(file.tags()):
        segments[number] += "".join(f" {tag.name}" for tag in tags)
    sentences = [(sentence.channel, sentence.text) for sentence in file.sentences()]
    vectors = file.sentence_vectors() if sentences else None
    return MovieTexts(segments, sentences, None if vectors is None else vectors.numpy())


def _same_size(entries: Sequence[Entry], notes: list[str]) -> list[Entry]:
    """Return the entries, without the keys of those whose keys aren't of the commonest size."""
    sizes = Counter(entry.keys.shape[1] for entry in entries if entry.keys is not None)
    if len(sizes) < 2:
        return list(entries)
    size = sizes.most_common(1)[0][0]
    return [
        entry
        if entry.keys is None or entry.keys.shape[1] == size
        else Entry(replace(entry.record, has_keys=False, sha256=digest(None)), None)
        for entry in entries
    ]


def _stack(entries: Sequence[Entry]) -> Keys | None:
    parts = [entry.keys for entry in entries if entry.keys is not None]
    return np.concatenate(parts) if parts else None


def _choose(entries: Sequence[Entry], matrix: Keys | None, indexes: IndexSet) -> tuple[list[Entry], Keys | None]:
    """Return the entries of the listed indexes, and their part of the matrix."""
    chosen = [entry for entry in entries if entry.record.index in indexes.paths]
    return chosen, matrix if len(chosen) == len(entries) else _stack(chosen)


def _name(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries with names that tell them apart: where two movies are called alike, their indexes' names."""
    counts = Counter(entry.record.name for entry in entries)
    return tuple(
        entry
        if counts[entry.record.name] == 1
        else replace(entry, record=replace(entry.record, name=entry.record.index))
        for entry in entries
    )
