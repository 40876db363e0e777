"""The command line: parse, call, print. Heavy modules are imported inside the commands, so that --help is instant.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted (Ctrl+C).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import chunkv2l
from chunkv2l import defaults
from chunkv2l.cli import streams
from chunkv2l.cli.channels import CHANNEL_TOOLS
from chunkv2l.cli.folder_builds import FolderOptions, build_folders, check_no_folder, folder_options
from chunkv2l.cli.library import check_single, filter_options, make_filter
from chunkv2l.cli.options import (
    Group,
    budget_option,
    complete_model,
    complete_policy,
    completes,
    examples,
    explain_option,
    index_argument,
    json_option,
    model_options,
    output_options,
    speech_options,
)
from chunkv2l.cli.output import ProgressBar, show_answer, show_report
from chunkv2l.cli.serving import SERVING
from chunkv2l.cli.tools import TOOLS
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.sanitize import escape_line, shorten

if TYPE_CHECKING:
    from chunkv2l.answer.answer import Answer
    from chunkv2l.ask import Index
    from chunkv2l.library.library import Library


FAULT: Final = "This is a fault of chunkv2l; CHUNKV2L_DEBUG=1 before the command shows where."
MAX_MESSAGE: Final = 400
"""Characters of a usage error, which quotes what was typed."""
_CANT_WRITE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF) if os.name == "posix" else (errno.ENOSPC,)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; whatever goes wrong becomes a sentence on stderr and an exit code.

    Returns:
        The exit code.
    """
    try:
        streams.prepare()
        code = _run(arguments)
        streams.flush()
    except click.exceptions.Exit as ended:  # the reader of stdout has gone
        return ended.exit_code
    except ChunkV2LError as error:
        streams.say(f"Error: {error}")
        return error.exit_code
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(arguments, prog_name="chunkv2l", standalone_mode=False)
    except click.ClickException as error:
        if isinstance(error, click.UsageError):
            error = click.UsageError(escape_line(shorten(error.format_message(), MAX_MESSAGE)), error.ctx)
        with suppress(OSError):  # stderr is full
            error.show()
        return error.exit_code
    except click.Abort:
        streams.say("Interrupted.")
        return 130
    except ChunkV2LError as error:
        streams.show_traceback()
        streams.say(f"Error: {error}")
        return error.exit_code
    except OSError as error:
        streams.show_traceback()
        if error.filename is None and error.errno in _CANT_WRITE:  # --help, which click prints
            raise ChunkV2LError(f"The result can't be written to standard output ({error.strerror}).") from error
        streams.say(f"Error: {error}", FAULT)
        return 1
    except Exception as error:
        streams.show_traceback()
        streams.say(f"Error: {type(error).__name__}: {error}", FAULT)
        return 1
    return result if isinstance(result, int) else 0


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "chunkv2l build movie.mp4",
        'chunkv2l ask movie.idx "When does a dog catch the ball?"',
        'chunkv2l ask movie.idx "What is on the table?" --json',
        "chunkv2l show movie.idx",
    )
    + "\n\nExit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. CHUNKV2L_DEBUG=1 shows tracebacks.",
)
@click.version_option(chunkv2l.__version__, "-V", "--version", prog_name="chunkv2l")
def cli() -> None:
    """Build an index of a long video once, then question it with zero visual tokens."""


