"""Measure what a question to a library costs beside the same to one of its movies, and whether it opens the right one.

    python -m evaluation.movies.many_movies movie.idx shelf --movies 1000
    python -m evaluation library --library shelf

Both are asked in turns in one run, each time another question: one movie that is open already, one that is opened for
the question (as the library's are), and the library. The first result counts: the moments, before any text. Memory is
what the process needs more than with the model and one movie. A question of the ten texts of `channels` is found where
its first moment is in its text's movie. A row "from a shell" starts `chunkv2l ask` anew each time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import cycle, product
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click

from chunkv2l.answer.answer import Answer, PartialAnswer
from chunkv2l.ask import Index
from chunkv2l.cli import streams as terminal
from chunkv2l.errors import ChunkV2LError
from chunkv2l.library.library import Library
from evaluation.benchmarks.channels import read_texts
from evaluation.benchmarks.latency import in_turns
from evaluation.benchmarks.memory import peak
from evaluation.common import results, table
from evaluation.common.options import device_option, json_option, out_option
from evaluation.movies.many_movies import HOUR

_SUBJECTS: Final = ("woman", "man", "cat", "red car", "boy", "girl", "dog", "horse", "bird", "child", "crowd")
_ACTIONS: Final = ("wait", "climb a rock", "eat", "stop", "ski", "run", "play", "jump", "sit on a bench", "dance")
_TOPICS: Final = ("clock", "files", "threads", "network", "errors", "dates", "memory", "numbers", "window", "locks")
WAYS: Final = ("open movie", "movie opened for it", "library")


def questions() -> dict[str, list[str]]:
    """Return questions about the pictures, and about what is said: each asked once, as statements are remembered."""
    return {
        "pictures": [f"When does a {who} {what}?" for what, who in product(_ACTIONS, _SUBJECTS)],
        "speech": [f"When does {who} talk about the {what}?" for who in ("he", "she", "anybody") for what in _TOPICS],
    }


def first_result(ask: Callable[..., Answer], question: str) -> float:
    """Return the seconds until a question's moments are known."""
    started, times = perf_counter(), []

    def note(_: PartialAnswer) -> None:
        times.append(perf_counter() - started)

    ask(question, progress=note)
    return times[0]


def time_ways(library: Library, hour: Index, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of each way, by what is asked about."""
    timed: dict[str, dict[str, float]] = {}
    for about, listed in questions().items():
        fresh = {way: cycle(listed) for way in WAYS}

        def ask_anew(each: Any = fresh["movie opened for it"]) -> float:
            started, question = perf_counter(), next(each)
            with Index(hour.path, hour.model) as index:
                opening = perf_counter() - started
                return opening + first_result(index.ask, question)

        ways = {
            "open movie": lambda each=fresh["open movie"]: first_result(hour.ask, next(each)),
            "movie opened for it": ask_anew,
            "library": lambda each=fresh["library"]: first_result(library.ask, next(each)),
        }
        timed[about] = in_turns(ways, min(rounds, len(listed) - 1), patience=300.0)
    return timed


def find_texts(library: Library) -> dict[str, float]:
    """Return the share of questions whose first moment, or one of the first five, is in the right text's movie."""
    first = among_five = count = 0
    for text in read_texts():
        for question, _ in text.questions:
            movies = [span.movie for span in library.ask(question).spans[:5]]
            right = [Path(movie).stem == f"text-{text.name}" for movie in movies]
            first, among_five, count = first + right[0], among_five + any(right), count + 1
    return {"R@1": first / count, "R@5": among_five / count, "n": count}


def time_shell(path: Path, rounds: int) -> float:
    """Return the median seconds of `chunkv2l ask PATH` in a process of its own."""

    def run() -> float:
        started = perf_counter()
        command = [sys.executable, "-m", "chunkv2l", "ask", str(path), "When does a dog run?", "--json"]
        if subprocess.run(command, capture_output=True).returncode:
            raise ChunkV2LError(f"chunkv2l ask {path} failed.")
        return perf_counter() - started

    return in_turns({"": run}, rounds, patience=120.0)[""]


def as_table(seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row for each way of asking."""
    return table.markdown(
        ["first result, seconds", *seconds],
        [[way, *(f"{timed[way]:.3f}" for timed in seconds.values())] for way in WAYS],
    )


@click.command("library")
@click.option(
    "--library",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="As evaluation.movies.many_movies writes it.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True, help="Questions of each sort.")
@click.option("--shell/--no-shell", default=True, show_default=True, help="Time the command line, too.")
@device_option
@json_option
@out_option
def command(folder: Path, rounds: int, shell: bool, device: str, as_json: bool, out: Path) -> None:
    """Cost of a question to a library beside one movie, in turns: time to the first result, memory, right movies.

    \b
    python -m evaluation.movies.many_movies movie.idx shelf --movies 1000
    python -m evaluation library --library shelf

    Writes library.json and .md to --out.
    """
    with Index(folder / HOUR, device=device) as hour:
        for listed in questions().values():
            first_result(hour.ask, listed[0])
        before = peak()
        started = perf_counter()
        with closing(Library(folder, hour.model)) as library:
            opening = perf_counter() - started
            started = perf_counter()
            first_result(library.ask, "When does nothing happen?")
            first = perf_counter() - started
            seconds = time_ways(library, hour, rounds)
            memory = peak() - before
            texts = find_texts(library)
            movies, segments = len(library), sum(movie.segments for movie in library.movies)
    figures: dict[str, Any] = {
        "movies": movies,
        "segments": segments,
        "seconds": seconds,
        "opening_s": opening,
        "first_question_s": first,
        "memory_bytes": memory,
        "texts": texts,
    }
    if shell:
        figures["shell"] = {"movie": time_shell(folder / HOUR, 5), "library": time_shell(folder, 5)}
    results.write("library", figures, as_table(seconds), out=out)
    if as_json:
        terminal.emit_json(figures)
        return
    click.echo(as_table(seconds))
    lines = [
        f"{movies} movies, {segments} segments: opened in {opening:.2f} s, the first question {first:.2f} s more.",
        f"Memory above the model and one movie: {memory / 1e6:.0f} MB at most.",
        f"Questions about the texts: {texts['R@1']:.2f} in the right movie, {texts['R@5']:.2f} among five moments.",
    ]
    if shell:
        lines.append("From a shell: one movie {movie:.1f} s, the library {library:.1f} s.".format(**figures["shell"]))
    terminal.emit(*lines)
