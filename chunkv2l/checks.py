"""What an index file must look like before anything in it is believed: header, schema, meta.

An index may come from anywhere. Everything that is wrong with one becomes an InputError that says what and what to do.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from safetensors import SafetensorError

from chunkv2l.errors import InputError
from chunkv2l.schema import APPLICATION_ID, SCHEMA_VERSION, apply_migrations, expected_schema, part_path
from chunkv2l.values import finite, is_line, quoted

MAX_META: Final = 1 << 20  # bytes of one meta value
MAX_DEPTH: Final = 8  # of nesting in a meta value
MAX_CODE_VALUES: Final = 1 << 24  # numbers in one code; SmolVLM2-2.2B has 196,608

OPTIONS: Final = {
    "detector": "--detector",
    "min_length": "--min-length",
    "max_length": "--max-length",
    "reader": "--reader",
    "codes": "--codes",
}
"""Recorded settings and the command line's options that give them."""


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
    """

    movie: Mapping[str, Any]
    model: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    code_shape: tuple[int, int, int]
    segments: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def origin(self) -> dict[str, Any]:
        """What the codes were made from and how, as `origin.describe` puts it: all but the number of segments."""
        return {
            "movie": dict(self.movie),
            "model": self.model,
            "identity": dict(self.identity),
            "settings": dict(self.settings),
            "code_shape": list(self.code_shape),
            **self.extra,
        }

    @property
    def codes(self) -> str:
        """How codes are packed: "fp32", "fp16" or "int8"."""
        return str(self.settings["codes"])


class Malformed(Exception):
    """What is wrong inside an index file."""


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn everything that a damaged or forged index makes SQLite or the checks raise into an InputError."""
    try:
        yield
    except Malformed as error:
        raise InputError(
            f"{path} is damaged or was tampered with: {quoted(error)}. Build it again with --force."
        ) from error
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours
    except (sqlite3.Error, SafetensorError, UnicodeError, OverflowError, MemoryError) as error:
        if "locked" in str(error):
            raise InputError(f"{path} is being written by another process: try again when it is done.") from error
        raise InputError(f"{path} is damaged ({quoted(error)}): build it again with --force.") from error


def rebuild_command(path: Path, meta: Meta, force: bool = True) -> str:
    """The command line that builds `path` as it was built, every recorded choice spelled out."""
    words = ["chunkv2l", "build", str(meta.movie["name"]), "-o", str(path), "--model", meta.model]
    for name, option in OPTIONS.items():
        if name in meta.settings:
            words += [option, _spelled(meta.settings[name])]
    if meta.settings.get("captions") is False:
        words.append("--no-captions")
    return shlex.join([*words, "--force"] if force else words)


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    known = {"movie", "model", "identity", "settings", "code_shape", "segments"}
    return Meta(
        movie=values["movie"],
        model=values["model"],
        identity=values["identity"],
        settings=values["settings"],
        code_shape=(shape[0], shape[1], shape[2]),
        segments=segments,
        extra={key: value for key, value in values.items() if key not in known},
    )


def _sound(value: object, depth: int = 0) -> bool:
    """Whether a value of JSON can be shown and reckoned with: lines of text, finite numbers, no deep nesting."""
    if isinstance(value, dict):
        return depth < MAX_DEPTH and all(is_line(key) and _sound(one, depth + 1) for key, one in value.items())
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(_sound(one, depth + 1) for one in value)
    return value is None or isinstance(value, bool) or is_line(value) or finite(value)


def check_header(path: Path, newer: bool = False) -> int:
    """What a file is by its first hundred bytes, before SQLite touches it: returns its schema version.

    Args:
        newer: whether a schema from the future will do (for replacing the file, not for reading it).

    Raises:
        InputError: missing, unreadable, not an index, not finished, or from a newer version.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        if path.name.endswith(".part"):
            raise InputError(f"{path} isn't finished: {progress_sentence(path)}")
    except FileNotFoundError:
        if part_path(path).exists():
            raise InputError(f"{path} isn't finished: {progress_sentence(part_path(path))}") from None
        raise InputError(f"There is no {path}: make it with chunkv2l build MOVIE -o {shlex.quote(str(path))}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory, not an index.") from None
    except OSError as error:
        raise InputError(f"Can't read {path} ({error.strerror}).") from error
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise InputError(f"{path} isn't an index that chunkv2l build made.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(f"{path} is a SQLite file, but not an index that chunkv2l build made.")
    version = int.from_bytes(header[60:64], "big")
    if version > SCHEMA_VERSION and not newer:
        raise InputError(
            f"{path} is from a newer chunkv2l (schema {version}, this one reads up to {SCHEMA_VERSION}): upgrade it."
        )
    if version < 1 or header[18:20] != b"\x01\x01":
        raise InputError(f"{path} is damaged or was tampered with: its header isn't one that chunkv2l build writes.")
    return version


def connect(path: Path, version: int) -> sqlite3.Connection:
    """Open read-only, distrust the schema, and check it. An older schema is migrated in memory; the file stays."""
    connection = open_readonly(path)
    try:
        check_schema(connection, version)
        if version == SCHEMA_VERSION:
            return connection
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.backup(copy)
        apply_migrations(copy, version)
        connection.close()
        return copy
    except BaseException:
        connection.close()
        raise


def open_readonly(path: Path) -> sqlite3.Connection:
    """A connection that can't change the file, whatever its schema says."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=5,
        check_same_thread=False,  # threads take turns: `IndexFile`
    )
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def check_schema(connection: sqlite3.Connection, version: int) -> None:
    """Refuse any schema but the exact one that `build` makes at this version: no trigger, no view, nothing missing."""
    rows = connection.execute(
        "SELECT type, name, CASE WHEN length(sql) <= 4096 THEN sql END FROM sqlite_master LIMIT 100"
    ).fetchall()
    expected = expected_schema(version)
    names = [name for _, name, _ in rows]
    missing, planted = sorted(expected.keys() - set(names)), [name for name in names if name not in expected]
    if missing:
        raise Malformed(f"missing in its schema: {', '.join(missing)}")
    if planted or len(names) != len(expected):
        raise Malformed(f"its schema has what build doesn't make: {', '.join(map(str, planted)) or 'doubled names'}")
    for kind, name, sql in rows:
        ours_kind, _, ours_sql = expected[name]
        shadow = name.startswith("words_")  # written by SQLite itself, in words that may change between its versions
        right = isinstance(sql, str) and sql.startswith("CREATE TABLE ") if shadow else sql == ours_sql
        if kind != ours_kind or not right:
            raise Malformed(f"{name} isn't defined as build defines it")


def progress_sentence(path: Path) -> str:
    """How far the build of a .part is, and how to go on; never raises for what is inside the file."""
    try:
        with damage(path), contextlib.closing(open_readonly(path)) as connection:
            check_schema(connection, SCHEMA_VERSION)
            meta = read_meta(connection)
            count, end = connection.execute("SELECT count(*), max(end) FROM segments").fetchone()
            command = rebuild_command(path.with_name(path.name.removesuffix(".part")), meta, force=False)
            duration = float(meta.movie["duration"])
            share = min(100.0, 100.0 * float(end or 0.0) / duration) if duration > 0 else 0.0
            return (
                f"{count} segments are stored, {share:.0f} % of the movie. "
                f"If no build is running, go on with: {command}"
            )
    except InputError:
        return "its build was interrupted early; run the same chunkv2l build again."
