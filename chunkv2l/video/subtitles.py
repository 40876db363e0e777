"""Subtitles: reading .srt and .vtt files as they are found, and which segment each cue is spoken in.

No library: both formats are a page of rules, and what matters is what to do about files that break them. A cue that
can't be understood is skipped with a warning that names its line; the rest is taken.
"""

from __future__ import annotations

import hashlib
import html
import logging
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.sanitize import MAX_TEXT, one_line
from chunkv2l.video.detectors import Segment

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 16 << 20
"""Bytes of a subtitle file; a day of talk has two million."""
SUFFIXES: Final = (".srt", ".vtt")
WARNINGS: Final = 5
"""Bad cues that are told one by one."""
_TOUCHING: Final = 0.1  # seconds between two cues that show one text rolling on
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-+>\s*{_TIME}(?:\s.*)?", re.DOTALL)
_TAG = re.compile(r"</?[a-z][^<>]*>|</?\d[\d:.]*>|\{\\[^{}]*\}", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|lrm|rlm|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_NO_CUES = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")


@dataclass(frozen=True)
class Cue:
    """What is said in [start, end) seconds of the movie, on one line."""

    start: float
    end: float
    text: str

    @property
    def middle(self) -> float:
        """Seconds."""
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Subtitles:
    """A subtitle file as it was read.

    Attributes:
        name: the file's name, to be shown.
        sha256: of its bytes: what an index remembers it by.
        cues: in order of their starts; they may overlap.
    """

    name: str
    sha256: str
    cues: tuple[Cue, ...]


def find_sidecar(movie: Path) -> Path | None:
    """The subtitle file that lies beside a movie: its name with .srt or .vtt, or with a language before that.

    Of several the first: `movie.srt`, `movie.vtt`, `movie.en.srt`, `movie.en.vtt`, then other languages by name.
    """
    found: list[tuple[bool, bool, str, int, Path]] = []
    try:
        files = [path for path in movie.parent.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError:
        return None
    for path in files:
        before, dot, language = path.stem.rpartition(".")
        exact = path.stem == movie.stem
        if exact or (dot and before == movie.stem and _LANGUAGE.fullmatch(language)):
            english = language.lower().split("-")[0] in ("en", "eng")
            order = ("" if exact else language, SUFFIXES.index(path.suffix.lower()), path)
            found.append((not exact, not english, *order))
    return min(found)[-1] if found else None


def read_subtitles(path: Path) -> Subtitles:
    """Read a .srt or .vtt file, in UTF-8 or UTF-16, or else in Windows' Latin-1.

    Raises:
        InputError: it is missing, can't be read, is too large, or has no cue.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is neither .srt nor .vtt: convert it, for example with ffmpeg -i {path.name} out.srt")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"There is no {path} to take subtitles from.") from None
    except OSError as error:
        raise InputError(f"Can't read the subtitles of {path} ({error.strerror}).") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB: that is no subtitle file.")
    bad: list[str] = []
    cues = parse(decode(data), bad)
    for warning in bad[:WARNINGS]:
        logger.warning("%s, %s", path.name, warning)
    if len(bad) > WARNINGS:
        logger.warning("%s: %d more cues that can't be understood are skipped.", path.name, len(bad) - WARNINGS)
    if not cues:
        raise InputError(f"{path} has no subtitle that can be understood: it must be SubRip (.srt) or WebVTT (.vtt).")
    return Subtitles(one_line(path.name), hashlib.sha256(data).hexdigest(), tuple(cues))


def decode(data: bytes) -> str:
    """Text from bytes in whatever encoding subtitles come: UTF-8 and UTF-16 with or without a mark, or Windows-1252.

    Never raises: bytes that mean nothing anywhere become "�".
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if data[1:40:2].count(0) > 10 or data[0:40:2].count(0) > 10:  # every other byte is 0: UTF-16 without its mark
        return data.decode("utf-16-le" if data[1:40:2].count(0) > 10 else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")  # Latin-1, with quotation marks and the euro where Latin-1 has control characters
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse(text: str, bad: list[str]) -> list[Cue]:
    """The cues of a .srt's or .vtt's text, in order of their starts, without tags, each once.

    A cue is a line of times and the lines behind it, up to an empty one; numbers, names, notes and styles are passed
    over. Captions that roll on (each cue repeats the last lines of the one before) are told once.

    Args:
        bad: gets a sentence for each cue that is skipped, with the number of its line.
    """
    cues: list[Cue] = []
    before: tuple[float, list[str]] = (0.0, [])
    for start, end, lines in sorted(_raw(text, bad), key=lambda cue: cue[:2]):
        rest = lines
        if start <= before[0] + _TOUCHING:
            rest = lines[_repeated(before[1], lines) :]
        before = (max(end, before[0]) if lines == before[1] else end, lines)
        if rest:
            cues.append(Cue(start, end, one_line(" ".join(rest))[:MAX_TEXT]))
    return list(dict.fromkeys(cues))


def _raw(text: str, bad: list[str]) -> Iterator[tuple[float, float, list[str]]]:
    """(start, end, lines of text) of each cue in the file's order."""
    lines = [*re.split(r"\r\n|\n|\r", text), ""]
    times: tuple[float, float] | None = None
    said: list[str] = []
    passing = False  # over a note or a style, up to the next empty line
    for number, line in enumerate(lines, start=1):
        if "->" in line and not passing and (found := _TIMES.fullmatch(line)):
            if times and said:  # the empty line before this cue is missing; its number isn't text
                yield *times, said[:-1] if said[-1].isdecimal() else said
            times, said = _checked(found, number, bad), []
        elif not line.strip():
            if times and said:
                yield *times, said
            times, said, passing = None, [], False
        elif times is None and not passing:
            passing = bool(_NO_CUES.match(line.removeprefix("\ufeff")))
            if "-->" in line and not passing:
                bad.append(f"line {number}: {one_line(line)[:60]!r} aren't the times of a subtitle; it is skipped.")
                passing = True
        elif times and (shown := _plain(line)):
            said.append(shown)


def _checked(found: re.Match[str], number: int, bad: list[str]) -> tuple[float, float] | None:
    """Start and end in seconds, or None with a sentence."""
    start, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
    if start < end:
        return start, end
    bad.append(f"line {number}: a subtitle that ends before it begins ({start:g} s to {end:g} s); it is skipped.")
    return None


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0)
    return whole + float(f"0.{fraction or 0}")


def _plain(line: str) -> str:
    """A line of a cue without tags and entities, for one line of text."""
    return one_line(_ENTITY.sub(lambda found: html.unescape(found[0]), _TAG.sub("", line)))


def _repeated(before: Sequence[str], lines: Sequence[str]) -> int:
    """How many of the first lines are the last ones of the cue before."""
    most = min(len(before), len(lines))
    return next((k for k in range(most, 0, -1) if list(before[-k:]) == list(lines[:k])), 0)


def take_subtitles(movie: Path, wanted: str | Path | None, duration: float) -> Subtitles | None:
    """The subtitles that a build takes, said in a warning: those it is given, or those beside the movie ("auto").

    Cues that begin behind the movie's end (`duration`, seconds) are left out, with a warning.

    Raises:
        InputError: the file given can't be used. One that was only found is left out with a warning.
    """
    path = find_sidecar(movie) if wanted == "auto" else None if wanted is None else Path(wanted)
    if path is None:
        return None
    try:
        found = read_subtitles(path)
    except InputError as error:
        if wanted != "auto":
            raise
        logger.warning("%s It is left out.", error)
        return None
    cues = tuple(replace(cue, end=min(cue.end, duration)) for cue in found.cues if cue.start < duration)
    logger.warning("Subtitles are taken from %s: %d cue%s.", found.name, len(cues), "" if len(cues) == 1 else "s")
    if behind := len(found.cues) - len(cues):
        logger.warning("%d of its cues begin behind the movie's end: is it for another cut?", behind)
    return replace(found, cues=cues)


class Spoken:
    """What is spoken when, for segment after segment."""

    def __init__(self, cues: Iterable[Cue]) -> None:
        self._cues = sorted(cues, key=lambda cue: cue.middle)
        self._middles = [cue.middle for cue in self._cues]

    def within(self, segment: Segment) -> str:
        """What is spoken in a segment, on one line: the cues whose middle lies in it, in order.

        Of two segments that a cue lies over, that is the one that it overlaps most; and it can be told before the
        movie's other segments are known.
        """
        first, behind = bisect_left(self._middles, segment.start), bisect_left(self._middles, segment.end)
        return " ".join(cue.text for cue in self._cues[first:behind])[:MAX_TEXT].strip()
