"""The catalogue's sound indexes as one library, asked together; kept up to date with what lies under the paths.

Where a single folder is served, the library's files are that folder's own, which the command line uses, too; else, and
where the server only reads, they lie in a temporary folder.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.library.contents import IndexSet
from chunkv2l.library.library import Library
from chunkv2l.models import Model
from chunkv2l.serve.catalogue import Catalogue, Entry, OpenedMovie, Stamp
from chunkv2l.serve.refusals import NotReady

TITLE: Final = "the library"


class AllMovies:
    """The library of a catalogue. Close it."""

    def __init__(self, catalogue: Catalogue, is_writable: bool) -> None:
        """
        Args:
            is_writable: the library's files may lie beside the indexes.
        """
        self._catalogue = catalogue
        self._is_writable = is_writable
        self._library: Library | None = None
        self._state: tuple[dict[str, Stamp], list[str]] = ({}, [])  # of the library: its indexes' stamps, its notes
        self._ids: dict[str, str] = {}
        self._temporary: Path | None = None

    def close(self) -> None:
        """Let go of all files, and remove what was written to a temporary folder."""
        if self._library is not None:
            self._library.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def inspect(self, seconds: float) -> None:
        """Look at indexes in the sandbox that nobody has looked at yet, for so long at the most."""
        started = time.monotonic()
        for entry in self._entries():
            if time.monotonic() - started > seconds:
                return
            self._catalogue.inspect(entry)

    def open(self, load: Callable[[OpenedMovie], Model]) -> Library:
        """Return the library of all indexes that were looked at and are sound, as they are now.

        Args:
            load: returns the shared model, by a movie's index where nobody has loaded it yet.

        Raises:
            NotReady: there is none.
            ChunkV2LError: the model can't be had.
        """
        entries = self._entries()
        sound: dict[str, Entry] = {}
        stamps: dict[str, Stamp] = {}
        notes: list[str] = []
        waiting = 0
        for entry in entries:
            verdict = self._catalogue.verdict(entry)
            if verdict is None:
                waiting += 1
            elif verdict.findings:
                notes.append(f"{entry.name} can't be used: {verdict.findings[0]}")
            else:
                name = self._name(entry)
                sound[name], stamps[name] = entry, verdict.stamp
        if waiting:
            notes.append(f"{waiting} of the indexes haven't been looked at yet, and weren't asked.")
        if not sound:
            raise NotReady(" ".join(["There is no movie here that can be asked.", *notes]))
        if self._library is None or self._state != (stamps, notes):
            model = self._load(sound.values(), load)
            self._replace(sound, [self._name(entry) for entry in entries], model, notes)
            self._state = stamps, notes
        assert self._library is not None
        return self._library

    def _load(self, entries: Iterable[Entry], load: Callable[[OpenedMovie], Model]) -> Model:
        """Return the shared model by the first index that can be opened."""
        refusals: list[NotReady] = []
        for entry in entries:
            try:
                return load(self._catalogue.open(entry.id))
            except NotReady as error:
                refusals.append(error)
        raise refusals[0]

    def _replace(self, sound: dict[str, Entry], names: list[str], model: Model, notes: list[str]) -> None:
        """Open the library anew."""
        if self._library is not None:
            self._library.close()
            self._library = None
        folder, kept = self._choose_folder(), frozenset(names)
        paths = {name: entry.index for name, entry in sorted(sound.items()) if entry.index is not None}
        indexes = IndexSet(
            TITLE,
            folder,
            paths,
            keeps=kept.__contains__,
            is_writable=self._is_writable or folder == self._temporary,
            notes=tuple(notes),
        )
        try:
            self._library = Library(indexes, model)
        except InputError as error:
            raise NotReady(str(error)) from error
        self._ids = {
            name: sound[record.index].id for record in self._library.movies for name in (record.index, record.name)
        }  # an answer may call a movie by either

    def _choose_folder(self) -> Path:
        if self._is_shared:
            return self._catalogue.roots[0]
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="chunkv2l-library-"))
        return self._temporary

    @property
    def _is_shared(self) -> bool:
        """Tell whether the library's files are a folder's own."""
        return len(self._catalogue.roots) == 1 and self._catalogue.roots[0].is_dir()

    def _name(self, entry: Entry) -> str:
        return Path(entry.name).as_posix() if self._is_shared else entry.id

    def _entries(self) -> list[Entry]:
        return [entry for entry in self._catalogue.entries() if entry.index is not None]

    def id_of(self, movie: str) -> str | None:
        """Return the id of a movie by its name in the library; None where it has gone meanwhile."""
        return self._ids.get(movie)
