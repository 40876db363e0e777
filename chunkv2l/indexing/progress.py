"""Report a build while it runs and when it is done. None of it enters the index but the notes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from chunkv2l.video.notes import Note

T = TypeVar("T")
logger = logging.getLogger("chunkv2l")


@dataclass(frozen=True)
class Progress:
    """The progress of a build.

    Attributes:
        stage: what comes next: "read", "encode", "captions", "write", then "chapters", "speech", "screen text",
            "sentences".
        done, total: seconds of the movie, done in this stage for speech and screen text; `total` is what its header
            says.
        segments: stored so far.
        realtime: seconds of movie a second of this run; 0 before the first batch.
        eta: seconds left at that speed; None before the first batch.
    """

    stage: str
    done: float
    total: float
    segments: int
    realtime: float = 0.0
    eta: float | None = None


@dataclass(frozen=True)
class BuildReport:
    """The report of a finished build.

    Attributes:
        index: the finished index.
        movie: name, duration and so on, as the index's meta has them.
        segments: how many there are.
        resumed: how many of them an interrupted build had left.
        nothing_to_do: the index was there already, of this movie, model and settings.
        seconds: of the whole call.
        stages: seconds of each stage: load, read (decoding and detecting, in a thread beside the others), wait (for
            read), encode, hypernet, scores, captions, write, chapters, speech, screen text, sentences.
        realtime: seconds of movie a second, by stage and in "total" (of what this run made, loading included).
        index_bytes: of the file.
        code_bytes: of one segment's code; 0 if this run made none.
        peak_memory_bytes: the most memory that this process ever had; None where the system doesn't tell.
        notices: what was logged on the way, sentences.
        notes: what the build chose, guessed, repaired or dropped; the index records them, too.
    """

    index: Path
    movie: dict[str, Any]
    segments: int
    resumed: int
    nothing_to_do: bool
    seconds: float
    stages: dict[str, float]
    realtime: dict[str, float]
    index_bytes: int
    code_bytes: int
    peak_memory_bytes: int | None
    notices: tuple[str, ...]
    notes: tuple[Note, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as `chunkv2l build --json` prints it."""
        return {
            **asdict(self),
            "index": str(self.index),
            "notices": list(self.notices),
            "notes": [asdict(note) for note in self.notes],
        }


class Run:
    """The clock and the counters of one build.

    Attributes:
        segments, resumed: stored, and stored before this run.
        done, begun: seconds of the movie stored, and stored before this run.
        code_bytes: of the last code stored.
        stages: seconds by stage.
    """

    def __init__(self, duration: float, progress: Callable[[Progress], None] | None) -> None:
        self._started = time.perf_counter()
        self._working: float | None = None
        self._duration, self._progress = duration, progress
        self._notices: list[str] = []
        self.stages: dict[str, float] = {}
        self.segments = self.resumed = self.code_bytes = 0
        self.done = self.begun = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember what this package logs meanwhile (a reader's warnings are told by other modules)."""
        handler = _Collector(self._notices)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Count the time inside as this stage's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - started

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Pass `items` on, counting the time until each comes as the stage "wait"."""
        iterator = iter(items)
        while True:
            try:
                with self.clock("wait"):
                    item = next(iterator)
            except StopIteration:
                return
            yield item

    def tell(self, stage: str) -> None:
        """Call the caller's progress function."""
        if self._progress is None:
            return
        now = time.perf_counter()
        self._working = self._working or now
        elapsed, made = now - self._working, self.done - self.begun
        realtime = made / elapsed if made > 0 and elapsed > 0 else 0.0
        eta = max(0.0, self._duration - self.done) / realtime if realtime else None
        self._progress(Progress(stage, self.done, max(self._duration, self.done), self.segments, realtime, eta))

    def following(self, stage: str, begun: float) -> Callable[[float], None]:
        """Return a function that reports how far a stage of its own is, which begins at `begun` seconds of the movie.

        It takes the seconds of the movie that are done.
        """
        started = time.perf_counter()

        def tell(done: float) -> None:
            if self._progress is None:
                return
            elapsed = time.perf_counter() - started
            realtime = (done - begun) / elapsed if done > begun and elapsed > 0 else 0.0
            eta = max(0.0, self._duration - done) / realtime if realtime else None
            self._progress(Progress(stage, done, max(self._duration, done), self.segments, realtime, eta))

        return tell

    def report(
        self, index: Path, movie: dict[str, Any], notes: Sequence[Note] = (), nothing_to_do: bool = False
    ) -> BuildReport:
        """Return the report, once the index is there."""
        seconds, made = time.perf_counter() - self._started, self.done - self.begun
        times = {name: spent for name, spent in self.stages.items() if name not in ("load", "wait")}
        return BuildReport(
            index=index,
            movie=movie,
            segments=self.segments,
            resumed=self.resumed,
            nothing_to_do=nothing_to_do,
            seconds=seconds,
            stages=dict(self.stages),
            realtime={name: made / spent for name, spent in {**times, "total": seconds}.items() if spent > 0},
            index_bytes=index.stat().st_size,
            code_bytes=self.code_bytes,
            peak_memory_bytes=peak_memory(),
            notices=tuple(self._notices),
            notes=tuple(notes),
        )


class _Collector(logging.Handler):
    def __init__(self, sentences: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._sentences = sentences

    def emit(self, record: logging.LogRecord) -> None:
        self._sentences.append(record.getMessage())


def peak_memory() -> int | None:
    """Return the most resident memory that this process ever had, in bytes; None on systems that don't tell."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
