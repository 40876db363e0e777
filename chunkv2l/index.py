"""movie.idx, the read side: an index file may come from anywhere, so nothing in it is believed before it was checked.

Opened read-only, with `trusted_schema` off; its schema must be exactly ours; blobs are bounded before they are read and
tensors are parsed as safetensors only. This module knows bytes and tensors, not models. Threads may share an index:
they take turns at the file.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from chunkv2l import codes as packing
from chunkv2l.checks import check_header, connect, damage
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.meta import Malformed, Meta, read_meta, rebuild
from chunkv2l.rows import MAX_TEXT, ChapterRow, SegmentRow, SubtitleRow, chapter_rows, segment_rows, subtitle_rows
from chunkv2l.schema import PAGE_SIZE
from chunkv2l.values import finite
from chunkv2l.words import fts_query

MAX_THUMBNAIL: Final = 1 << 20  # bytes
MAX_SEGMENTS: Final = 1_000_000
MAX_KEY: Final = 1 << 16  # numbers in one learned key
HEADER_ROOM: Final = 1 << 12  # bytes of a safetensors header


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

    def codes(self, ids: Sequence[int] | None = None) -> Tensor:
        """The codes of some segments, or of all, unpacked: float32 [n, L, r, d].

        Raises:
            InputError: a number that isn't a segment; a malformed code.
        """
        numbers = range(len(self)) if ids is None else [self._number(i) for i in ids]
        with self._reading():
            return self._codes("segments", numbers)

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
        """The chapters, in order; none where the build made none."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT id, first, last FROM chapters ORDER BY id LIMIT ?", (len(self) + 1,)
            )
            return chapter_rows(rows, len(self))

    def chapter_codes(self) -> Tensor:
        """The chapters' own codes, float32 [c, L, r, d]."""
        chapters = self.chapters()
        with self._reading():
            return self._codes("chapters", [chapter.id for chapter in chapters])

    def subtitles(self) -> tuple[SubtitleRow, ...]:
        """The subtitles, in order; none where the build was given none."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT start, end, CASE WHEN length(text) <= ? THEN text END FROM subtitles ORDER BY id LIMIT ?",
                (MAX_TEXT, MAX_SEGMENTS),
            )
            return subtitle_rows(rows)

    def search(self, text: str, limit: int = 32) -> list[tuple[int, float]]:
        """Full-text search over captions and subtitles: any of the words, best first.

        Args:
            text: the user's words; nothing in it is taken as query syntax.

        Returns:
            (segment, score) pairs; the score is bm25 turned round, so that more is better. Empty when nothing matches.
        """
        query = fts_query(text)
        if not query or limit < 1:
            return []
        with self._reading():
            rows = self._connection.execute(
                "SELECT rowid, bm25(words) FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid LIMIT ?",
                (query, limit),
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
            raise Malformed(f"it says that it has {self.meta.segments} segments, but has {count}")
        if count * self.code_bytes > pages:
            raise Malformed("it is too small for that many codes")
        rows = self._connection.execute(
            "SELECT id, start, end, CASE WHEN length(caption) <= :max THEN caption END, "
            "CASE WHEN length(speech) <= :max THEN speech END, mu FROM segments ORDER BY id",
            {"max": MAX_TEXT},
        )
        return segment_rows(rows)

    def _number(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise InputError(f"{self.path} has segments 0 to {len(self) - 1}, not {number}.")
        return int(number)

    def _blob(self, table: str, column: str, number: int, most: int) -> bytes:
        row = self._connection.execute(
            f"SELECT typeof({column}), length({column}) FROM {table} WHERE id = ?", (number,)
        ).fetchone()
        if row is None or row[0] != "blob" or row[1] > most:
            raise Malformed(f"the {column} of {table[:-1]} {number} is missing or too large")
        blob = self._connection.execute(f"SELECT {column} FROM {table} WHERE id = ?", (number,)).fetchone()[0]
        assert isinstance(blob, bytes)
        return blob

    @cached_property
    def _layout(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Names, types and shapes that every packed code has."""
        return _layout(packing.pack(torch.ones(self.meta.code_shape), self.meta.codes))

    @cached_property
    def code_bytes(self) -> int:
        """How many bytes the numbers of one stored code take."""
        return sum(kind.itemsize * math.prod(shape) for kind, shape in self._layout.values())

    def _codes(self, table: str, numbers: Sequence[int]) -> Tensor:
        codes = torch.empty((len(numbers), *self.meta.code_shape))
        for row, number in zip(codes, numbers, strict=True):
            what = f"the code of {table[:-1]} {number}"
            packed = _load_tensors(self._blob(table, "code", number, self.code_bytes + HEADER_ROOM), what)
            if _layout(packed) != self._layout:
                raise Malformed(f"{what} isn't {self.meta.codes} {list(self.meta.code_shape)}")
            row.copy_(packing.unpack(packed))
        if not bool(torch.isfinite(codes.sum())):  # one pass for all; numbers of a code's size don't overflow it
            bad = next((n for row, n in zip(codes, numbers, strict=True) if not math.isfinite(row.sum())), numbers[0])
            raise Malformed(f"the code of {table[:-1]} {bad} has values that aren't numbers")
        return codes

    def _key(self, number: int, kind: str, size: int) -> Tensor:
        if kind != "blob" or size > 4 * MAX_KEY + HEADER_ROOM:
            raise Malformed(f"the key of segment {number} is missing or too large")
        blob = self._blob("segments", "key", number, 4 * MAX_KEY + HEADER_ROOM)
        tensors = _load_tensors(blob, f"the key of segment {number}")
        key = tensors.get("key")
        if key is None or len(tensors) != 1 or key.dim() != 1 or key.dtype not in (torch.float32, torch.float16):
            raise Malformed(f"the key of segment {number} isn't a vector")
        if not bool(torch.isfinite(key).all()):
            raise Malformed(f"the key of segment {number} has values that aren't numbers")
        return key.float()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The file for one thread at a time; what is wrong in it becomes a sentence."""
        with self._lock, damage(self.path):
            if not self._open:
                raise ChunkV2LError(f"{self.path} has been closed: open it again.")
            yield


def _load_tensors(blob: bytes, what: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(blob)
    except (SafetensorError, KeyError, ValueError) as error:
        raise Malformed(f"{what} can't be read ({error})") from error
    return tensors


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
