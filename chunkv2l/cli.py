"""The command line: parse, call, print. Heavy modules are imported inside the commands, so that --help is instant.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted (Ctrl+C).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import click

from chunkv2l import __version__, terminal
from chunkv2l.errors import ChunkV2LError, InputError

# BuildSettings' defaults, spelt out because importing them takes a second; a test compares them.
DEFAULTS: dict[str, Any] = {
    "detector": "content",
    "min_length": 1.0,
    "max_length": 16.0,
    "reader": "auto",
    "captions": True,
    "codes": "fp16",
}
BUILT_IN_POLICIES = ("route", "concat", "mean", "fts", "timeline")
F = TypeVar("F", bound=Callable[..., Any])


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The program: runs a command and exits with its code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; whatever goes wrong becomes a sentence on stderr and an exit code."""
    terminal.prepare()
    try:
        result = cli.main(arguments, prog_name="chunkv2l", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        terminal.say("Interrupted.")
        return 130
    except ChunkV2LError as error:
        if terminal.debugging():
            raise
        terminal.say(f"Error: {error}")
        return error.exit_code
    except Exception as error:
        if terminal.debugging():
            raise
        terminal.say(
            f"Error: {type(error).__name__}: {error}\n"
            "This is a fault of chunkv2l; CHUNKV2L_DEBUG=1 before the command shows where."
        )
        return 1
    return result if isinstance(result, int) else 0


def examples(*lines: str) -> str:
    """A command's epilog: examples as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Budget(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A number of segments, or "all"."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or (isinstance(value, int) and value > 0):
            return value
        if isinstance(value, str) and value.isdecimal() and int(value) > 0:
            return int(value)
        self.fail(f'"{value}" is neither a number of segments from 1 on nor "all".', param, ctx)


def _complete_policy(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    names = [CompletionItem(name) for name in BUILT_IN_POLICIES if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def model_options(command: F) -> F:
    """Which model, and where it runs."""
    for option in (
        click.option(
            "--device",
            default="auto",
            show_default=True,
            metavar="DEVICE",
            help="Where the model runs: auto, cpu, cuda, mps.",
        ),
        click.option("--hypernet", metavar="FILE", help="A hypernetwork other than the model's default."),
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
index_argument = click.argument("index", type=click.Path())


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "chunkv2l build movie.mp4",
        'chunkv2l ask movie.idx "When does a dog catch the ball?"',
        'chunkv2l ask movie.idx "What is on the table?" --json',
        "chunkv2l show movie.idx",
    )
    + "\n\nExit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. CHUNKV2L_DEBUG=1 shows tracebacks.",
)
@click.version_option(__version__, "-V", "--version", prog_name="chunkv2l")
def cli() -> None:
    """Build an index of a long video once, then question it with zero visual tokens."""


@cli.command(
    epilog=examples(
        "chunkv2l build movie.mp4                          # makes movie.idx beside it",
        "chunkv2l build movie.mp4 -o out.idx --no-captions",
        "chunkv2l build movie.mp4 --detector fixed:8 --codes int8",
        "chunkv2l build movie.mp4 --model smolvlm2-500m --device cuda",
    )
)
@click.argument("movie", type=click.Path())
@click.option(
    "-o", "--output", metavar="INDEX", type=click.Path(), help="The index to write.  [default: MOVIE with .idx]"
)
@click.option("--model", default="mini", show_default=True, help="The frozen model; see chunkv2l models.")
@model_options
@click.option(
    "--detector",
    default=DEFAULTS["detector"],
    show_default=True,
    help="What finds the cuts: adaptive, content, hash, histogram, threshold or fixed:SECONDS.",
)
@click.option(
    "--min-length",
    default=DEFAULTS["min_length"],
    show_default=True,
    metavar="SECONDS",
    help="Shorter segments are merged.",
)
@click.option(
    "--max-length",
    default=DEFAULTS["max_length"],
    show_default=True,
    metavar="SECONDS",
    help="Longer segments are split.",
)
@click.option(
    "--reader",
    type=click.Choice(["auto", "pyav", "decord"]),
    default=DEFAULTS["reader"],
    show_default=True,
    help="What decodes.",
)
@click.option(
    "--codes",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default=DEFAULTS["codes"],
    show_default=True,
    help="How codes are stored.",
)
@click.option(
    "--captions/--no-captions",
    default=DEFAULTS["captions"],
    help="Whether each segment gets a caption (for finding and showing).",
)
@click.option("--force", is_flag=True, help="Build anew even if the index is there.")
@json_option
def build(
    movie: str,
    output: str | None,
    model: str,
    hypernet: str | None,
    device: str,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Build the index of MOVIE.

    A build that was interrupted goes on where it stopped when the same command is run again. If the index is there and
    the movie and the settings haven't changed, there is nothing to do.
    """
    from chunkv2l.build import build as build_index

    try:
        with terminal.ProgressBar() as progress:
            report = build_index(
                movie, output, model=model, hypernet=hypernet, device=device, force=force, progress=progress, **settings
            )
    except KeyboardInterrupt:
        terminal.say("Interrupted; what is stored stays: run the same command to go on.")
        raise click.exceptions.Exit(130) from None
    if as_json:
        terminal.emit_json(report.to_json())
    else:
        terminal.show_report(report)


@cli.command(
    epilog=examples(
        'chunkv2l ask movie.idx "When does a dog catch the ball?"',
        'chunkv2l ask movie.idx "What is the man holding?" --json',
        'chunkv2l ask movie.idx "What is on the table?" --policy mine.py:policy --top-k 2',
        "chunkv2l ask movie.idx                            # asks for questions, model loaded once",
        "chunkv2l ask movie.idx --json < questions.txt     # a line of JSON for each question",
    )
)
@index_argument
@click.argument("question", required=False)
@click.option(
    "--policy",
    metavar="NAME|FILE.py:FUNCTION",
    shell_complete=_complete_policy,
    help=f"What is composed: {', '.join(BUILT_IN_POLICIES)}, or a function of your own.  [default: by the question]",
)
@click.option(
    "--top-k", type=click.IntRange(min=1), metavar="K", help="How many segments are composed.  [default: the policy's]"
)
@click.option("--budget", type=Budget(), default=48, show_default=True, help="How many segments may be scored exactly.")
@click.option("--model", metavar="MODEL", help="The model that built the index, if its name doesn't find it here.")
@model_options
@json_option
@click.pass_context
def ask(
    ctx: click.Context,
    index: str,
    question: str | None,
    policy: str | None,
    top_k: int | None,
    budget: Any,
    model: str | None,
    hypernet: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Ask INDEX a question.

    "When …", "Show me …" and plain statements ("A dog catches the ball") are answered with moments, best first;
    anything else with text, and the moments that it came from. Without QUESTION, questions are read line by line from
    the terminal or a pipe.
    """
    from chunkv2l.ask import open_index

    options: dict[str, Any] = {"policy": policy, "top_k": top_k, "budget": budget}
    with open_index(index, model, hypernet=hypernet, device=device) as opened:
        if question is not None:
            answer = opened.ask(question, **options)
            if as_json:
                terminal.emit_json(answer.to_json())
            else:
                terminal.show_answer(answer)
            return
        failed = False
        for line in _with_model(opened):
            try:
                answer = opened.ask(line, **options)
            except InputError as error:
                terminal.say(f"Error: {error}")
                failed = True
                continue
            if as_json:
                terminal.emit_json(answer.to_json(), indent=None)
            else:
                terminal.show_answer(answer)
    ctx.exit(2 if failed and not sys.stdin.isatty() else 0)


def _with_model(opened: Any) -> Any:
    """Questions from the terminal, once the model is there."""
    terminal.say(f"Loading {opened.file.meta.model} …")
    _ = opened.model
    return terminal.questions()


@cli.command(epilog=examples("chunkv2l show movie.idx", "chunkv2l show movie.idx --json | jq '.segments[].caption'"))
@index_argument
@json_option
def show(index: str, as_json: bool) -> None:
    """Show the segments of INDEX, their captions, and what it was made from."""
    from chunkv2l.index import IndexFile

    with IndexFile(index) as file:
        if as_json:
            terminal.emit_json(terminal.index_json(file))
        else:
            terminal.show_index(file)


@cli.command(epilog=examples("chunkv2l verify movie.idx", "chunkv2l verify movie.idx --json"))
@index_argument
@json_option
@click.pass_context
def verify(ctx: click.Context, index: str, as_json: bool) -> None:
    """Read INDEX through and say what is damaged in it: structure, codes, pictures, search.

    Needs neither the movie nor the model. Exit code 2 if anything is wrong.
    """
    from chunkv2l.verify import verify as read_through

    findings = read_through(index)
    if as_json:
        terminal.emit_json({"index": index, "ok": not findings, "findings": findings})
    else:
        for finding in findings:
            terminal.say(f"Error: {finding}")
        if not findings:
            terminal.emit(f"{index} is sound.")
    ctx.exit(2 if findings else 0)


@cli.command(
    epilog=examples(
        'eval "$(chunkv2l completion bash)"                # in ~/.bashrc',
        'eval "$(chunkv2l completion zsh)"                 # in ~/.zshrc',
        "chunkv2l completion fish > ~/.config/fish/completions/chunkv2l.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete chunkv2l's commands and options."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click.Choice has seen to that
    terminal.emit(kind(cli, {}, "chunkv2l", "_CHUNKV2L_COMPLETE").source())
