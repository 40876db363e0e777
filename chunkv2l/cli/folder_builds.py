"""Build folders of movies on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chunkv2l.cli import streams
from chunkv2l.cli.library import recursive_option
from chunkv2l.cli.output import ProgressBar
from chunkv2l.errors import InputError
from chunkv2l.sanitize import shorten

if TYPE_CHECKING:
    from chunkv2l.library.builds import FolderProgress, FolderReport, Outcome
    from chunkv2l.models import ModelSpec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class FolderOptions:
    """The command line's options for folders."""

    recursive: bool
    jobs: int
    keep_going: bool
    watch: bool


def folder_options(command: F) -> F:
    """Add the options of `FolderOptions`."""
    for option in (
        click.option("--watch", is_flag=True, help="Of a folder: go on with new movies, once they are whole."),
        click.option("--keep-going", is_flag=True, help="Of several movies: build the others if one fails."),
        click.option(
            "--jobs",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            metavar="N",
            help="Of several movies: how many are worked on at once, with one model.",
        ),
        recursive_option,
    ):
        command = option(command)
    return command


def check_no_folder(options: FolderOptions) -> None:
    """Raise InputError if options of folders are given for one movie."""
    if options.recursive or options.jobs > 1 or options.keep_going:
        raise InputError("-r, --jobs and --keep-going are for folders, or for several movies: name one.")


def build_folders(
    paths: Sequence[str], options: FolderOptions, model: ModelSpec, settings: Mapping[str, Any], as_json: bool
) -> int:
    """Build the movies of folders, and return the exit code: 1 if any failed."""
    from chunkv2l.indexing.build import load_for_builds
    from chunkv2l.library.builds import FolderBuild

    try:
        with ProgressBar() as bar:
            folders = FolderBuild(
                [Path(path) for path in paths],
                lambda: load_for_builds(str(model.name), model.hypernet, model.device),
                settings,
                options.recursive,
                options.jobs,
                options.keep_going,
                lambda progress: _show_progress(bar, progress),
                None if as_json else _show_outcome,
            )
            if options.watch:
                for report in folders.watch():
                    _show_report(report, as_json)
            report = folders.run()
    except KeyboardInterrupt:
        streams.say("Interrupted; what is stored stays: run the same command to go on.")
        return 130
    _show_report(report, as_json)
    return 1 if report.failures else 0


def _show_progress(bar: ProgressBar, progress: FolderProgress) -> None:
    from chunkv2l.timecode import clock

    left = "" if progress.eta is None else f", all in {clock(progress.eta)}"
    bar.show(
        progress.progress,
        f"{progress.number} of {progress.total}, {shorten(progress.movie.name, 40)}{left}: ",
        progress.share,
    )


def _show_outcome(outcome: Outcome) -> None:
    if outcome.state in ("built", "moved", "same"):
        streams.emit(outcome.text)
    elif outcome.state == "failed":
        streams.say(f"Error: {outcome.text}")


def _show_report(report: FolderReport, as_json: bool) -> None:
    if as_json:
        streams.emit_json(report.to_json())
    else:
        summary, *failures = report.describe()
        streams.emit(summary, *(f"  {failure}" for failure in failures))
        for note in report.notes:
            streams.say(f"Note: {note}")
        if sys.stdout is not None:
            sys.stdout.flush()
