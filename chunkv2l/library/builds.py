"""Build what is missing or stale in folders of movies: smallest first, one model, and failures told at the end.

The indexes are the ledger, as with one movie: a run that is killed and started again goes on where it stopped. A movie
that was moved or renamed is known by its content, and its index goes with it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, Final, Literal

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.movie_file import movie_beside
from chunkv2l.indexing.build import LoadedModel, build
from chunkv2l.indexing.progress import BuildReport, Progress
from chunkv2l.library.folder import INDEX_SUFFIX, MEDIA_TYPES, list_files, shorten_notes
from chunkv2l.sanitize import plural
from chunkv2l.video.detectors import load_detector
from chunkv2l.video.fingerprint import fingerprint

logger = logging.getLogger(__name__)

State = Literal["built", "up to date", "moved", "same", "failed"]
STATES: Final[tuple[State, ...]] = ("built", "up to date", "moved", "same", "failed")
LOOK_EVERY: Final = 2.0
"""Seconds between two looks at the folders while they are watched."""
SETTLED: Final = 5.0
"""Seconds for which a new file's size and time have to stay the same before it counts as whole."""

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """The end of one movie's turn.

    Attributes:
        text: a sentence: what was built, why nothing was, or what went wrong.
        report: of its build; None where there was none.
    """

    movie: Path
    state: State
    text: str
    report: BuildReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as `build FOLDER --json` prints it."""
        report = None if self.report is None else self.report.to_json()
        return {"movie": str(self.movie), "state": self.state, "text": self.text, "report": report}


@dataclass(frozen=True)
class FolderReport:
    """The outcomes of all movies.

    Attributes:
        left: movies whose turn didn't come, since an earlier one failed.
        notes: sentences about what in the folders was left out.
    """

    outcomes: tuple[Outcome, ...]
    left: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes of movies that have no index now."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    def describe(self) -> list[str]:
        """Return a summary, then each failure as a sentence."""
        counts = Counter(outcome.state for outcome in self.outcomes)
        numbers = [f"{counts[state]} {state}" for state in STATES if counts[state]]
        left = f", {len(self.left)} not begun (--keep-going goes on after a failure)" if self.left else ""
        total = plural(len(self.outcomes) + len(self.left), "movie")
        return [f"{total}: {', '.join(numbers) or 'nothing to do'}{left}.", *(item.text for item in self.failures)]

    def to_json(self) -> dict[str, Any]:
        """Return the report as `build FOLDER --json` prints it."""
        return {
            "movies": [outcome.to_json() for outcome in self.outcomes],
            "left": [str(movie) for movie in self.left],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class FolderProgress:
    """The progress of all builds.

    Attributes:
        movie: the one that this is told of, its `number` among `total`.
        progress: of its build.
        share: of the movies' bytes that are done.
        eta: seconds left for all, at the speed so far; None before anything was built.
    """

    movie: Path
    number: int
    total: int
    progress: Progress
    share: float
    eta: float | None


class Stopped(Exception):
    """Another thread was interrupted, or failed."""


@dataclass
class FolderBuild:
    """The movies of some paths, to be built with one model.

    Attributes:
        paths: folders, and movies by name.
        model: loads the model; called once, before the first movie's turn.
        options: of `indexing.build.build` for each movie; a detector by its name.
        recursive: with the folders in them.
        jobs: movies that are worked on at once; their steps on the model take turns.
        keep_going: don't stop at a failure.
        progress, tell: called with what is going on, and with each outcome; from several threads where there are jobs.
    """

    paths: Sequence[Path]
    model: Callable[[], LoadedModel]
    options: Mapping[str, Any] = field(default_factory=dict)
    recursive: bool = False
    jobs: int = 1
    keep_going: bool = False
    progress: Callable[[FolderProgress], None] | None = None
    tell: Callable[[Outcome], None] | None = None

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._loaded: LoadedModel | None = None
        self._known: dict[Path, tuple[Stamp, int, str]] = {}  # of each index: its stamp, the movie's size and SHA-256
        self._notes: tuple[str, ...] = ()

    def run(self) -> FolderReport:
        """Build all movies that are there.

        Raises:
            InputError: a path with nothing at it, no movie, or a model that can't be had.
            KeyboardInterrupt: passed on, when every thread has stopped; the next run goes on.
        """
        movies = self.find_movies()
        if not movies:
            raise InputError(
                f"There is no movie in {', '.join(map(str, self.paths))}"
                f"{'' if self.recursive else ' (-r looks into the folders in it)'}: "
                f"names of movies end in {', '.join(sorted(MEDIA_TYPES))}."
            )
        return self.build(movies)

    def watch(self) -> Iterator[FolderReport]:
        """Build what is there, then what comes, once it is whole; yield after every round in which there was something.

        A movie that failed is tried again when its file has changed. Ends by KeyboardInterrupt.
        """
        looked_at: dict[Path, tuple[Stamp, float]] = {}
        done: dict[Path, Stamp] = {}
        while True:
            whole: list[Path] = []
            for movie in self.find_movies():
                stamp, now = _stamp(movie), monotonic()
                known, since = looked_at.get(movie, (None, now))
                looked_at[movie] = (stamp, since if known == stamp else now)
                is_old = known is None and time() - stamp[1] / 1e9 > SETTLED
                if done.get(movie) != stamp and (is_old or (known == stamp and now - since >= SETTLED)):
                    whole.append(movie)
                    done[movie] = stamp
            if whole:
                report = self.build(whole)
                for movie in report.left:
                    done.pop(movie, None)
                yield report
            sleep(LOOK_EVERY)

    def find_movies(self) -> list[Path]:
        """Return the movies of the paths, smallest first.

        Raises:
            InputError: there is nothing at a path.
        """
        movies: list[Path] = []
        notes: list[str] = []
        for path in self.paths:
            if path.is_dir():
                listing = list_files(path, MEDIA_TYPES.keys(), self.recursive)
                movies += listing.files
                notes += listing.notes
            elif path.is_file():
                movies.append(path)
            else:
                raise InputError(f"There is nothing at {path}: name a movie, or a folder of them.")
        self._notes = shorten_notes(notes)
        return sorted(dict.fromkeys(movies), key=lambda movie: (_stamp(movie)[0], movie))

    def build(self, movies: Sequence[Path]) -> FolderReport:
        """Build these movies, in this order."""
        self._load()  # what is wrong with the model is no movie's failure
        ledger = _Ledger(movies)
        waiting = deque(enumerate(movies, 1))
        outcomes: dict[Path, Outcome] = {}
        self._stop.clear()

        def work() -> None:
            while not self._stop.is_set():
                with self._lock:
                    if not waiting:
                        return
                    number, movie = waiting.popleft()
                try:
                    outcome = self._take_turn(movie, number, ledger)
                except Stopped:
                    with self._lock:
                        waiting.appendleft((number, movie))
                    return
                except BaseException:
                    self._stop.set()
                    raise
                ledger.finish(movie, outcome.state == "built")
                with self._lock:
                    outcomes[movie] = outcome
                    if self.tell is not None:
                        self.tell(outcome)
                if outcome.state == "failed" and not self.keep_going:
                    self._stop.set()

        if self.jobs == 1:
            work()
        else:
            self._run_threads(work)
        left = tuple(movie for movie in movies if movie not in outcomes)
        return FolderReport(tuple(outcomes[movie] for movie in movies if movie in outcomes), left, self._notes)

    def _run_threads(self, work: Callable[[], None]) -> None:
        errors: list[BaseException] = []

        def work_and_report() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work_and_report, name=f"build {i}", daemon=True) for i in range(self.jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        except BaseException:
            self._stop.set()
            for thread in threads:
                thread.join()
            raise
        if errors:
            raise errors[0]

    # ---- one movie

    def _take_turn(self, movie: Path, number: int, ledger: _Ledger) -> Outcome:
        def go_on(progress: Progress) -> None:
            if self._stop.is_set():
                raise Stopped
            if self.progress is not None:
                share, eta = ledger.look(movie, progress)
                self.progress(FolderProgress(movie, number, ledger.count, progress, share, eta))

        out = movie.with_suffix(INDEX_SUFFIX)
        try:
            moved = None if os.path.lexists(out) else self._recognise(movie, out)
            if moved is not None and moved.state == "same":
                return moved
            options = dict(self.options)
            if "detector" in options:
                options["detector"] = load_detector(options["detector"])  # one of its own for each movie
            options["force"] = bool(options.get("force")) or self._has_changed(movie, out)
            report = build(movie, out, model=self._load(), progress=go_on, **options)
        except (ChunkV2LError, OSError) as error:
            reason = str(error) if isinstance(error, ChunkV2LError) else f"{movie}: {error.strerror or error}."
            return Outcome(movie, "failed", reason if movie.name in reason else f"{movie}: {reason}")
        except Stopped:
            raise
        except Exception as error:
            logger.debug("The build of %s failed.", movie, exc_info=True)
            return Outcome(movie, "failed", f"{movie} can't be built ({type(error).__name__}: {error}).")
        if report.nothing_to_do:
            return moved or Outcome(movie, "up to date", f"{out} is up to date.", report)
        return Outcome(movie, "built", f"{out}: {plural(report.segments, 'segment')}.", report)

    def _load(self) -> LoadedModel:
        with self._lock:
            if self._loaded is None:
                self._loaded = self.model()
            return self._loaded

    def _recognise(self, movie: Path, out: Path) -> Outcome | None:
        """Look for an index of this very content; one whose movie is gone from beside it is moved to `out`."""
        size = _stamp(movie)[0]
        with self._lock:
            candidates = [(path, sha256) for path, of_size, sha256 in self._indexes() if of_size == size]
            if not candidates:
                return None
            content = fingerprint(movie)["sha256"]
            for path, sha256 in candidates:
                if sha256 != content:
                    continue
                with IndexFile(path) as file:
                    beside = movie_beside(file)
                if beside is not None and _stamp(beside)[0] == size and fingerprint(beside)["sha256"] == content:
                    return Outcome(movie, "same", f"{movie} is the same movie as {beside}, whose index is {path}.")
                os.rename(path, out)
                self._known.pop(path, None)
                return Outcome(movie, "moved", f"{movie} was moved or renamed: its index {path} is {out} now.")
        return None

    def _indexes(self) -> Iterator[tuple[Path, int, str]]:
        """Yield (path, movie's size, movie's SHA-256) of the folders' sound indexes; those that were read are known."""
        folders = dict.fromkeys(path if path.is_dir() else path.parent for path in self.paths)
        for root in folders:
            for path in list_files(root, {INDEX_SUFFIX}, self.recursive).files:
                stamp = _stamp(path)
                known = self._known.get(path)
                if known is None or known[0] != stamp:
                    try:
                        with IndexFile(path) as file:
                            size, sha256 = file.meta.movie.get("size"), str(file.meta.movie["sha256"])
                    except InputError:
                        continue
                    known = self._known[path] = (stamp, size if isinstance(size, int) else -1, sha256)
                yield path, known[1], known[2]

    def _has_changed(self, movie: Path, out: Path) -> bool:
        """Tell whether an index is of an earlier content of the movie, so that it is stale."""
        try:
            with IndexFile(out) as file:
                recorded = file.meta.movie
        except InputError:
            return False  # there is none, or the build says what is in the way
        if recorded["name"] != movie.name:
            return False
        return recorded.get("size") != _stamp(movie)[0] or recorded["sha256"] != fingerprint(movie)["sha256"]


