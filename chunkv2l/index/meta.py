"""What an index says about itself: its meta table, checked, and the command that would build it again."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chunkv2l.index.schema import Malformed
from chunkv2l.sanitize import finite, is_line

MAX_META: Final = 1 << 20  # bytes of one meta value
MAX_DEPTH: Final = 8  # of nesting in a meta value
MAX_CODE_VALUES: Final = 1 << 24  # numbers in one code; SmolVLM2-2.2B has 196,608

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
OWN_DETECTOR: Final = "own:"
"""What a recorded detector begins with that was handed in from Python."""
OWN: Final = ("folder", "hypernet")
"""What of a model may be a file of the user's own: the frozen model's folder (`--model`), `--hypernet`."""


@dataclass(frozen=True)
class Meta:
    """What an index says about itself.

    Attributes:
        movie: name, size (bytes), sha256 (of the movie's content as `origin.fingerprint` takes it), duration (seconds),
            fps, width, height.
        model: the model's name, as `--model` takes it.
        identity: what the codes depend on: hashes of weights and the like.
        settings: the build's settings (detector, lengths, codes …).
        code_shape: (L, r, d).
        segments: how many there are; None while the build isn't complete.
        own: which of `OWN` were named by their paths (the paths aren't stored).
    """

    movie: Mapping[str, Any]
    model: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    code_shape: tuple[int, int, int]
    segments: int | None = None
    own: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def origin(self) -> dict[str, Any]:
        """What the codes were made from and how, as `origin.describe` puts it: all but the number of segments."""
        return {
            "movie": dict(self.movie),
            "model": self.model,
            "identity": dict(self.identity),
            "settings": dict(self.settings),
            "code_shape": list(self.code_shape),
            "own": list(self.own),
            **self.extra,
        }

    @property
    def codes(self) -> str:
        """How codes are packed: "fp32", "fp16" or "int8"."""
        return str(self.settings["codes"])


def rebuild(path: Path, meta: Meta, force: bool = True, model: str | None = None, hypernet: str | None = None) -> str:
    """The command line that builds `path` as it was built, every recorded choice spelled out.

    An index holds no paths, so for files of the user's own there are names in capitals, explained behind the command.

    Args:
        model, hypernet: as `build` takes them, where these are to take the place of the recorded ones.
    """
    name = str(meta.movie["name"])
    words = ["chunkv2l", "build", f"./{name}" if name.startswith("-") else name, "-o", str(path), "--model"]
    notes: list[str] = []
    if model is not None:
        words.append(model)
    elif "folder" in meta.own:
        words.append("MODEL_FOLDER")
        notes.append(f"MODEL_FOLDER: the folder of {meta.model}")
    else:
        words.append(meta.model)
    if hypernet is not None:
        words += ["--hypernet", hypernet]
    elif "hypernet" in meta.own and model is None:
        words += ["--hypernet", "HYPERNET_FILE"]
        notes.append(f"HYPERNET_FILE: the file of SHA-256 {str(meta.identity.get('hypernet', 'unknown'))[:16]}…")
    for setting, option in OPTIONS.items():
        value = meta.settings.get(setting)
        if setting == "detector" and isinstance(value, str) and value.startswith(OWN_DETECTOR):
            notes.append(f"from Python, with your detector {value.removeprefix(OWN_DETECTOR)}")
        elif value is not None:
            words += [option, _spelled(value)]
    if meta.settings.get("captions") is False:
        words.append("--no-captions")
    if isinstance(subtitles := meta.extra.get("subtitles"), str):
        words += ["--subtitles", "SUBTITLES_FILE"]
        notes.append(f"SUBTITLES_FILE: the .srt or .vtt of SHA-256 {subtitles[:16]}…")
    command = shlex.join([*words, "--force"] if force else words)
    return f"{command} ({'; '.join(notes)})" if notes else command


def _spelled(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def read_meta(connection: sqlite3.Connection) -> Meta:
    """The meta table of an open index or .part, bounded and checked.

    Raises:
        Malformed, sqlite3.Error: turned into sentences by `damage`.
    """
    if connection.execute("SELECT count(*) FROM meta").fetchone()[0] > 64:
        raise Malformed("more meta values than there can be")
    rows = connection.execute("SELECT key, CASE WHEN length(value) <= ? THEN value END FROM meta", (MAX_META,))
    values: dict[str, Any] = {}
    for key, value in rows:
        if not (isinstance(key, str) and isinstance(value, str)):
            raise Malformed("a meta value that isn't a text, or one that is too long")
        try:
            values[key] = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"the meta value {key!r} isn't JSON") from error
        if not (is_line(key) and _sound(values[key])):
            raise Malformed("a meta value with control characters, or numbers that aren't any")
    return _meta(values)


def _meta(values: dict[str, Any]) -> Meta:
    for key, kind in {"movie": dict, "model": str, "identity": dict, "settings": dict, "code_shape": list}.items():
        if not isinstance(values.get(key), kind):
            raise Malformed(f"the meta value {key!r} is missing or of the wrong kind")
    shape = values["code_shape"]
    if len(shape) != 3 or any(type(size) is not int or size < 1 for size in shape):
        raise Malformed("code_shape isn't three sizes")
    if shape[0] * shape[1] * shape[2] > MAX_CODE_VALUES:
        raise Malformed("codes larger than there can be")
    if values["settings"].get("codes") not in ("fp32", "fp16", "int8"):
        raise Malformed("codes of an unknown kind")
    movie = values["movie"]
    if not (is_line(movie.get("name")) and isinstance(movie.get("sha256"), str) and finite(movie.get("duration"))):
        raise Malformed("the movie has no name, no fingerprint or no duration")
    segments = values.get("segments")
    if segments is not None and type(segments) is not int:
        raise Malformed("the number of segments isn't a number")
    own = values.get("own", [])
    if not isinstance(own, list) or any(item not in OWN for item in own):
        raise Malformed("files of a kind that a model doesn't have")
    known = {"movie", "model", "identity", "settings", "code_shape", "segments", "own"}
    return Meta(
        movie=values["movie"],
        model=values["model"],
        identity=values["identity"],
        settings=values["settings"],
        code_shape=(shape[0], shape[1], shape[2]),
        segments=segments,
        own=tuple(own),
        extra={key: value for key, value in values.items() if key not in known},
    )


def _sound(value: object, depth: int = 0) -> bool:
    """Whether a value of JSON can be shown and reckoned with: lines of text, finite numbers, no deep nesting."""
    if isinstance(value, dict):
        return depth < MAX_DEPTH and all(is_line(key) and _sound(one, depth + 1) for key, one in value.items())
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(_sound(one, depth + 1) for one in value)
    return value is None or isinstance(value, bool) or is_line(value) or finite(value)
