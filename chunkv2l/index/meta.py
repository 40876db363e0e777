"""Read and check what an index records about itself, and write the command that would build it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkv2l.channels.cues import SOURCES
from chunkv2l.defaults import CODE_FORMATS, DETECTORS, MODELS, READERS
from chunkv2l.index.schema import Malformed
from chunkv2l.sanitize import is_finite, is_line

if TYPE_CHECKING:
    from chunkv2l.index.database import Database

MAX_VALUES: Final = 64
MAX_META: Final = 1 << 16  # characters of one value
MAX_DEPTH: Final = 8  # of nesting in a value
MAX_CODE_VALUES: Final = 1 << 24  # numbers in one code; SmolVLM2-2.2B has 196,608
MAX_SECONDS: Final = 10_000_000.0
"""Length of the longest movie, in seconds: four months."""
MAX_NOTES: Final = 100

OPTIONS: Final = {
    "detector": "--detector",
    "min_length": "--min-length",
    "max_length": "--max-length",
    "reader": "--reader",
    "stream": "--stream",
    "codes": "--codes",
    "encoding": "--encoding",
}
"""Recorded settings and the command line's options that give them."""
UNCERTAIN: Final = "uncertain"
"""Meta value: the segments whose captions are uncertain, as `pack_numbers` packs them."""
CHANNELS, LISTENING = "channels", "listening"
"""Meta values: the recognisers whose cues an index holds; how far an unfinished index has been listened to and read."""
CHANNEL_KEYS: Final = (CHANNELS, LISTENING)
"""Meta values that aren't part of a build's description: recognisers can be run on an index that is there."""
USER_DETECTOR: Final = "own:"
"""Prefix of a recorded detector that was handed in from Python."""
USER_FILES: Final = ("folder", "hypernet")
"""Parts of a model that may be files of the user: the frozen model's folder (`--model`), `--hypernet`."""


@dataclass(frozen=True)
class Meta:
    """An index's description of itself.

    Attributes:
        movie: name, size (bytes), sha256 (of the movie's content as `provenance.fingerprint` takes it), duration
            (seconds), fps, width, height.
        model: the model's name, as `--model` takes it.
        identity: what the codes depend on: hashes of weights and the like.
        settings: the build's settings (detector, lengths, codes …).
        code_shape: (L, r, d).
        segments: how many there are; None while the build isn't complete.
        user_files: those of `USER_FILES` that were named by their paths (the paths aren't stored).
        notes: what the build chose, guessed or dropped: "kind" and "text" of each.
        uncertain: the segments whose captions their own keys don't support; None where that isn't known.
        extra: all else: the hash of the subtitles, and what later versions record.
    """

    movie: Mapping[str, Any]
    model: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    code_shape: tuple[int, int, int]
    segments: int | None = None
    user_files: tuple[str, ...] = ()
    notes: tuple[Mapping[str, str], ...] = ()
    uncertain: frozenset[int] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def origin(self) -> dict[str, Any]:
        """Return what the codes were made from and how, as `provenance.describe` puts it."""
        return {
            "movie": dict(self.movie),
            "model": self.model,
            "identity": dict(self.identity),
            "settings": dict(self.settings),
            "code_shape": list(self.code_shape),
            "own": list(self.user_files),
            **{key: value for key, value in self.extra.items() if key not in CHANNEL_KEYS},
        }

    @property
    def duration(self) -> float:
        """Length of the movie in seconds."""
        return float(self.movie["duration"])

    @property
    def codes(self) -> str:
        """Format in which codes are packed: "fp32", "fp16" or "int8"."""
        return str(self.settings["codes"])


