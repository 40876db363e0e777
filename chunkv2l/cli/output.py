"""What the command line shows: answers, tables, progress, JSON. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tqdm import tqdm

    from chunkv2l.answer.answer import Answer
    from chunkv2l.index.file import IndexFile
    from chunkv2l.indexing.progress import BuildReport, Progress

LINE_EVERY = 10.0
"""Seconds between lines of progress where stderr is no terminal."""


def debugging() -> bool:
    """Whether CHUNKV2L_DEBUG asks for tracebacks and warnings."""
    return os.environ.get("CHUNKV2L_DEBUG", "0") not in ("", "0")


def prepare() -> None:
    """Our own log as plain lines on stderr; other libraries' chatter away, unless CHUNKV2L_DEBUG is set.

    A character that a stream can't take becomes "?" instead of an error.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logger = logging.getLogger("chunkv2l")
    if not logger.handlers:
        logger.addHandler(_ToStderr())
    # Idle OpenMP threads spin unless told to sleep: beside another busy program, asking then takes three times longer.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if debugging():
        logger.setLevel(logging.DEBUG)
        return
    warnings.simplefilter("ignore")
    for name, value in {
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    }.items():
        os.environ.setdefault(name, value)


class _ToStderr(logging.Handler):
    """Log lines above a progress bar, should one be there."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)


def show_traceback() -> None:
    """Where the exception at hand came from, on stderr, if CHUNKV2L_DEBUG asks for it."""
    if debugging():
        traceback.print_exc()


def say(text: str) -> None:
    """A line for people, on stderr."""
    click.echo(text, err=True)


def emit(text: str) -> None:
    """A result, on stdout; a reader that has gone away (`| head`) ends the program quietly."""
    try:
        click.echo(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or else the flush at exit complains
        raise click.exceptions.Exit(0) from None


def emit_json(value: Any, indent: int | None = 2) -> None:
    """A result as JSON on stdout; without an indent, one line."""
    ascii_only = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    emit(json.dumps(value, ensure_ascii=ascii_only, indent=indent, allow_nan=False))


def show_answer(answer: Answer, explain: bool = False) -> None:
    """An answer for people: the text and the spans on stdout, with its route if wanted; how it was made on stderr."""
    from chunkv2l.answer.explain import explain_answer
    from chunkv2l.timecode import between

    lines = [answer.answer]
    lines += [f"  {between(span, '', '–'):<19} {100 * span.score:3.0f} %" for span in answer.spans]
    if answer.not_there is not None:
        lines.append(f"  {'not in the video':<19} {100 * answer.not_there:3.0f} %")
    if explain:
        lines += ["", *explain_answer(answer)]
    emit("\n".join(lines))
    timing = answer.timing
    took = f"loaded in {timing.load_s:.1f} s, " if timing.load_s else ""
    took += f"answered in {timing.total_s - timing.load_s:.2f} s"
    say(f"({answer.policy}, {answer.model}, no visual tokens, {took})")


def show_report(report: BuildReport) -> None:
    """What a build did, for people."""
    if report.nothing_to_do:  # a notice has said so
        return
    emit(
        f"{report.index}: {report.segments} segments of {report.movie['name']}, {report.index_bytes / 1e6:.1f} MB, "
        f"in {report.seconds:.1f} s ({report.realtime.get('total', 0.0):.1f} × real time)."
    )


def show_index(file: IndexFile) -> None:
    """An index's segments and what it was made from, for people."""
    from chunkv2l.timecode import clock

    meta = file.meta
    settings = ", ".join(f"{name} {value}" for name, value in meta.settings.items())
    lines = [
        f"{meta.movie['name']}: {clock(meta.movie['duration'])}, {len(file)} segments, model {meta.model}",
        f"settings: {settings}",
    ]
    tenths = meta.movie["duration"] < 3600
    begins = {chapter["first"]: chapter for chapter in _chapters(file)}
    for segment in file.segments:
        if chapter := begins.get(segment.id):
            times = f"{clock(chapter['start'], tenths)} – {clock(chapter['end'], tenths)}"
            lines.append(f"{chapter['group']:>5}  {times:<19} chapter, place {chapter['place']}")
        times = f"{clock(segment.start, tenths)} – {clock(segment.end, tenths)}"
        lines.append(f"{segment.id:5}  {times:<19} {segment.caption}".rstrip())
    emit("\n".join(lines))


def index_json(file: IndexFile) -> dict[str, Any]:
    """An index as `show --json` prints it."""
    meta = file.meta
    return {
        "index": str(file.path),
        "movie": dict(meta.movie),
        "model": meta.model,
        "identity": dict(meta.identity),
        "settings": dict(meta.settings),
        "code_shape": list(meta.code_shape),
        "segments": [
            {"id": s.id, "start": s.start, "end": s.end, "caption": s.caption, "speech": s.speech}
            for s in file.segments
        ],
        "chapters": _chapters(file),
    }


def _chapters(file: IndexFile) -> list[dict[str, Any]]:
    """The chapters, by the names and with the numbers that the segment graph has for them."""
    from chunkv2l.graph import places

    found = file.chapters()
    place = places([(chapter.first, chapter.last) for chapter in found], file.similar())
    return [
        {
            "group": f"g{chapter.id}",
            "first": chapter.first,
            "last": chapter.last,
            "start": file.segments[chapter.first].start,
            "end": file.segments[chapter.last].end,
            "place": number,
        }
        for chapter, number in zip(found, place, strict=True)
    ]


class ProgressBar:
    """A build's progress on stderr: a bar on a terminal, a line now and then elsewhere. Called with each step."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._next = time.monotonic() + LINE_EVERY

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        from chunkv2l.timecode import clock

        left = "" if progress.eta is None else f", {clock(progress.eta)} left, {progress.realtime:.1f} × real time"
        state = (
            f"{clock(progress.done)} of {clock(progress.total)}, {progress.segments} segments{left}, {progress.stage}"
        )
        if sys.stderr.isatty():
            self._draw(progress, state)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY
            say(state)

    def _draw(self, progress: Progress, state: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=1.0, bar_format="{percentage:3.0f} %|{bar:20}| {desc}", file=sys.stderr, leave=False)
        self._bar.n = min(1.0, progress.done / progress.total) if progress.total else 0.0
        self._bar.set_description_str(state)


def questions() -> Iterator[str]:
    """Questions from the terminal, with a prompt, or from a pipe, line by line; blank lines are skipped."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with suppress(ImportError):
        import readline  # noqa: F401  (line editing and history in input())
    say("Ask about the movie, one question a line; Ctrl+D ends.")
    while True:
        try:
            line = input("> ") if sys.stdout.isatty() else _read("> ")
        except EOFError:
            say("")
            return
        if line.strip():
            yield line.strip()


def _read(prompt: str) -> str:
    click.echo(prompt, nl=False, err=True)
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line
