"""Ask and show a folder of indexes, on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chunkv2l.cli import streams
from chunkv2l.errors import InputError
from chunkv2l.sanitize import plural

if TYPE_CHECKING:
    from chunkv2l.library.choice import Filter
    from chunkv2l.library.library import Library

F = TypeVar("F", bound=Callable[..., Any])

FILTERS = ("since", "until", "longer", "shorter")
"""Options of `filter_options`; `--movie` is the files', too."""


class DayType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A day, as 2026-05-31."""

    name = "DATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, date) else date.fromisoformat(str(value))
        except ValueError:
            return self.fail(f"{value!r} is no day: write it like 2026-05-31.", param, ctx)


class LengthType(click.ParamType):  # type: ignore[type-arg]  # likewise
    """A length: 90 (seconds), 1:30 or 1:02:03."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        if not re.fullmatch(r"[0-9]{1,9}(:[0-5]?[0-9]){0,2}(\.[0-9]{1,3})?", str(value)):
            return self.fail(f"{value!r} is no length: write it in seconds, or like 1:30 or 1:02:03.", param, ctx)
        seconds = 0.0
        for part in str(value).split(":"):
            seconds = 60 * seconds + float(part)
        return seconds


recursive_option = click.option("-r", "--recursive", is_flag=True, help="Of a folder: with the folders in it.")


def filter_options(command: F) -> F:
    """Add the options that restrict a question to a part of a folder's movies."""
    for option in (
        click.option("--shorter", type=LengthType(), help="Of a folder: only movies that last at most so long."),
        click.option("--longer", type=LengthType(), help="Of a folder: only movies that last at least so long."),
        click.option("--until", type=DayType(), help="Of a folder: only movies changed on that day or before."),
        click.option(
            "--since", type=DayType(), help="Of a folder: only movies changed on that day (2026-05-31) or later."
        ),
        recursive_option,
    ):
        command = option(command)
    return command


def make_filter(movie: str | None, options: dict[str, Any]) -> Filter:
    """Return the filter of a command line.

    Args:
        options: those of `filter_options` by name, None where they aren't given.
    """
    from chunkv2l.library.choice import Filter

    given = {name: options[name] for name in FILTERS if options.get(name) is not None}
    return Filter(movie=movie or "", **given)


def check_single(options: dict[str, Any]) -> None:
    """Raise InputError if options of a folder are given for a single index."""
    names = [f"--{name}" for name in ("recursive", *FILTERS) if options.get(name)]
    if names:
        raise InputError(f"{' and '.join(names)} choose among a folder's movies: name a folder instead of an index.")


def show_library(library: Library, as_json: bool) -> None:
    """Show the movies of a library, one a line."""
    from chunkv2l.timecode import clock

    if as_json:
        streams.emit_json(library.to_json())
        return
    movies = library.movies
    seconds, segments = sum(movie.seconds for movie in movies), sum(movie.segments for movie in movies)
    lines = [
        f"{plural(len(movies), 'movie')}, {clock(seconds)}, {plural(segments, 'segment')}, model {movies[0].model}"
    ]
    lines += [
        f"{clock(movie.seconds):>9}  {movie.segments:>6}  {library.day(movie)}  {movie.name}  ({movie.index})"
        for movie in movies
    ]
    streams.emit(*lines)
    for note in library.notes:
        streams.say(f"Note: {note}")