@cli.command(
    short_help="Build indexes of movies.",
    epilog=examples(
        "chunkv2l build movie.mp4                          # makes movie.idx beside it",
        "chunkv2l build movie.mp4 -o out.idx --no-captions",
        "chunkv2l build movie.mp4 --detector fixed:8 --codes fp16",
        "chunkv2l build movie.mp4 --subtitles movie.en.srt",
        "chunkv2l build movie.mp4 --model smolvlm2-500m --device cuda",
        "chunkv2l build movies -r --keep-going             # what is missing or stale in a folder",
        "chunkv2l build movies --watch                     # and what is put into it later",
    ),
)
@click.argument("movies", metavar="MOVIE…", nargs=-1, required=True, type=click.Path())
@folder_options
@click.option(
    "-o", "--output", metavar="INDEX", type=click.Path(), help="The index to write.  [default: MOVIE with .idx]"
)
@click.option(
    "--model",
    default=defaults.MODEL,
    show_default=True,
    shell_complete=complete_model,
    help="The frozen model; see chunkv2l models.",
)
@model_options
@click.option(
    "--detector",
    default=defaults.DETECTOR,
    show_default=True,
    shell_complete=completes(lambda: (*defaults.DETECTORS, "fixed:"), "file"),
    help=f"What finds the cuts: {', '.join(defaults.DETECTORS)}, fixed:SECONDS, or a class of your own, FILE.py:CLASS.",
)
@click.option(
    "--min-length",
    type=float,
    metavar="SECONDS",
    default=defaults.MIN_LENGTH,
    show_default=f"{defaults.MIN_LENGTH:g}",
    help="Shorter segments are merged.",
)
@click.option(
    "--max-length",
    type=float,
    metavar="SECONDS",
    default=defaults.MAX_LENGTH,
    show_default=f"{defaults.MAX_LENGTH:g}",
    help="Longer segments are split.",
)
@click.option(
    "--reader",
    type=click.Choice(defaults.READERS),
    default=defaults.READER,
    show_default=True,
    help="What decodes.",
)
@click.option(
    "--stream",
    type=click.IntRange(min=0),
    metavar="N",
    help="Which video stream to read, where there are several.  [default: the one that players show]",
)
@click.option(
    "--codes",
    type=click.Choice(defaults.CODE_FORMATS),
    default=defaults.CODES,
    show_default=True,
    help="How codes are stored.",
)
@click.option(
    "--captions/--no-captions",
    default=defaults.CAPTIONS,
    show_default=True,
    help="Whether each segment gets a caption, for finding and showing.",
)
@click.option(
    "--subtitles",
    metavar="FILE",
    type=click.Path(),
    help="A .srt or .vtt to find what is said; it never enters a prompt.  [default: one beside MOVIE, as movie.en.srt]",
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="Encoding of the subtitle file, such as cp1251 or gb18030.  [default: as its content says]",
)
@click.option("--no-subtitles", is_flag=True, help="Take none, not even the one beside MOVIE.")
@speech_options
@click.option("--force", is_flag=True, help="Build anew even if the index is there.")
@json_option
def build(
    movies: tuple[str, ...],
    output: str | None,
    model: str,
    hypernet: str | None,
    device: str,
    subtitles: str | None,
    no_subtitles: bool,
    force: bool,
    as_json: bool,
    recursive: bool,
    jobs: int,
    keep_going: bool,
    watch: bool,
    **settings: Any,
) -> None:
    """Build the index of MOVIE, or those of several, or of the movies in folders.

    A build that was interrupted goes on where it stopped when the same command is run again. If the index is there and
    the movie and the settings haven't changed, there is nothing to do. Of folders, what is missing or stale is built,
    smallest first; a movie that was moved or renamed keeps its index. Exit code 1 if any of several fails.
    """
    from chunkv2l.indexing.build import build as build_index
    from chunkv2l.video.detectors import load_detector

    if no_subtitles and subtitles is not None:
        raise click.UsageError("--subtitles and --no-subtitles contradict each other: leave one out.")
    settings["subtitles"] = None if no_subtitles else subtitles or "auto"
    if watch or len(movies) > 1 or os.path.isdir(movies[0]):
        from chunkv2l.models import ModelSpec

        if output is not None or subtitles is not None:
            raise InputError("-o and --subtitles name one movie's files: build that movie by itself.")
        options = FolderOptions(recursive, jobs, keep_going, watch)
        spec = ModelSpec(model, hypernet, device)
        raise click.exceptions.Exit(build_folders(movies, options, spec, {**settings, "force": force}, as_json))
    check_no_folder(FolderOptions(recursive, jobs, keep_going, watch))
    (movie,) = movies
    settings["detector"] = load_detector(settings["detector"])
    try:
        with ProgressBar() as progress:
            report = build_index(
                movie, output, model=model, hypernet=hypernet, device=device, force=force, progress=progress, **settings
            )
    except KeyboardInterrupt:
        same = "the same command without --force" if force else "the same command"
        streams.say(f"Interrupted; what is stored stays: run {same} to go on.")
        raise click.exceptions.Exit(130) from None
    if as_json:
        streams.emit_json(report.to_json())
    else:
        show_report(report)


