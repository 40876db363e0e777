"""List the indexes and movies under the given paths, and open an index once it has been looked at in a sandbox.

Nothing outside the paths is listed or opened: every file is resolved, and its real path must lie under the real path of
what was given. An index that was given by name brings the movie that lies beside it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chunkv2l.channels.cues import CHANNELS, Channel, ChannelCue
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.movie_file import is_movie_of, movie_beside
from chunkv2l.index.overview import chapters_json, index_json
from chunkv2l.index.schema import part_path
from chunkv2l.library.folder import INDEX_SUFFIX, MEDIA_TYPES, MOST_DEPTH, walk
from chunkv2l.sandbox.parent import verify_index
from chunkv2l.serve.refusals import NotReady, UnknownMovie

logger = logging.getLogger(__name__)

SCAN_EVERY: Final = 2.0
"""Seconds for which a listing of the folders is good."""
OPENED: Final = 32
"""Indexes that are kept open."""

Stamp = tuple[int, int, int]
"""Inode, size and time of change of a file: another stamp is another content."""


@dataclass(frozen=True)
class Entry:
    """A movie of the catalogue.

    Attributes:
        id: its name in addresses, which stays the same as long as its file does.
        name: its path below what was given, for show.
        index: the real path of its index; None where there is none yet.
        movie: the real path of the movie; None where an index hasn't been opened yet, or lies alone.
        folder: where the files beside it may lie.
    """

    id: str
    name: str
    index: Path | None
    movie: Path | None
    folder: Path


@dataclass(frozen=True)
class Verdict:
    """The result of the first look at an index: findings, none of them in a sound one."""

    stamp: Stamp
    findings: tuple[str, ...]


@dataclass(frozen=True)
class OpenedMovie:
    """An index that is open, with the real path that its movie had if that was there (`Catalogue.find_movie`)."""

    entry: Entry
    stamp: Stamp
    file: IndexFile
    movie: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the index as `show --json` prints it, with its id, and the name that the catalogue has for it."""
        return {"id": self.entry.id, **index_json(self.file), "index": self.entry.name}

    def chapters(self) -> list[dict[str, Any]]:
        """Return the chapters as `show --json` has them."""
        return chapters_json(self.file)

    def channels(self) -> list[Channel]:
        """Return the channels that the index has: what is seen, and what is said or written where it has cues."""
        with_cues = {channel_of(cue) for cue in self.file.cues()}
        return [channel for channel in CHANNELS if channel == "seen" or channel in with_cues]