def rebuild_command(
    path: Path, meta: Meta, force: bool = True, model: str | None = None, hypernet: str | None = None
) -> str:
    """Return the command line that builds `path` as it was built, every recorded choice spelled out.

    An index holds no paths and is trusted with none: for files of the user, and for every name that isn't one of
    chunkv2l's own, there is a name in capitals, explained behind the command.

    Args:
        model, hypernet: as `build` takes them, where these are to take the place of the recorded ones.
    """
    name = str(meta.movie["name"])
    words = ["chunkv2l", "build", f"./{name}" if name.startswith("-") else name, "-o", str(path), "--model"]
    notes: list[str] = []
    if model is not None:
        words.append(model)
    elif "folder" in meta.user_files:
        words.append("MODEL_FOLDER")
        notes.append(f"MODEL_FOLDER: the folder of {meta.model}")
    elif meta.model in MODELS:
        words.append(meta.model)
    else:
        words.append("MODEL")
        notes.append(f"MODEL: the model that the index calls {meta.model}")
    if hypernet is not None:
        words += ["--hypernet", hypernet]
    elif "hypernet" in meta.user_files and model is None:
        words += ["--hypernet", "HYPERNET_FILE"]
        notes.append(f"HYPERNET_FILE: the file of SHA-256 {str(meta.identity.get('hypernet', 'unknown'))[:16]}…")
    for setting, option in OPTIONS.items():
        value = meta.settings.get(setting)
        if setting == "detector" and isinstance(value, str) and value.startswith(USER_DETECTOR):
            notes.append(f"from Python, with your detector {value.removeprefix(USER_DETECTOR)}")
        elif _is_known(setting, value):
            words += [option, _spell(value)]
        elif value is not None:
            words += [option, setting.upper()]
            notes.append(f"{setting.upper()}: {value}")
    if meta.settings.get("captions") is False:
        words.append("--no-captions")
    if isinstance(subtitles := meta.extra.get("subtitles"), str):
        words += ["--subtitles", "SUBTITLES_FILE"]
        notes.append(f"SUBTITLES_FILE: the .srt or .vtt of SHA-256 {subtitles[:16]}…")
    command = shlex.join([*words, "--force"] if force else words)
    return f"{command} ({'; '.join(notes)})" if notes else command


def _is_known(setting: str, value: object) -> bool:
    """Tell whether a recorded setting is a number or one of the names that chunkv2l itself gives it."""
    if setting in ("min_length", "max_length"):
        return is_finite(value)
    if setting == "detector" and isinstance(value, str):
        name, colon, argument = value.partition(":")
        if colon:
            return name in ("fixed", *DETECTORS) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", argument) is not None
        return name in DETECTORS
    if setting == "encoding" and isinstance(value, str):
        return re.fullmatch(r"[A-Za-z0-9_.:-]{1,40}", value) is not None
    return value in (READERS if setting == "reader" else CODE_FORMATS)


def _spell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def read_meta(database: Database) -> Meta:
    """Read the meta table of an open index or .part, bounded and checked.

    Raises:
        Malformed, sqlite3.Error: turned into sentences by `Database.reading`.
    """
    rows = database.execute(
        "SELECT key, CASE WHEN length(value) <= ? THEN value END FROM meta LIMIT ?", (MAX_META, MAX_VALUES + 1)
    ).fetchall()
    if len(rows) > MAX_VALUES:
        raise Malformed("more meta values than there can be")
    return parse_meta(rows)


def parse_meta(rows: Iterable[tuple[object, object]]) -> Meta:
    """Check the meta table's rows: (key, JSON), None for a value that is too long.

    Raises:
        Malformed: what no build writes.
    """
    values: dict[str, Any] = {}
    for key, value in rows:
        if not (isinstance(key, str) and isinstance(value, str)):
            raise Malformed("a meta value that isn't a text, or one that is too long")
        try:
            values[key] = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"the meta value {key!r} isn't JSON") from error
        if not (is_line(key) and _is_sound(values[key])):
            raise Malformed("a meta value with control characters, or numbers that aren't any")
    return _check_meta(values)


def _check_meta(values: dict[str, Any]) -> Meta:
    for key, expected in {"movie": dict, "model": str, "identity": dict, "settings": dict, "code_shape": list}.items():
        if not isinstance(values.get(key), expected):
            raise Malformed(f"the meta value {key!r} is missing or of the wrong kind")
    segments = values.get("segments")
    if segments is not None and type(segments) is not int:
        raise Malformed("the number of segments isn't a number")
    user_files = values.get("own", [])
    if not isinstance(user_files, list) or any(item not in USER_FILES for item in user_files):
        raise Malformed("files of a kind that a model doesn't have")
    if values["settings"].get("codes") not in CODE_FORMATS:
        raise Malformed("codes of an unknown kind")
    _check_channels(values.get(CHANNELS, {}), values.get(LISTENING, {}))
    known = {"movie", "model", "identity", "settings", "code_shape", "segments", "own", "notes", UNCERTAIN}
    return Meta(
        movie=_check_movie(values["movie"]),
        model=values["model"],
        identity=values["identity"],
        settings=values["settings"],
        code_shape=_check_shape(values["code_shape"]),
        segments=segments,
        user_files=tuple(user_files),
        notes=_check_notes(values.get("notes", [])),
        uncertain=_check_uncertain(values.get(UNCERTAIN), segments or 0),
        extra={key: value for key, value in values.items() if key not in known},
    )


