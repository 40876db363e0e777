"""Measure whether a build's memory stays constant over a long movie: its peak at one minute and at the end.

    python -m evaluation memory --movie short.mp4 --minutes 30

A short movie is made long by repeating it through other windows (`looped.py`), in a process of its own, because a peak
counts everything that a process did before. The index is deleted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import ChunkV2LError
from chunkv2l.indexing.build import build
from chunkv2l.indexing.progress import Progress, peak_memory
from chunkv2l.video.probe import probe
from evaluation.common.options import PICTURES_ONLY, captions_option, json_option

if TYPE_CHECKING:
    from chunkv2l.models import Model


@dataclass(frozen=True)
class Growth:
    """The process's peak memory, bytes, by stored minutes of movie.

    Attributes:
        begin: with the model loaded, before the first segment.
        early, late: at the early minute, and at the movie's end.
        minutes: of the early mark, and of the whole movie.
        by_minute: at each whole minute.
        seconds, cpu_seconds: of the clock, and of all CPUs, which other programs change less.
    """

    begin: int
    early: int
    late: int
    minutes: tuple[float, float]
    by_minute: tuple[int, ...]
    segments: int
    seconds: float
    cpu_seconds: float
    index_bytes: int

    @property
    def ratio(self) -> float:
        """Return late over early: 1 is constant memory."""
        return self.late / self.early


def measure(movie: Path, model: str | Model, early: float, **options: Any) -> Growth:
    """Build `movie`'s index and record this process's peak memory; `early` is in minutes.

    Raises:
        ChunkV2LError: the system doesn't tell a process's peak, or the movie ends before the early mark.
    """
    marks: dict[float, int] = {}
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        report = build(
            movie, Path(folder) / "a.idx", model=model, progress=_watch(marks, early), **{**PICTURES_ONLY, **options}
        )
    minutes = report.movie["duration"] / 60
    if early not in marks or 0.0 not in marks:
        raise ChunkV2LError(f"The movie's {minutes:.1f} minutes end before the mark at {early:g}: make it longer.")
    by_minute = [marks[minute] for minute in sorted(marks) if minute and minute == int(minute)]
    return Growth(
        marks[0.0],
        marks[early],
        peak(),
        (early, minutes),
        tuple(by_minute),
        report.segments,
        report.seconds,
        time.process_time() - begun,
        report.index_bytes,
    )


def _watch(marks: dict[float, int], early: float) -> Callable[[Progress], None]:
    """Return a progress callback that records the peak at minute 0, each whole minute, and the early one."""

    def progress(now: Progress) -> None:
        minutes = {0.0, early, *map(float, range(int(now.done // 60) + 1))}
        for minute in minutes - marks.keys():
            if now.done >= 60 * minute:
                marks[minute] = peak()

    return progress


def peak() -> int:
    """Return this process's peak memory, bytes.

    Raises:
        ChunkV2LError: the system doesn't tell.
    """
    most = peak_memory()
    if most is None:
        raise ChunkV2LError("This system doesn't tell how much memory a process had.")
    return most


def lengthen(source: Path, target: Path, minutes: float) -> None:
    """Run `looped.write` in a process of its own, so that its memory isn't counted."""
    probe(source)  # raises what is wrong with the movie
    command = [sys.executable, "-m", "evaluation.movies.looped", str(source.resolve()), str(target.resolve())]
    done = subprocess.run([*command, str(60 * minutes)], cwd=Path(__file__).parents[2], check=False)
    if done.returncode:
        raise ChunkV2LError(f"{source} could not be made longer.")


@click.command(short_help="Whether a build's memory stays flat over a long movie.")
@click.option("--movie", type=click.Path(path_type=Path), required=True, help="A short movie to play again and again.")
@click.option("--minutes", type=click.FloatRange(min=1), default=30.0, show_default=True, help="Of the long one.")
@click.option("--early", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Minute of the mark.")
@click.option("--keep", type=click.Path(path_type=Path), help="The long movie: made here, or used if it is here.")
@click.option("--model", default="mini", show_default=True)
@captions_option
@json_option
def command(
    movie: Path, minutes: float, early: float, keep: Path | None, model: str, captions: bool, as_json: bool
) -> None:
    """Build a long movie's index and compare peak memory at an early minute and at the end."""
    with tempfile.TemporaryDirectory() as folder:
        long = keep or Path(folder) / "long.mp4"
        if not long.exists():
            lengthen(movie, long, minutes)
        growth = measure(long, model, early, captions=captions)
    show(growth, as_json)


def show(growth: Growth, as_json: bool = False) -> None:
    """Print a measurement."""
    if as_json:
        terminal.emit_json({**asdict(growth), "ratio": growth.ratio})
        return
    early, late = growth.minutes
    terminal.emit(
        f"peak memory {growth.begin / 1e6:.0f} MB before the first segment, {growth.early / 1e6:.0f} MB at minute "
        f"{early:g}, {growth.late / 1e6:.0f} MB at minute {late:.1f}: {growth.ratio:.3f} times as much\n"
        f"{growth.segments} segments in {growth.seconds:.0f} s ({growth.cpu_seconds:.0f} s of CPUs), "
        f"index {growth.index_bytes / 1e6:.1f} MB"
    )
