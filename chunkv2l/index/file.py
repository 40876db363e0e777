"""movie.idx, the read side: an index file may come from anywhere, so nothing in it is believed before it was checked.

Opened read-only, with `trusted_schema` off; its schema must be exactly ours; blobs are bounded before they are read and
tensors are parsed as safetensors only. This module knows bytes and tensors, not models. Threads may share an index:
they take turns at the file.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.graph import Node
from chunkv2l.index.fts import fts_query
from chunkv2l.index.meta import Meta, read_meta, rebuild
from chunkv2l.index.rows import (
    MAX_SIMILAR,
    ChapterRow,
    SegmentRow,
    SubtitleRow,
    chapter_rows,
    segment_rows,
    similar_rows,
    subtitle_rows,
)
from chunkv2l.index.schema import PAGE_SIZE, Malformed
from chunkv2l.index.tensors import HEADER_ROOM, MAX_KEY, CodeForm, read_key
from chunkv2l.index.validation import check_header, connect, damage
from chunkv2l.sanitize import MAX_TEXT, finite, number_range, plural

MAX_THUMBNAIL: Final = 1 << 20  # bytes
MAX_SEGMENTS: Final = 1_000_000
_GROUP: Final = re.compile("g(0|[1-9][0-9]{0,8})")


_ALL_ROWS: Final = (-(1 << 63), (1 << 63) - 1)


class IndexFile:
    """An index, opened for reading. Close it, or use it as a context manager."""

    def __init__(self, path: str | Path) -> None:
        """Open and check an index; segments are read, codes and thumbnails are read when asked for.

        Raises:
            InputError: it is missing, isn't an index, isn't complete, is from a newer version, or was tampered with.
        """
        self.path = Path(path)
        self._lock = threading.RLock()
        self._open = True
        version = check_header(self.path)
        with damage(self.path):
            self._connection = connect(self.path, version)
        try:
            with self._reading():
                self.meta = self._read_meta()
                self.segments: tuple[SegmentRow, ...] = self._read_segments()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._open = False
            self._connection.close()

    def __enter__(self) -> IndexFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.segments)

    # ---- what it holds

    def codes(self, ids: Sequence[Node] | None = None) -> Tensor:
        """The codes of some of the graph's nodes, or of all segments, unpacked: float32 [n, L, r, d].

        Args:
            ids: segments' numbers, and groups' names ("g0"), which stand for their chapters' own codes.

        Raises:
            InputError: neither a segment nor a group; a malformed code.
        """
        places = [("segments", i) for i in range(len(self))] if ids is None else [self._place(node) for node in ids]
        with self._reading():
            return self._codes(places)

    def keys(self) -> Tensor | None:
        """The learned keys, float32 [n, K], or None where the model has none.

        Raises:
            InputError: some are missing or malformed.
        """
        with self._reading():
            sizes = self._connection.execute("SELECT id, typeof(key), length(key) FROM segments ORDER BY id").fetchall()
            if all(kind == "null" for _, kind, _ in sizes):
                return None
            keys = [self._key(number, kind, size) for number, kind, size in sizes]
            if len({key.shape for key in keys}) != 1:
                raise Malformed("keys of different lengths")
            return torch.stack(keys)

    def thumbnail(self, number: int) -> bytes:
        """A segment's thumbnail, a JPEG.

        Raises:
            InputError: a number that isn't a segment; something that isn't a JPEG.
        """
        with self._reading():
            blob = self._blob("segments", "thumbnail", self._number(number), MAX_THUMBNAIL)
            if not blob.startswith(b"\xff\xd8\xff"):
                raise Malformed(f"the thumbnail of segment {number} isn't a JPEG")
            return blob

    def chapters(self) -> tuple[ChapterRow, ...]:
        """The chapters, in order; none where the index was built before there were any."""
        return self._chapters

    @cached_property
    def _chapters(self) -> tuple[ChapterRow, ...]:
        with self._reading():
            rows = self._connection.execute(
                "SELECT id, first, last FROM chapters ORDER BY id LIMIT ?", (len(self) + 1,)
            )
            return chapter_rows(rows, len(self))

    def chapter_codes(self) -> Tensor:
        """The chapters' own codes, float32 [c, L, r, d]."""
        places = [("chapters", chapter.id) for chapter in self.chapters()]
        with self._reading():
            return self._codes(places)

    def similar(self) -> tuple[tuple[int, int, float], ...]:
        """Pairs of segments that look alike: (a, b, cosine), a < b, ascending; none where the build noted none."""
        with self._reading():
            limit = MAX_SIMILAR * len(self) + 1
            rows = self._connection.execute("SELECT a, b, cosine FROM similar ORDER BY a, b LIMIT ?", (limit,))
            return similar_rows(rows, len(self))

    def subtitles(self) -> tuple[SubtitleRow, ...]:
        """The subtitles, in order; none where the build was given none."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT start, end, CASE WHEN length(text) <= ? THEN text END FROM subtitles ORDER BY id LIMIT ?",
                (MAX_TEXT, MAX_SEGMENTS),
            )
            return subtitle_rows(rows)

    def search(self, text: str, limit: int = 32, within: tuple[int, int] | None = None) -> list[tuple[int, float]]:
        """Search captions and subtitles for any of the words, best first.

        Args:
            text: the user's words; nothing in it is taken as query syntax.
            limit: number of segments that are returned at most.
            within: first and last segment to search, both included; None for all.

        Returns:
            (segment, score) pairs; the score is bm25 with its sign changed, so that more is better. Empty when nothing
            matches.
        """
        query = fts_query(text)
        if not query or limit < 1:
            return []
        with self._reading():
            rows = self._connection.execute(
                "SELECT rowid, bm25(words) FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? "
                "ORDER BY bm25(words), rowid LIMIT ?",
                (query, *(within or _ALL_ROWS), limit),
            ).fetchall()
            if any(not (isinstance(i, int) and 0 <= i < len(self) and finite(rank)) for i, rank in rows):
                raise Malformed("full-text entries of segments that don't exist")
            return [(i, -rank) for i, rank in rows]

    # ---- what it was made from

    def rebuild_command(self, model: str | None = None, hypernet: str | None = None) -> str:
        """The command that makes this index anew from its movie, and what to put in for the names in capitals in it.

        Args:
            model, hypernet: as `build` takes them, if not those that it was built with.
        """
        return rebuild(self.path, self.meta, model=model, hypernet=hypernet)

    def require_identity(
        self, identity: Mapping[str, Any], model: str | None = None, hypernet: str | None = None
    ) -> None:
        """Refuse to be read with another model than the one that made the codes.

        Args:
            identity: of a loaded model.
            model, hypernet: by what it was loaded, as `build` takes them; None where the index says it.

        Raises:
            InputError: names what differs and the exact command that rebuilds the index.
        """
        ours = dict(self.meta.identity)
        differing = sorted(key for key in ours.keys() | identity.keys() if ours.get(key) != identity.get(key))
        if differing:
            raise InputError(
                f"{self.path} was built with another model (it differs in {', '.join(differing)}), so its codes mean "
                f"nothing to this one. Rebuild it: {self.rebuild_command(model, hypernet)}"
            )

    # ---- reading and checking

    def _read_meta(self) -> Meta:
        meta = read_meta(self._connection)
        if meta.segments is None:
            raise Malformed("the build isn't complete")
        return meta

    def _read_segments(self) -> tuple[SegmentRow, ...]:
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0] * PAGE_SIZE
        count = self._connection.execute("SELECT count(*) FROM segments").fetchone()[0]
        if count != self.meta.segments or not 0 < count <= MAX_SEGMENTS:
            raise Malformed(f"it says that it has {plural(self.meta.segments or 0, 'segment')}, but has {count}")
        if count * self._form.bytes > pages:
            raise Malformed("it is too small for that many codes")
        rows = self._connection.execute(
            "SELECT id, start, end, CASE WHEN length(caption) <= :max THEN caption END, "
            "CASE WHEN length(speech) <= :max THEN speech END, mu FROM segments ORDER BY id",
            {"max": MAX_TEXT},
        )
        return segment_rows(rows)

    def _number(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise InputError(f"{self.path} has {number_range('segment', 0, len(self) - 1)}, not {number}.")
        return int(number)

    def _blob(self, table: str, column: str, number: int, most: int) -> bytes:
        row = self._connection.execute(
            f"SELECT typeof({column}), length({column}) FROM {table} WHERE id = ?", (number,)
        ).fetchone()
        if row is None or row[0] != "blob" or row[1] > most:
            raise Malformed(f"{_of(column, table, number)} is missing or too large")
        blob = self._connection.execute(f"SELECT {column} FROM {table} WHERE id = ?", (number,)).fetchone()[0]
        assert isinstance(blob, bytes)
        return blob

    def _place(self, node: Node) -> tuple[str, int]:
        """Table and number of a node of the graph."""
        if not isinstance(node, str):
            return "segments", self._number(node)
        match, count = _GROUP.fullmatch(node), len(self.chapters())
        if match is None or int(match[1]) >= count:
            has = f"groups g0 to g{count - 1}" if count else "no groups"
            raise InputError(f"{self.path} has {has}, not {node!r}.")
        return "chapters", int(match[1])

    @cached_property
    def _form(self) -> CodeForm:
        return CodeForm(self.meta.code_shape, self.meta.codes)

    def _codes(self, places: Sequence[tuple[str, int]]) -> Tensor:
        codes = torch.empty((len(places), *self.meta.code_shape))
        for row, (table, number) in zip(codes, places, strict=True):
            blob = self._blob(table, "code", number, self._form.bytes + HEADER_ROOM)
            row.copy_(self._form.read(blob, _of("code", table, number)))
        if not bool(torch.isfinite(codes.sum())):  # one pass for all; numbers of a code's size don't overflow it
            bad = next((i for i, row in enumerate(codes) if not math.isfinite(row.sum())), 0)
            raise Malformed(f"{_of('code', *places[bad])} has values that aren't numbers")
        return codes

    def _key(self, number: int, kind: str, size: int) -> Tensor:
        most = 4 * MAX_KEY + HEADER_ROOM
        if kind != "blob" or size > most:
            raise Malformed(f"the key of segment {number} is missing or too large")
        return read_key(self._blob("segments", "key", number, most), f"the key of segment {number}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The file for one thread at a time; what is wrong in it becomes a sentence."""
        with self._lock, damage(self.path):
            if not self._open:
                raise ChunkV2LError(f"{self.path} has been closed: open it again.")
            yield


def _of(column: str, table: str, number: int) -> str:
    """What a blob is, for a sentence: "the code of segment 3"."""
    return f"the {column} of {table[:-1]} {number}"
