"""The command line's standard streams: results go to stdout, everything else to stderr, questions come from stdin.

Any of the three may be closed, full, or a pipe whose other end has gone.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, TextIO

import click

from chunkv2l.errors import ChunkV2LError
from chunkv2l.sanitize import escape_invisible, escape_line, strip_invisible

MAX_LINE: Final = 1 << 16
"""Characters of a piped line that are read; the rest of a longer line is skipped."""


def is_debugging() -> bool:
    """Return True if CHUNKV2L_DEBUG asks for tracebacks and warnings."""
    return os.environ.get("CHUNKV2L_DEBUG", "0") not in ("", "0")


def prepare() -> None:
    """Make the streams and the libraries ready for a command.

    This package's log goes to stderr as plain lines. Other libraries' messages are silenced unless CHUNKV2L_DEBUG is
    set. A character that a stream can't take becomes "?" instead of an error.
    """
    _open_closed_descriptors()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logger = logging.getLogger("chunkv2l")
    if not logger.handlers:
        logger.addHandler(_StderrHandler())
    if is_debugging():
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


def _open_closed_descriptors() -> None:
    """Open the null device wherever a standard descriptor is closed.

    Otherwise the next file to be opened would get its number, and what a library prints would go into that file.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


class _StderrHandler(logging.Handler):
    """Write log lines to stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "tqdm" in sys.modules and sys.stderr is not None:
            with suppress(OSError):
                sys.modules["tqdm"].tqdm.write(escape_line(text), file=sys.stderr)
        else:
            say(text)


def show_traceback() -> None:
    """Print the current exception's traceback on stderr, if CHUNKV2L_DEBUG asks for it."""
    if is_debugging():
        say(*traceback.format_exc().rstrip().splitlines())


def say(*lines: str) -> None:
    """Print lines for people on stderr; where that fails, they are lost."""
    try:
        click.echo(_join(lines), err=True)
    except OSError:
        _discard(sys.stderr)


def emit(*lines: str) -> None:
    """Print the lines of a result on stdout. A reader that has gone away (`| head`) ends the program without an error.

    Raises:
        ChunkV2LError: stdout is closed, or can't be written to.
    """
    _write(_join(lines))


def _join(lines: Iterable[str]) -> str:
    """Return lines as a text that shows what is in them; a line's own line ends and tabs are written as escapes."""
    return "\n".join(escape_line(_replace_bytes(line)) for line in lines)


def emit_json(value: Any, indent: int | None = 2) -> None:
    """Print a result as JSON on stdout; without an indent, as one line. Invisible characters are written as escapes.

    Raises:
        ChunkV2LError: as `emit`.
    """
    ascii_only = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, allow_nan=False)
    _write(escape_invisible(text, lambda character: json.dumps(character)[1:-1]))


def _replace_bytes(text: str) -> str:
    """Return a text in which bytes of a file's name that aren't UTF-8 are "�", as in an index's own words."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def flush() -> None:
    """Write what is left in stdout's buffer.

    Raises:
        ChunkV2LError: as `emit`.
    """
    if sys.stdout is not None:
        _write("", newline=False)


def _write(text: str, newline: bool = True) -> None:
    if sys.stdout is None:
        raise ChunkV2LError("The result can't be printed, since standard output is closed.")
    try:
        click.echo(text, nl=newline)
    except BrokenPipeError:
        _discard(sys.stdout)
        raise click.exceptions.Exit(0) from None
    except (OSError, ValueError) as error:  # ValueError: closed meanwhile
        _discard(sys.stdout)
        reason = error.strerror if isinstance(error, OSError) else error
        raise ChunkV2LError(f"The result can't be written to standard output ({reason}).") from error


def _discard(stream: TextIO | None) -> None:
    """Let a stream write to the null device from now on, so that the flush at exit doesn't fail, too."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        os.close(null)


def read_questions() -> Iterator[str]:
    """Yield questions from the terminal, with a prompt, or from a pipe, line by line; blank lines are skipped.

    Raises:
        ChunkV2LError: stdin is closed, or can't be read.
    """
    if sys.stdin is None:
        raise ChunkV2LError("There is nothing to read questions from, since standard input is closed: add a QUESTION.")
    lines = _terminal_lines() if sys.stdin.isatty() else _piped_lines(sys.stdin)
    try:
        for line in lines:
            if strip_invisible(line).strip():
                yield line.strip()
    except OSError as error:
        raise ChunkV2LError(f"Standard input can't be read ({error.strerror}).") from error


def _piped_lines(stream: TextIO) -> Iterator[str]:
    """Yield a pipe's lines, each cut off at MAX_LINE characters."""
    _detect_encoding(stream)
    while line := stream.readline(MAX_LINE):
        yield line
        while line and not line.endswith("\n"):
            line = stream.readline(MAX_LINE)


def _detect_encoding(stream: TextIO) -> None:
    """Let a stream end lines at CR, too, and decode UTF-16, if the bytes begin with its byte order mark."""
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(stream.buffer, io.BufferedReader):
        return
    stream.reconfigure(newline=None)
    if stream.buffer.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
        stream.reconfigure(encoding="utf-16", errors="replace")


def _terminal_lines() -> Iterator[str]:
    with suppress(ImportError):
        import readline  # noqa: F401  (line editing and history in input())
    say("Ask about the movie, one question a line; Ctrl+D ends.")
    while True:
        try:
            line = input("> ") if sys.stdout is not None and sys.stdout.isatty() else _prompt("> ")
        except EOFError:
            say("")
            return
        yield line


def _prompt(text: str) -> str:
    """Read a line after a prompt on stderr.

    Raises:
        EOFError: there is none.
    """
    click.echo(text, nl=False, err=True)
    if not (line := sys.stdin.readline(MAX_LINE)):
        raise EOFError
    return line