class _Ledger:
    """The bytes of all movies: how many are done, and how long those that were built took."""

    def __init__(self, movies: Sequence[Path]) -> None:
        self._sizes = {movie: _stamp(movie)[0] for movie in movies}
        self._shares: dict[Path, float] = {}
        self._begun = monotonic()
        self._lock = threading.Lock()
        self._built = 0.0
        self.count = len(movies)

    def look(self, movie: Path, progress: Progress) -> tuple[float, float | None]:
        """Return the share of all bytes that is done, and the seconds that the others take."""
        with self._lock:
            self._shares[movie] = min(1.0, progress.done / progress.total) if progress.total else 0.0
            done = sum(share * self._sizes[other] for other, share in self._shares.items())
            total = sum(self._sizes.values()) or 1
            working = sum(share * self._sizes[other] for other, share in self._shares.items() if 0.0 < share < 1.0)
            built, elapsed = self._built + working, monotonic() - self._begun
            return done / total, (total - done) * elapsed / built if built > 0 else None

    def finish(self, movie: Path, was_built: bool) -> None:
        """Count a movie as done."""
        with self._lock:
            self._shares[movie] = 1.0
            self._built += self._sizes[movie] if was_built else 0


def _stamp(path: Path) -> Stamp:
    """Return a file's size and time of change; zeros where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_size, status.st_mtime_ns
