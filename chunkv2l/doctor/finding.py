"""Findings: one sentence about one thing that `doctor` looked at, and what makes an exception into one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal

from chunkv2l.errors import ChunkV2LError

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """The state of one thing that the doctor looked at.

    Attributes:
        subject: "Python", "reader pyav", "caption of a 3-second clip" …
        level: "ok"; "note" for what is missing without harm; "problem" for what won't work.
        text: a sentence, with what to do about a problem.
    """

    subject: str
    level: Level
    text: str

    def to_json(self) -> dict[str, str]:
        """Return the finding as JSON has it."""
        return asdict(self)


def guard(subject: str, examine: Callable[[], Finding]) -> Finding:
    """Return what `examine` finds; an exception from it becomes a problem about `subject`."""
    try:
        return examine()
    except Exception as error:
        return Finding(subject, "problem", describe_error(error))


def describe_error(error: Exception) -> str:
    """Return an error as one line: our own are sentences already, others get their type's name in front."""
    return str(error) if isinstance(error, ChunkV2LError) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, "" where it has none."""
    return (str(error).splitlines() or [""])[0]


def installed_version(package: str) -> str | None:
    """Return the version of a package that is installed, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