@cli.command(
    short_help="Ask an index, or a folder of them, a question.",
    epilog=examples(
        'chunkv2l ask movie.idx "When does a dog catch the ball?"',
        'chunkv2l ask movie.idx "What is the man holding?" --json',
        'chunkv2l ask movie.idx "What is on the table?" --policy mine.py:policy --top-k 2',
        'chunkv2l ask movie.idx "When does a dog catch the ball?" --plot ball.png --clip ball.mp4',
        'chunkv2l ask movie.idx "What happens after a dog catches the ball?" --explain',
        "chunkv2l ask movie.idx                            # asks for questions, model loaded once",
        "chunkv2l ask movie.idx --json < questions.txt     # a line of JSON for each question",
        'chunkv2l ask movies -r "When does a dog swim?"     # a folder of indexes: one answer over all',
        'chunkv2l ask movies "Where is the keynote?" --movie "2026-*" --longer 10:00',
    ),
    context_settings={"allow_extra_args": True},
)
@index_argument
@click.argument("question", required=False)
@click.option(
    "--policy",
    metavar="NAME|FILE.py:FUNCTION",
    shell_complete=complete_policy,
    help=f"What is composed: {', '.join(defaults.POLICIES)}, or a function of your own.  [default: by the question]",
)
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="How many segments are composed.  [default: the policy's]"
)
@budget_option
@click.option(
    "--model",
    metavar="MODEL",
    shell_complete=complete_model,
    help="The model that built the index, if its name doesn't find it here.",
)
@model_options
@output_options
@filter_options
@explain_option
@json_option
@click.pass_context
def ask(
    ctx: click.Context,
    /,
    index: str,
    question: str | None,
    policy: str | None,
    top_k: int | None,
    budget: Any,
    model: str | None,
    hypernet: str | None,
    device: str,
    explain: bool,
    as_json: bool,
    **others: Any,
) -> None:
    """Ask INDEX a question, or all indexes in a folder.

    "When …", "Show me …" and plain statements ("A dog catches the ball") are answered with moments, best first; "How
    many times …" with a number and the moments; anything else with text, and the moments that it came from. Order in
    time is understood: "What happens after …", "the first time that …", "in the last ten minutes". Without QUESTION,
    questions are read line by line from the terminal or a pipe.
    """
    from chunkv2l.ask import open_index
    from chunkv2l.cli.artifacts import OUTPUTS, Outputs

    if ctx.args:
        import shlex

        words = " ".join((question or "", *ctx.args))
        raise click.UsageError(f"Put the question into quotes: chunkv2l ask {index} {shlex.quote(shorten(words))}")
    if question is not None and not os.path.exists(index) and os.path.isfile(question):
        import shlex

        raise InputError(f"The index comes first: chunkv2l ask {question} {shlex.quote(shorten(index))}")

    outputs = Outputs(**{name: others[name] for name in OUTPUTS})
    options: dict[str, Any] = {"policy": policy, "top_k": top_k, "budget": budget}
    if os.path.isdir(index):
        from chunkv2l.library.library import Library

        outputs.check_folder()
        options["only"] = make_filter(outputs.movie, others)
        with Library(index, model, recursive=others["recursive"], hypernet=hypernet, device=device) as library:
            if question is None:
                ctx.exit(_ask_lines(library, options, explain, as_json))
            _show_or_emit(library.ask(question, **options), explain, as_json)
        return
    check_single(others)
    with open_index(index, model, hypernet=hypernet, device=device) as opened:
        outputs.check(opened, question)
        if question is None:
            ctx.exit(_ask_lines(opened, options, explain, as_json))
        if sys.stderr is not None and sys.stderr.isatty():
            streams.say(f"Loading {opened.file.meta.model} …")
        answer = opened.ask(question, **options)
        _show_or_emit(answer, explain, as_json)
        outputs.write(opened, answer, streams.say)


def _show_or_emit(answer: Answer, explain: bool, as_json: bool) -> None:
    if as_json:
        streams.emit_json(answer.to_json(explain))
    else:
        show_answer(answer, explain)


def _ask_lines(index: Index | Library, options: Mapping[str, Any], explain: bool, as_json: bool) -> int:
    """Ask the questions that stdin has, one a line; a bad one doesn't stop the others.

    Args:
        as_json: print a line of JSON for each question; of one that can't be answered, the question and the error.

    Returns:
        The exit code: 0 on a terminal, or where all were answered; else that of the first error.
    """
    streams.say(f"Loading {index.model_name} …")
    _ = index.model
    code = 0
    for question in streams.read_questions():
        try:
            answer = index.ask(question, **options)
        except ChunkV2LError as error:
            streams.show_traceback()
            streams.say(f"Error: {error}")
            code = code or error.exit_code
            if as_json:
                streams.emit_json({"question": question, "error": str(error)}, indent=None)
            continue
        if as_json:
            streams.emit_json(answer.to_json(explain), indent=None)
        else:
            show_answer(answer, explain)
    return 0 if sys.stdin is not None and sys.stdin.isatty() else code


@cli.command(
    short_help="Print a shell's completion script.",
    epilog=examples(
        'eval "$(chunkv2l completion bash)"                # in ~/.bashrc',
        'eval "$(chunkv2l completion zsh)"                 # in ~/.zshrc',
        "chunkv2l completion fish > ~/.config/fish/completions/chunkv2l.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete chunkv2l's commands and options."""
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None  # click.Choice allows no other shell
    streams.emit(*completion_class(cli, {}, "chunkv2l", "_CHUNKV2L_COMPLETE").source().splitlines())


for _tool in (*TOOLS, *CHANNEL_TOOLS, *SERVING):
    cli.add_command(_tool)