class Catalogue:
    """The movies under the given paths. Threads may share it.

    Attributes:
        roots: the paths, resolved.
    """

    def __init__(
        self, paths: Sequence[Path], most: int = 10_000, check: Callable[[Path], list[str]] = verify_index
    ) -> None:
        """
        Args:
            most: files that are listed.
            check: looks at an index that wasn't seen before, and returns what is wrong with it.

        Raises:
            InputError: there is nothing at one of the paths, or nothing was given.
        """
        if not paths:
            raise InputError("Name an index, a movie, or a folder of them.")
        self.roots = tuple(_resolve_root(path) for path in paths)
        self._most, self._check = most, check
        self._lock, self._checking = threading.Lock(), threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._scanned_at = -SCAN_EVERY
        self._verdicts: dict[Path, Verdict] = {}
        self._opened: OrderedDict[Path, OpenedMovie] = OrderedDict()
        self._summaries: dict[Path, tuple[Stamp, dict[str, Any]]] = {}
        self._matches: dict[tuple[Path, Stamp, Path, Stamp], bool] = {}

    def entries(self, anew: bool = False) -> list[Entry]:
        """Return the movies in order of their names.

        Args:
            anew: look into the folders even if that was done a moment ago.
        """
        with self._lock:
            if anew or time.monotonic() - self._scanned_at >= SCAN_EVERY:
                self._entries = {entry.id: entry for entry in self._scan()}
                self._scanned_at = time.monotonic()
            return list(self._entries.values())

    def entry(self, movie_id: str) -> Entry:
        """Return a movie by its id.

        Raises:
            UnknownMovie: there is none of that id.
        """
        for anew in (False, True):
            self.entries(anew)
            with self._lock:
                entry = self._entries.get(movie_id)
            if entry is not None:
                return entry
        raise UnknownMovie(f'There is no movie "{movie_id[:80]}" here: /api/movies lists those that are.')

    def verdict(self, entry: Entry) -> Verdict | None:
        """Return the result of the first look at a movie's index; None if nobody has looked at its content yet."""
        if entry.index is None:
            return None
        with self._lock:
            verdict = self._verdicts.get(entry.index)
        return verdict if verdict is not None and verdict.stamp == _stamp(entry.index) else None

    def inspect(self, entry: Entry) -> Verdict | None:
        """Look at a movie's index in a sandbox, unless that was done; None where it has no index."""
        if entry.index is None:
            return None
        with self._checking:  # one process at a time
            known = self.verdict(entry)
            if known is not None:
                return known
            stamp = _stamp(entry.index)
            try:
                findings = tuple(self._check(entry.index))
            except ChunkV2LError as error:
                findings = (str(error),)
            verdict = Verdict(stamp, tuple(finding.replace(str(entry.index), entry.name) for finding in findings))
            with self._lock:
                self._verdicts[entry.index] = verdict
            return verdict

    def accept(self, path: Path) -> None:
        """Take an index that this process has built and read back as looked at."""
        real = path.resolve()
        with self._lock:
            self._verdicts[real] = Verdict(_stamp(real), ())
            self._scanned_at = -SCAN_EVERY

    def open(self, movie_id: str) -> OpenedMovie:
        """Return a movie's index, opened; the first time it is looked at in a sandbox, which takes seconds.

        Raises:
            UnknownMovie: no such movie.
            NotReady: it has no index, or one that isn't sound.
        """
        entry = self.entry(movie_id)
        if entry.index is None:
            raise NotReady(f"{entry.name} has no index yet: build it first.")
        stamp = _stamp(entry.index)
        with self._lock:
            opened = self._opened.get(entry.index)
            if opened is not None and opened.stamp == stamp:
                self._opened.move_to_end(entry.index)
                return opened
        verdict = self.inspect(entry)
        if verdict is not None and verdict.findings:
            raise NotReady(f"{entry.name} can't be used: {verdict.findings[0]}")
        try:
            file = IndexFile(entry.index)
        except InputError as error:
            raise NotReady(str(error).replace(str(entry.index), entry.name)) from error
        opened = OpenedMovie(entry, stamp, file, self.find_movie(entry, file))
        with self._lock:
            self._opened[entry.index] = opened
            while len(self._opened) > OPENED:
                self._opened.popitem(last=False)  # closed with its last reader
        return opened

    def summary(self, entry: Entry) -> dict[str, Any]:
        """Return a movie as the list of movies has it; nothing that wasn't looked at yet is opened."""
        values: dict[str, Any] = {"id": entry.id, "name": entry.name, "state": "no index", "error": None}
        if entry.index is None:
            assert entry.movie is not None
            is_begun = part_path(entry.movie.with_suffix(INDEX_SUFFIX)).exists()
            return {**values, "state": "unfinished" if is_begun else "no index"}
        verdict = self.verdict(entry)
        if verdict is None:
            return {**values, "state": "not looked at yet"}
        with self._lock:
            stamp, kept = self._summaries.get(entry.index, (None, {}))
        if stamp == verdict.stamp:
            return kept
        try:
            opened = self.open(entry.id)
        except ChunkV2LError as error:
            return {**values, "state": "refused", "error": str(error)}
        values |= {
            "state": "ready",
            "movie": dict(opened.file.meta.movie),
            "model": opened.file.meta.model,
            "segments": len(opened.file),
            "chapters": len(opened.file.chapters()),
            "channels": opened.channels(),
            "has_movie": opened.movie is not None,
        }
        if opened.movie is not None:  # else it may come yet
            with self._lock:
                self._summaries[entry.index] = opened.stamp, values
        return values

    def find(self, path: Path) -> Entry | None:
        """Return the movie whose index or movie file is at a path, or is called so; None where there is none."""
        if str(path).startswith(("\\\\", "//")):  # another machine's: Windows would tell it who asks
            return None
        try:
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError):
            return None
        entries = self.entries()
        for entry in entries:
            if resolved in (entry.index, entry.movie) or (entry.index and self._movie_of(entry) == resolved):
                return entry
        if path.suffix.lower() in MEDIA_TYPES:
            path, resolved = path.with_suffix(INDEX_SUFFIX), resolved.with_suffix(INDEX_SUFFIX)
        called = [entry for entry in entries if entry.index == resolved]
        if not called and not path.is_absolute():
            called = [
                entry for entry in entries if str(path) in (entry.name, Path(entry.name).name, Path(entry.name).stem)
            ]
        return called[0] if len(called) == 1 else None

    def find_named(self, name: str) -> Entry:
        """Return a movie by its id, its path, or its file's name if that is the only one called so.

        Raises:
            UnknownMovie: there is none.
        """
        named = next((entry for entry in self.entries() if entry.id == name), None) or self.find(Path(name))
        if named is None:
            raise UnknownMovie(f'There is no movie "{name[:80]}" here: the list of movies has their ids.')
        return named

    def hide_folders(self, text: str) -> str:
        """Return a text in which files under the paths are called by their names below what was given."""
        folders = {root if root.is_dir() else root.parent for root in self.roots}
        for folder in sorted(map(str, folders), key=len, reverse=True):
            text = text.replace(folder.rstrip(os.sep) + os.sep, "")
        return text

    def _movie_of(self, entry: Entry) -> Path | None:
        with self._lock:
            opened = self._opened.get(entry.index) if entry.index else None
        return None if opened is None else opened.movie

    # ---- files

    def _scan(self) -> Iterator[Entry]:
        indexes: dict[Path, tuple[str, Path]] = {}
        movies: dict[Path, tuple[str, Path]] = {}
        candidates = ((root, path) for root in self.roots for path in _candidates(root))
        for root, path in candidates:
            is_movie = path.suffix.lower() in MEDIA_TYPES
            is_index = path.suffix.lower() == INDEX_SUFFIX or (path == root and not is_movie)
            real = confine(path, root) if is_movie or is_index else None
            if real is None:
                continue
            if len(indexes) + len(movies) >= self._most:
                logger.warning("There are more than %d files: the others aren't listed.", self._most)
                break
            name = path.name if path == root else str(path.relative_to(root))
            folder = root if root.is_dir() else root.parent
            (indexes if is_index else movies).setdefault(real, (_as_text(name), folder))
        with_index = {path.with_suffix("") for path in indexes} | {
            opened.movie for opened in self._opened.values() if opened.movie is not None
        }
        entries = [Entry(_make_id(path), name, path, None, folder) for path, (name, folder) in indexes.items()]
        entries += [
            Entry(_make_id(path), name, None, path, folder)
            for path, (name, folder) in movies.items()
            if path not in with_index and path.with_suffix("") not in with_index
        ]
        yield from sorted(entries, key=lambda entry: (entry.name.lower(), entry.id))

    def find_movie(self, entry: Entry, file: IndexFile) -> Path | None:
        """Return the real path of the movie beside an index, if it lies under the paths and is the index's.

        To be called whenever the movie is read: it may have been replaced, by a link to the outside, too.
        """
        beside = movie_beside(file)
        real = None if beside is None else confine(beside, entry.folder)
        if real is None:
            return None
        key = (file.path, _stamp(file.path), real, _stamp(real))
        if key not in self._matches:
            try:
                self._matches[key] = is_movie_of(real, file)  # reads much of it
            except InputError:
                return None
        return real if self._matches[key] else None


def channel_of(cue: ChannelCue) -> Channel:
    """Return the channel that a cue belongs to: what was given is heard."""
    return "read" if cue.source == "read" else "heard"


def _resolve_root(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InputError(f"There is nothing at {path}: name an index, a movie, or a folder of them.") from None


def _candidates(root: Path) -> Iterator[Path]:
    """Yield a file, or what is in a folder and the folders in it, as `walk` does."""
    if not root.is_dir():
        yield root
        return
    notes: list[str] = []
    yield from (Path(entry.path) for entry in walk(root, MOST_DEPTH, notes))
    for note in notes:
        logger.debug("%s", note)


def confine(path: Path, root: Path) -> Path | None:
    """Return a file's real path if it is a regular file under the root (or the root itself); else None."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return real if real.is_relative_to(root) and real.is_file() else None


def _stamp(path: Path) -> Stamp:
    """Return a file's stamp; zeros where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _make_id(path: Path) -> str:
    """Return an id of letters, digits and hyphens: the file's name, and 64 bits of its path's hash."""
    slug = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40] or "movie"
    return f"{slug}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def _as_text(name: str) -> str:
    """Return a file's name as text that JSON can hold; bytes that aren't UTF-8 become "?"."""
    return name.encode(errors="replace").decode()
