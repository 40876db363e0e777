"""Commands that add what is said and what is written to an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chunkv2l import defaults
from chunkv2l.cli import streams
from chunkv2l.cli.options import Command, completes, examples, index_argument, json_option
from chunkv2l.cli.output import ProgressBar, show_extended

if TYPE_CHECKING:
    from chunkv2l.indexing.settings import BuildSettings

movie_option = click.option(
    "--movie", metavar="FILE", type=click.Path(), help="Where the movie is.  [default: beside INDEX]"
)


@click.command(
    cls=Command,
    short_help="Add what is said to an index.",
    epilog=examples(
        "chunkv2l listen movie.idx",
        "chunkv2l listen movie.idx --speech tiny.en        # twice as fast, English only",
        "chunkv2l listen movie.idx --movie /films/movie.mkv --audio-track 2",
    ),
)
@index_argument
@movie_option
@click.option(
    "--speech",
    default=defaults.RECOGNISER,
    show_default=True,
    metavar="NAME",
    shell_complete=completes(lambda: defaults.RECOGNISERS, "dir"),
    help=f"What recognises speech: {', '.join(defaults.RECOGNISERS)}, or a name or folder that faster-whisper knows.",
)
@click.option("--audio-track", type=click.IntRange(min=0), metavar="N", help="Which audio stream to listen to.")
@click.option("--force", is_flag=True, help="Listen anew, even if it has been done.")
@json_option
def listen(index: str, movie: str | None, speech: str, audio_track: int | None, force: bool, as_json: bool) -> None:
    """Add what is said in the movie to INDEX, so that questions find it.

    What was interrupted goes on where it stopped when the same command is run again.
    """
    from chunkv2l.indexing.settings import BuildSettings

    if speech in ("auto", "off"):
        raise click.UsageError(f"--speech names a recogniser here, such as {defaults.RECOGNISER}.")
    _extend(index, movie, BuildSettings(speech=speech, screen_text="off", audio_track=audio_track), force, as_json)


@click.command(
    cls=Command,
    short_help="Add text on the screen to an index.",
    epilog=examples("chunkv2l read movie.idx", "chunkv2l read movie.idx --movie /films/movie.mkv"),
)
@index_argument
@movie_option
@click.option("--force", is_flag=True, help="Read anew, even if it has been done.")
@json_option
def read(index: str, movie: str | None, force: bool, as_json: bool) -> None:
    """Add what is written on the screen to INDEX, so that questions find it: slides, titles, signs.

    What was interrupted goes on where it stopped when the same command is run again.
    """
    from chunkv2l.indexing.settings import BuildSettings

    _extend(index, movie, BuildSettings(speech="off", screen_text="on"), force, as_json)


def _extend(index: str, movie: str | None, settings: BuildSettings, force: bool, as_json: bool) -> None:
    """Find the movie, add its channels to the index, and say what was done."""
    from chunkv2l.index.file import IndexFile
    from chunkv2l.index.movie_file import find_movie
    from chunkv2l.indexing.channels import add_channels

    with IndexFile(index) as opened:
        path = find_movie(opened, movie)
    try:
        with ProgressBar() as progress:
            report = add_channels(index, path, settings, force=force, progress=progress)
    except KeyboardInterrupt:
        streams.say("Interrupted; what is stored stays: run the same command to go on.")
        raise click.exceptions.Exit(130) from None
    if as_json:
        streams.emit_json(report.to_json())
    else:
        show_extended(report)


CHANNEL_TOOLS: tuple[click.Command, ...] = (listen, read)
