"""Find subtitle files beside movies, and read them within bounds."""

from __future__ import annotations

import hashlib
import logging
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.sanitize import one_line
from chunkv2l.video.notes import Notes
from chunkv2l.video.subtitles.cues import Cue, parse
from chunkv2l.video.subtitles.encoding import decode
from chunkv2l.video.subtitles.streams import choose_subtitle_stream, read_stream

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 16 << 20
"""Bytes of a subtitle file; a day of talk has two million."""
MAX_CUES: Final = 300_000
"""Cues of a subtitle file; a day of talk has a tenth of it, and thrice as many where captions roll."""
SUFFIXES: Final = (".srt", ".vtt")
WARNINGS: Final = 5
"""Bad cues that are reported one by one."""
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.IGNORECASE)
_LANGUAGE_NAMES: Final = frozenset(
    (
        *("arabic", "chinese", "czech", "danish", "dutch", "english", "finnish", "french", "german", "greek"),
        *("hebrew", "hindi", "hungarian", "indonesian", "italian", "japanese", "korean", "norwegian", "polish"),
        *("portuguese", "romanian", "russian", "spanish", "swedish", "thai", "turkish", "ukrainian", "vietnamese"),
    )
)
_ENGLISH: Final = frozenset({"en", "eng", "english"})
_FLAGS: Final = {"sdh": 1, "cc": 1, "hi": 1, "forced": 2, "foreign": 2}
"""Words behind the language: for people who hear little (all is there, and noises), or foreign dialogue only."""


@dataclass(frozen=True)
class Subtitles:
    """A subtitle file as it was read.

    Attributes:
        name: the file's name, to be shown.
        sha256: of its bytes: by it an index knows the file.
        cues: in order of their starts; they may overlap.
    """

    name: str
    sha256: str
    cues: tuple[Cue, ...]


def find_sidecar(movie: Path) -> Path | None:
    """Return the subtitle file that lies beside a movie, or None.

    That is the movie's name, with or without its suffix, and .srt or .vtt; a language may stand before that, and
    "sdh", "cc", "hi" (for people who hear little) or "forced" (foreign dialogue only): `movie.en.sdh.srt`. Of several,
    files without a language come first, then English ones, then others by name; within a language complete
    subtitles, those for people who hear little, forced ones; .srt before .vtt.
    """
    try:
        files = [path for path in movie.parent.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError:
        return None
    ranked = [(rank, path) for path in files if (rank := _sidecar_rank(path, movie)) is not None]
    return min(ranked)[-1] if ranked else None


def _sidecar_rank(path: Path, movie: Path) -> tuple[int, int, str, int, int] | None:
    """Return how early a subtitle file is taken for a movie, the smallest first; None if it isn't the movie's."""
    stem = unicodedata.normalize("NFC", path.stem)
    names = [unicodedata.normalize("NFC", name) for name in (movie.name, movie.stem)]
    name = next((name for name in names if stem == name or stem.startswith(f"{name}.")), None)
    if name is None:
        return None
    words = [word.lower() for word in stem[len(name) :].split(".")[1:]]
    flag = 0
    while words and words[-1] in _FLAGS:
        flag = max(flag, _FLAGS[words.pop()])
    if len(words) > 1 or not all(_LANGUAGE.fullmatch(word) or word in _LANGUAGE_NAMES for word in words):
        return None
    language = words[0] if words else ""
    group = 0 if not language else 1 if re.split("[-_]", language)[0] in _ENGLISH else 2
    suffix = SUFFIXES.index(path.suffix.lower())
    if group == 0 and flag == 2:
        group = 3  # a few foreign lines of nobody knows which language
    return (group, flag, language, suffix, names.index(name)) if group != 2 else (group, 0, language, flag, suffix)


def read_subtitles(path: Path, encoding: str | None = None, notes: Notes | None = None) -> Subtitles:
    """Read a .srt or .vtt file.

    Args:
        encoding: of the file; None finds it out, with a note where it had to be guessed.
        notes: collects what was guessed or left out; by default it is logged.

    Raises:
        InputError: it is missing, no regular file, too large, has no cue or too many, or the encoding is unknown.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is neither .srt nor .vtt: convert it, for example with ffmpeg -i {path.name} out.srt")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            raise InputError(f"Can't read the subtitles of {path}: it isn't a regular file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"There is no {path} to take subtitles from.") from None
    except OSError as error:
        raise InputError(f"Can't read the subtitles of {path} ({error.strerror}).") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB: that is no subtitle file.")
    notes = Notes() if notes is None else notes
    decoded = decode(data, encoding)
    if decoded.text.count("-->") > MAX_CUES:
        raise InputError(f"{path} has more than {MAX_CUES} cues: that is no subtitle file of one movie.")
    problems: list[str] = []
    cues = parse(decoded.text, problems)
    if decoded.is_guessed and cues:
        notes.add("subtitles", f"{path.name} has no mark of its encoding: {decoded.encoding} is a guess (--encoding).")
    for problem in problems[:WARNINGS]:
        notes.add("subtitles", f"{path.name}, {problem}")
    if len(problems) > WARNINGS:
        notes.add("subtitles", f"{path.name}: {len(problems) - WARNINGS} more cues have times like these.")
    if not cues:
        raise InputError(f"{path} has no subtitle that can be understood: it must be SubRip (.srt) or WebVTT (.vtt).")
    return Subtitles(one_line(path.name), hashlib.sha256(data).hexdigest(), tuple(cues))


def take_subtitles(
    movie: Path, choice: str | Path | None, encoding: str | None = None, notes: Notes | None = None
) -> Subtitles | None:
    """Read the subtitles that a build takes, and say so in a warning.

    Args:
        choice: the file; "auto" for the one beside the movie, or else a text stream inside it; None for none.
        encoding, notes: as for `read_subtitles`.

    Raises:
        InputError: the file given can't be used. A sidecar that can't be used is left out with a warning.
    """
    path = find_sidecar(movie) if choice == "auto" else None if choice is None else Path(choice)
    if path is None:
        return _take_stream(movie, Notes() if notes is None else notes) if choice == "auto" else None
    try:
        subtitles = read_subtitles(path, encoding, notes)
    except InputError as error:
        if choice != "auto":
            raise
        (Notes() if notes is None else notes).add("subtitles", f"{error} It is left out.")
        return None
    count = len(subtitles.cues)
    logger.warning("Subtitles are taken from %s: %d cue%s.", subtitles.name, count, "" if count == 1 else "s")
    return subtitles


def _take_stream(movie: Path, notes: Notes) -> Subtitles | None:
    """Read the text stream inside a movie; None where there is none, or nothing in it."""
    stream = choose_subtitle_stream(movie)
    if stream is None:
        return None
    problems: list[str] = []
    cues, sha256 = read_stream(movie, stream, problems)
    if not cues:
        return None
    name = one_line(f"stream {stream} of {movie.name}")
    for problem in problems[:WARNINGS]:
        notes.add("subtitles", f"{name}, {problem}")
    logger.warning("Subtitles are taken from %s: %d cue%s.", name, len(cues), "" if len(cues) == 1 else "s")
    return Subtitles(name, sha256, cues)
