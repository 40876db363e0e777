"""Build indexes from the page: one at a time, in a thread of its own, watched by anybody, cancelled and gone on with.

A build that is cancelled, or that the server's end cuts short, leaves its `.part`: the next build of the movie goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from chunkv2l.defaults import MODELS
from chunkv2l.errors import ChunkV2LError
from chunkv2l.indexing.build import build as build_index
from chunkv2l.indexing.progress import BuildReport, Progress
from chunkv2l.library.folder import INDEX_SUFFIX
from chunkv2l.sandbox.parent import run_task
from chunkv2l.serve.answering import Answering
from chunkv2l.serve.catalogue import Catalogue, Entry, confine
from chunkv2l.serve.refusals import Busy, Forbidden, NotReady, UnknownMovie
from chunkv2l.serve.settings import ServeSettings
from chunkv2l.video.subtitles import find_sidecar

logger = logging.getLogger(__name__)

KEPT = 100
"""Builds that have ended and are remembered."""
EVERY = 0.25
"""Seconds between looks at a build that is watched."""

State = Literal["starting", "running", "done", "failed", "cancelled"]


class _Cancelled(Exception):
    """The build is to end; raised between its batches."""


@dataclass
class Build:
    """A build that was asked for.

    Attributes:
        movie: the id of the movie that has no index yet.
        result: the id of the movie with its index, once that is there.
        progress: as the command line shows it; None before the first batch.
    """

    movie: str
    name: str
    state: State = "starting"
    progress: Progress | None = None
    error: str | None = None
    result: str | None = None
    notes: tuple[str, ...] = ()
    cancelling: threading.Event = field(default_factory=threading.Event)

    @property
    def has_ended(self) -> bool:
        """Say whether nothing of it will change any more."""
        return self.state in ("done", "failed", "cancelled")

    def to_json(self) -> dict[str, Any]:
        """Return the build as the API shows it."""
        return {
            "movie": self.movie,
            "name": self.name,
            "state": self.state,
            "progress": None if self.progress is None else asdict(self.progress),
            "error": self.error,
            "result": self.result,
            "notes": list(self.notes),
        }


class Builds:
    """The builds of a server. Close it."""

    def __init__(
        self, settings: ServeSettings, catalogue: Catalogue, answering: Answering, is_sandboxed: bool = True
    ) -> None:
        """
        Args:
            is_sandboxed: look at a movie's header in a process of its own first.
        """
        self._settings, self._catalogue, self._answering = settings, catalogue, answering
        self._is_sandboxed = is_sandboxed
        self._lock = threading.Lock()
        self._builds: dict[str, Build] = {}
        self._thread: threading.Thread | None = None

    def to_json(self) -> list[dict[str, Any]]:
        """Return all builds as the API shows them, the last one last."""
        with self._lock:
            return [build.to_json() for build in self._builds.values()]

    def start(self, movie_id: str) -> Build:
        """Begin to build a movie's index, or go on with it.

        Raises:
            Forbidden: the server only reads, or its model may only be named in a shell.
            UnknownMovie: no such movie.
            NotReady: it has its index.
            Busy: another build is running.
        """
        spec = self._settings.spec
        if self._settings.read_only:
            raise Forbidden("This server only reads (--read-only): build the index with chunkv2l build.")
        if spec.hypernet is not None or (spec.name is not None and spec.name not in MODELS):
            raise Forbidden("This server's model is a file of your own: build the index with chunkv2l build.")
        entry = self._catalogue.entry(movie_id)
        if entry.index is not None or entry.movie is None:
            raise NotReady(f"{entry.name} has its index.")
        with self._lock:
            if any(not build.has_ended for build in self._builds.values()):
                raise Busy("An index is being built: start the next one when it is done.")
            self._builds.pop(movie_id, None)
            build = self._builds[movie_id] = Build(movie_id, entry.name)
            for ended in list(self._builds)[:-KEPT]:
                del self._builds[ended]
            self._thread = threading.Thread(target=self._run, args=(build, entry, entry.movie), name="build")
            self._thread.start()
        return build

    def get(self, movie_id: str) -> Build:
        """Return a movie's build.

        Raises:
            UnknownMovie: there is none.
        """
        with self._lock:
            if movie_id not in self._builds:
                raise UnknownMovie(f'No index of "{movie_id[:80]}" is being built.')
            return self._builds[movie_id]

    def cancel(self, movie_id: str) -> Build:
        """End a build before its next batch; what is stored stays."""
        build = self.get(movie_id)
        build.cancelling.set()
        return build

    async def watch(self, movie_id: str) -> AsyncIterator[Build]:
        """Yield a build whenever it is further, at last when it has ended."""
        build, last = self.get(movie_id), None
        while True:
            state = (build.state, build.progress)
            if state != last:
                last = state
                yield build
            if build.has_ended:
                return
            await asyncio.sleep(EVERY)

    def stop(self) -> None:
        """End what is being built before its next batch."""
        with self._lock:
            for build in self._builds.values():
                build.cancelling.set()

    def close(self, patience: float = 120.0) -> None:
        """Wait until nothing is being built.

        Args:
            patience: seconds that a batch may take.
        """
        self.stop()
        if self._thread is not None:
            self._thread.join(patience)

    # ---- the thread

    def _run(self, build: Build, entry: Entry, movie: Path) -> None:
        try:
            report = self._build(build, entry, movie)
        except _Cancelled:
            build.state = "cancelled"
        except ChunkV2LError as error:
            build.error = self._catalogue.hide_folders(str(error).replace(str(movie), entry.name))
            build.state = "failed"
        except Exception as error:
            logger.exception("A build failed.")
            build.error = f"The build failed ({type(error).__name__}): the server's log says more."
            build.state = "failed"
        else:
            self._finish(build, report)

    def _build(self, build: Build, entry: Entry, movie: Path) -> BuildReport:
        def go_on(progress: Progress | None = None) -> None:
            if build.cancelling.is_set():
                raise _Cancelled
            build.progress = progress

        if self._is_sandboxed:
            run_task("describe movie", movie)
        go_on()
        model = self._answering.load_by_name()
        build.state = "running"
        sidecar = find_sidecar(movie)  # may be a link to the outside, which this server doesn't read
        subtitles = None if sidecar is not None and confine(sidecar, entry.folder) is None else "auto"
        return build_index(movie, movie.with_suffix(INDEX_SUFFIX), model=model, progress=go_on, subtitles=subtitles)

    def _finish(self, build: Build, report: BuildReport) -> None:
        self._catalogue.accept(report.index)
        built = self._catalogue.find(report.index)
        build.result = None if built is None else built.id
        build.notes = tuple(note.text for note in report.notes)
        build.state = "done"
