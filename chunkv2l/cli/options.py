"""Options and epilogs that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from chunkv2l import defaults
from chunkv2l.sanitize import shorten

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command that refuses empty names of files, models and so on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        remaining = super().parse_args(ctx, args)
        for parameter in self.params:
            is_empty = parameter.name is not None and ctx.params.get(parameter.name) == ""
            if is_empty and parameter.name != "question" and not ctx.resilient_parsing:
                raise click.BadParameter("it is empty: give a value, or leave it out.", ctx, parameter)
        return remaining


class Group(click.Group):
    """Commands that refuse empty names."""

    command_class = Command


def examples(*lines: str) -> str:
    """Return a command's epilog: examples as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class BudgetType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A number of segments, or "all"."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("all", defaults.AUTO_BUDGET) or (isinstance(value, int) and value > 0):
            return value
        if isinstance(value, str) and value.isdecimal() and len(value) <= 18 and int(value) > 0:
            return int(value)
        self.fail(f'"{shorten(str(value))}" is neither a number of segments from 1 on nor "all".', param, ctx)


def completes(names: Callable[[], Iterable[str]], otherwise: str = "plain") -> Callable[..., list[Any]]:
    """Return a `shell_complete` that offers these names.

    Args:
        otherwise: what is offered where no name fits: "file", "dir" or "plain".
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        items = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return items or [CompletionItem(incomplete, type=otherwise)]

    return complete


complete_policy = completes(lambda: defaults.POLICIES, "file")
complete_model = completes(lambda: defaults.MODELS, "dir")


def model_options(command: F) -> F:
    """Add the options for the hypernetwork and the device."""
    for option in (
        click.option(
            "--device",
            default=defaults.DEVICE,
            show_default=True,
            metavar="DEVICE",
            help="Where the model runs: auto, cpu, cuda, mps.",
        ),
        click.option("--hypernet", metavar="FILE", help="A hypernetwork other than the model's default."),
    ):
        command = option(command)
    return command


def output_options(command: F) -> F:
    """Add the options for files that `ask` writes beside its answer: the fields of `artifacts.Outputs`."""
    for option in (
        click.option("--reencode", is_flag=True, help="Encode the clip anew: exact borders, but it takes longer."),
        click.option(
            "--movie",
            metavar="FILE",
            type=click.Path(),
            help='Where the movie is [default: beside INDEX]; of a folder: only movies of such a name, as "2026-*".',
        ),
        click.option(
            "--clip",
            metavar="FILE.mp4",
            type=click.Path(),
            help="Cut the best moment out of the movie, from the key frame before it on.",
        ),
        click.option(
            "--plot",
            metavar="FILE.png",
            type=click.Path(),
            help="Draw the timeline: what every segment scored, and the best moments' pictures (.png or .svg).",
        ),
    ):
        command = option(command)
    return command


def speech_options(command: F) -> F:
    """Add the options that say how speech and text on the screen are recognised."""
    for option in (
        click.option(
            "--screen-text",
            type=click.Choice(("auto", "on", "off")),
            default=defaults.SCREEN_TEXT,
            show_default=True,
            help="Whether text on the screen is read: auto where chunkv2l[screen] is installed.",
        ),
        click.option(
            "--audio-track",
            type=click.IntRange(min=0),
            metavar="N",
            help="Which audio stream to listen to, where there are several.  [default: the one that players play]",
        ),
        click.option(
            "--speech",
            default=defaults.SPEECH,
            show_default=True,
            metavar="auto|off|NAME",
            shell_complete=completes(lambda: ("auto", "off", *defaults.RECOGNISERS), "dir"),
            help="What recognises speech: auto (base, where chunkv2l[speech] is installed and there are no subtitles), "
            f"off, {', '.join(defaults.RECOGNISERS)}, or a name or folder that faster-whisper knows.",
        ),
    ):
        command = option(command)
    return command


budget_option = click.option(
    "--budget",
    type=BudgetType(),
    metavar="N|all",
    default=defaults.AUTO_BUDGET,
    help="How many segments may be scored; under the policy select, how many of the best.  "
    f"[default: {defaults.BUDGET}; under select none]",
)
explain_option = click.option(
    "--explain", is_flag=True, help="Print how it was found, too: candidates, scores, weights, time by step."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
index_argument = click.argument("index", type=click.Path())
