"""Measure the ceiling of each scene detector on a movie with known moments, without any model.

    python -m evaluation detectors --movie movie.mp4 --queries queries.jsonl

The ceiling is the share of moments that some single segment meets with IoU ≥ .5. Answers may also join neighbours: the
ceiling of spans is that of the best 1 to SPAN adjacent segments. Fewer segments are cheaper: the table also has their
number over the number of moments.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from chunkv2l.cli import streams as terminal
from chunkv2l.defaults import DETECTOR, MAX_LENGTH, MIN_LENGTH
from chunkv2l.errors import InputError
from chunkv2l.video.detectors import DETECTORS, make_detector
from chunkv2l.video.segmentation import detect
from chunkv2l.video.settings import SegmentationSettings
from evaluation.common import metrics
from evaluation.common.metrics import Window
from evaluation.common.options import json_option
from evaluation.datasets import qvhighlights

SPAN: Final = 3
"""Adjacent segments that the ceiling of spans joins, at most."""


@dataclass(frozen=True)
class Result:
    """The result of one detector.

    Attributes:
        ceiling: R1@0.5 of the best single segment, a fraction.
        segments: number of segments.
        ratio: segments a different moment.
        seconds: of the whole pass, decoding included.
        spans: R1@0.5 of the best 1 to `SPAN` adjacent segments.
    """

    detector: str
    ceiling: float
    segments: int
    ratio: float
    seconds: float
    spans: float


def adjacent(segments: Sequence[Window], most: int = SPAN) -> list[Window]:
    """Return the windows of all runs of 1 to `most` adjacent segments."""
    count = len(segments)
    return [
        (segments[first][0], segments[last][1])
        for first in range(count)
        for last in range(first, min(first + most, count))
    ]


def try_detector(
    name: str,
    movie: Path,
    truths: Sequence[Sequence[Window]],
    lengths: tuple[float, float] = (MIN_LENGTH, MAX_LENGTH),
    reader: str = "auto",
) -> Result:
    """Cut `movie` with one detector and compare its segments with the true windows of each query (seconds)."""
    started = time.perf_counter()
    cuts = [(segment.start, segment.end) for segment in detect(movie, SegmentationSettings(name, *lengths, reader))]
    seconds = time.perf_counter() - started
    moments = {tuple(window) for windows in truths for window in windows}
    reached, joined = (metrics.ceiling([windows] * len(truths), truths) for windows in (cuts, adjacent(cuts)))
    return Result(name, reached, len(cuts), len(cuts) / len(moments), seconds, joined)


def windows_of(queries: Path, movie: Path) -> list[Sequence[Window]]:
    """Return the true windows of each query about the movie (its name without suffix is the queries' `vid`).

    Raises:
        InputError: no query is about the movie.
    """
    truths: list[Sequence[Window]] = [
        query.windows for query in qvhighlights.read_queries(queries) if query.vid in (movie.stem, "")
    ]
    if not truths:
        raise InputError(f'{queries} has no query whose "vid" is {movie.stem}.')
    return truths


@click.command(short_help="The ceiling of each scene detector on a movie with known moments.")
@click.option("--movie", type=click.Path(path_type=Path), required=True)
@click.option("--queries", type=click.Path(path_type=Path), required=True, help="JSONL in QVHighlights' format.")
@click.option("--detector", "names", multiple=True, help="As build takes it; may be repeated.  [default: all]")
@click.option("--min-length", type=float, default=MIN_LENGTH, show_default=True, help="Seconds.")
@click.option("--max-length", type=float, default=MAX_LENGTH, show_default=True, help="Seconds.")
@click.option("--reader", default="auto", show_default=True)
@json_option
def command(
    movie: Path,
    queries: Path,
    names: tuple[str, ...],
    min_length: float,
    max_length: float,
    reader: str,
    as_json: bool,
) -> None:
    """Cut a movie with each detector and print how many of its moments a single segment meets."""
    lengths = (min_length, max_length)
    names = names or tuple(DETECTORS)
    for name in names:
        make_detector(name, *lengths)  # what is wrong with any is told before the first pass
    truths = windows_of(queries, movie)
    results = [try_detector(name, movie, truths, lengths, reader) for name in names]
    if as_json:
        terminal.emit_json([asdict(result) for result in results])
        return
    terminal.emit(f"{'detector':<12} {'ceiling':>7} {'of spans':>8} {'segments':>8} {'a moment':>8} {'seconds':>7}")
    for r in results:
        mark = "  (the default)" if r.detector == DETECTOR else ""
        numbers = f"{r.ceiling:7.2f} {r.spans:8.2f} {r.segments:8} {r.ratio:8.1f} {r.seconds:7.1f}"
        terminal.emit(f"{r.detector:<12} {numbers}{mark}")