def _check_movie(movie: dict[str, Any]) -> dict[str, Any]:
    if not (is_line(movie.get("name")) and isinstance(movie.get("sha256"), str) and is_finite(movie.get("duration"))):
        raise Malformed("the movie has no name, no fingerprint or no duration")
    numbers = [movie[name] for name in ("duration", "size", "fps", "width", "height") if name in movie]
    if any(not is_finite(number) or number < 0 for number in numbers) or movie["duration"] > MAX_SECONDS:
        raise Malformed("the movie has a size or a duration that no movie has")
    return movie


def _check_channels(channels: object, listening: object) -> None:
    """Check recognisers by the sources of their cues, and the states of those that haven't ended."""
    for values in (channels, listening):
        if not isinstance(values, dict) or not values.keys() <= set(SOURCES):
            raise Malformed("recognisers of cues that there aren't")
        if not all(isinstance(value, dict) for value in values.values()):
            raise Malformed("a recogniser without a description")
    assert isinstance(listening, dict)
    for begun in listening.values():
        done = begun.get("done")
        if not (isinstance(begun.get("identity"), dict) and is_finite(done) and 0 <= done <= MAX_SECONDS):
            raise Malformed("a recogniser without a description, or that is nowhere in the movie")
        if not isinstance(begun.get("state"), dict | None):
            raise Malformed("a recogniser's state that is none")


def _check_shape(shape: list[Any]) -> tuple[int, int, int]:
    if len(shape) != 3 or any(type(size) is not int or size < 1 for size in shape):
        raise Malformed("code_shape isn't three sizes")
    if shape[0] * shape[1] * shape[2] > MAX_CODE_VALUES:
        raise Malformed("codes larger than there can be")
    return shape[0], shape[1], shape[2]


def _check_notes(notes: object) -> tuple[Mapping[str, str], ...]:
    if not isinstance(notes, list) or len(notes) > MAX_NOTES:
        raise Malformed("notes of the build that aren't a list, or too many")
    for note in notes:
        is_note = isinstance(note, dict) and note.keys() == {"kind", "text"}
        if not (is_note and all(isinstance(text, str) for text in note.values())):
            raise Malformed("a note of the build without a kind or a text")
    return tuple(notes)


def pack_numbers(numbers: Iterable[int]) -> str:
    """Return a set of segments' numbers as a text in hex: bit i of its value is segment i's; "" for none.

    >>> pack_numbers([0, 5]), pack_numbers([])
    ('21', '')
    """
    value = sum(1 << number for number in set(numbers))
    return f"{value:x}" if value else ""


def _check_uncertain(text: object, segments: int) -> frozenset[int] | None:
    """Return the numbers that `pack_numbers` packed, all below `segments`; None where there is no such value."""
    if text is None:
        return None
    if not (isinstance(text, str) and re.fullmatch(r"([1-9a-f][0-9a-f]*)?", text) and len(text) <= -(-segments // 4)):
        raise Malformed("uncertain captions of segments that aren't there")
    value = int(text or "0", 16)
    if value >> segments:
        raise Malformed("uncertain captions of segments that aren't there")
    return frozenset(number for number, bit in enumerate(reversed(f"{value:b}")) if bit == "1")


def _is_sound(value: object, depth: int = 0) -> bool:
    """Tell whether a value of JSON has only lines of text and finite numbers, and isn't nested deeply."""
    if isinstance(value, dict):
        return depth < MAX_DEPTH and all(is_line(key) and _is_sound(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(_is_sound(item, depth + 1) for item in value)
    return value is None or isinstance(value, bool) or is_line(value) or is_finite(value)
