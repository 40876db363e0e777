"""movie.idx, the read side: an index file may come from anywhere, so nothing in it is believed before it was checked.

Opened read-only, with `trusted_schema` off; its schema must be exactly ours; blobs are bounded before they are read and
tensors are parsed as safetensors only. This module knows bytes and tensors, not models. Threads may share an index:
they take turns at the file.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from chunkv2l.channels.cues import ChannelCue, Sentence
from chunkv2l.errors import InputError
from chunkv2l.files import local_path
from chunkv2l.graph import segment_graph
from chunkv2l.index.cue_rows import MAX_CUES, MAX_WORDS_JSON, check_cues, check_sentences
from chunkv2l.index.database import SIDECARS, Database, name_blob
from chunkv2l.index.fts import make_fts_query
from chunkv2l.index.meta import LISTENING, Meta, read_meta, rebuild_command
from chunkv2l.index.rows import (
    MAX_SIMILAR,
    MAX_TAG,
    MAX_TAGS,
    ChapterRow,
    SegmentRow,
    SubtitleRow,
    TagRow,
    check_chapters,
    check_segments,
    check_similar,
    check_subtitles,
    check_tags,
)
from chunkv2l.index.schema import MAX_SEGMENTS, READ_CUES, READ_TAGS, SCHEMA_VERSION, Malformed, add_missing_tables
from chunkv2l.index.tag_search import TagSearch
from chunkv2l.index.tensors import (
    HEADER_ROOM,
    MAX_COMPONENT,
    MAX_KEY,
    MAX_VALUE,
    CodeForm,
    find_outside,
    is_within,
    read_key,
    read_sentence_vector,
    stack_vectors,
)
from chunkv2l.index.thumbnail import MAX_THUMBNAIL, check_thumbnail
from chunkv2l.index.validation import check_header, check_schema, count_segments
from chunkv2l.sanitize import MAX_TEXT, is_finite, number_range, plural

if TYPE_CHECKING:
    import networkx as nx

logger = logging.getLogger(__name__)

MAX_SUBTITLES: Final = 200_000
MAX_KEYS: Final = 1 << 29  # bytes of all learned keys
_READ_AT_ONCE: Final = 16 << 20  # bytes of codes
_ALL_ROWS: Final = (-(1 << 63), (1 << 63) - 1)
_GROUP: Final = re.compile("g(0|[1-9][0-9]{0,8})")


class IndexFile:
    """An index, opened for reading. Close it, or use it as a context manager."""

    def __init__(self, path: str | Path, finished: bool = True) -> None:
        """Open and check an index; segments are read, codes and thumbnails are read when asked for.

        Args:
            finished: False for a complete .part that this process has locked, and that doesn't have its name yet.

        Raises:
            InputError: it is missing, isn't an index, isn't complete, is from a newer version, or was tampered with.
        """
        self.path = local_path(path, "index")
        version = check_header(self.path) if finished else SCHEMA_VERSION
        self._database = Database(self.path)
        try:
            with self._database.reading():
                check_schema(self._database.connection, version)
                if version < SCHEMA_VERSION:
                    add_missing_tables(self._database.connection, version)
                self._database.forbid_changes()
                self.meta = self._read_meta()
                if finished and LISTENING in self.meta.extra:
                    raise Malformed("a recogniser hasn't ended, as in an unfinished index")
                self._form = CodeForm(self.meta.code_shape, self.meta.codes)
                self._database.limit_values(max(self._form.bytes + HEADER_ROOM, 1 << 20))
                self.segments: tuple[SegmentRow, ...] = self._read_segments()
        except BaseException:
            self.close()
            raise
        for sidecar in self.sidecars() if finished else ():
            logger.warning("%s is no part of the index beside it, and isn't read.", sidecar)

    def sidecars(self) -> list[Path]:
        """Return the files beside the index that SQLite would take for its journal or log; they aren't read."""
        paths = [self.path.with_name(self.path.name + ending) for ending in SIDECARS]
        return [path for path in paths if os.path.lexists(path)]

    def check_structure(self) -> list[str]:
        """Return a few of the faults that SQLite finds in its pages; none in a sound file."""
        return self._database.check_structure(most=3, quick=True)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> IndexFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.segments)

    # ---- tables

    def codes(self, nodes: Sequence[int | str] | None = None) -> Tensor:
        """Return the codes of some of the graph's nodes, or of all segments, unpacked: float32 [n, L, r, d].

        Args:
            nodes: segments' numbers, and groups' names ("g0"), which stand for their chapters' own codes.

        Raises:
            InputError: neither a segment nor a group; a malformed code.
        """
        if nodes is None:
            return self._read_codes([("segments", number) for number in range(len(self))])
        return self._read_codes([self._locate(node) for node in nodes])

    def keys(self) -> Tensor | None:
        """Return the learned keys, float32 [n, K], or None where the model has none.

        Raises:
            InputError: some are missing or malformed.
        """
        with self._database.reading():
            sizes = self._database.execute(
                "SELECT id, typeof(key), length(key) FROM segments ORDER BY id LIMIT ?", (len(self),)
            ).fetchall()
            if all(storage == "null" for _, storage, _ in sizes):
                return None
            most = 4 * MAX_KEY + HEADER_ROOM
            for number, storage, size in sizes:
                if storage != "blob" or size > most:
                    raise Malformed(f"the key of segment {number} is missing or too large")
            if sum(size for *_, size in sizes) > min(self._database.bytes, MAX_KEYS):
                raise Malformed("it is too small for that many keys")
            rows = self._database.execute("SELECT key FROM segments ORDER BY id LIMIT ?", (len(self),))
            return _stack(rows, len(self), read_key, partial(name_blob, "segments", "key"), MAX_VALUE)

    def thumbnail(self, number: int) -> bytes:
        """Return a segment's thumbnail, a small baseline JPEG.

        Raises:
            InputError: a number that isn't a segment; something that isn't such a picture.
        """
        with self._database.reading():
            blob = self._database.read_blob("segments", "thumbnail", self._check_number(number), MAX_THUMBNAIL)
            check_thumbnail(blob, name_blob("segments", "thumbnail", number))
            return blob

    def chapters(self) -> tuple[ChapterRow, ...]:
        """Return the chapters, in order; none where the index was built before there were any."""
        return self._chapters

    @cached_property
    def _chapters(self) -> tuple[ChapterRow, ...]:
        with self._database.reading():
            rows = self._database.execute("SELECT id, first, last FROM chapters ORDER BY id LIMIT ?", (len(self) + 1,))
            return check_chapters(rows, len(self))

    def graph(self) -> nx.DiGraph:
        """Return the segment graph, frozen."""
        return segment_graph(self.segments, self.similar(), self.chapters())

    def chapter_codes(self) -> Tensor:
        """Return the chapters' own codes, float32 [c, L, r, d]."""
        return self._read_codes([("chapters", chapter.id) for chapter in self.chapters()])

    def similar(self) -> tuple[tuple[int, int, float], ...]:
        """Return pairs of similar segments: (a, b, cosine), a < b, ascending; none where the build noted none."""
        with self._database.reading():
            limit = MAX_SIMILAR * len(self) // 2 + 1
            rows = self._database.execute("SELECT a, b, cosine FROM similar ORDER BY a, b LIMIT ?", (limit,))
            return check_similar(rows, len(self))

    def subtitles(self) -> tuple[SubtitleRow, ...]:
        """Return the text that was given, in order; none where the build was given none."""
        return tuple(SubtitleRow(cue.start, cue.end, cue.text) for cue in self.cues() if cue.source == "given")

    def cues(self) -> tuple[ChannelCue, ...]:
        """Return what is said and written, each source's cues in order; subtitles of earlier versions are given."""
        return self._cues

    @cached_property
    def _cues(self) -> tuple[ChannelCue, ...]:
        with self._database.reading():
            values = {"text": MAX_TEXT, "words": MAX_WORDS_JSON, "count": MAX_CUES}
            rows = self._database.execute(READ_CUES, values)
            cues = check_cues(rows, self._database.bytes)
        subtitles = (ChannelCue(row.start, row.end, row.text, "given") for row in self._read_subtitles())
        return (*subtitles, *cues)

    def sentences(self) -> tuple[Sentence, ...]:
        """Return the sentences that questions are compared with, in order of time; none in indexes without cues."""
        return self._sentences

    @cached_property
    def _sentences(self) -> tuple[Sentence, ...]:
        with self._database.reading():
            rows = self._database.execute(
                "SELECT id, start, end, CASE WHEN length(text) <= ? THEN text END, source "
                "FROM sentences ORDER BY id LIMIT ?",
                (MAX_TEXT, MAX_CUES),
            )
            return check_sentences(rows, self._database.bytes)

    def sentence_vectors(self) -> Tensor | None:
        """Return the sentences' vectors, float32 [n, D], or None where the build had no sentence encoder.

        Raises:
            InputError: some are missing or malformed.
        """
        count, most = len(self.sentences()), 2 * MAX_KEY + HEADER_ROOM
        with self._database.reading():
            sizes = self._database.execute(
                "SELECT length(vector) FROM sentences WHERE vector IS NOT NULL ORDER BY id LIMIT ?", (count,)
            ).fetchall()
            if not sizes:
                return None
            if sum(min(size, most) for (size,) in sizes) > self._database.bytes:
                raise Malformed("it is too small for that many sentences' vectors")
            rows = self._database.execute(
                "SELECT CASE WHEN length(vector) <= ? THEN vector END FROM sentences ORDER BY id LIMIT ?", (most, count)
            )
            return _stack(rows, count, read_sentence_vector, partial(name_blob, "sentences", "vector"), MAX_COMPONENT)

    def _read_subtitles(self) -> tuple[SubtitleRow, ...]:
        """Return the table `subtitles`, which earlier versions filled."""
        with self._database.reading():
            rows = self._database.execute(
                "SELECT start, end, CASE WHEN length(text) <= ? THEN text END FROM subtitles ORDER BY id LIMIT ?",
                (MAX_TEXT, MAX_SUBTITLES),
            )
            return check_subtitles(rows, self._database.bytes)

    def tags(self) -> tuple[tuple[TagRow, ...], ...]:
        """Return each segment's tags, the likeliest first; none where the model has no classifier."""
        return self._tags

    @cached_property
    def _tags(self) -> tuple[tuple[TagRow, ...], ...]:
        with self._database.reading():
            values = {"max": MAX_TAG, "count": MAX_TAGS * len(self) + 1}
            rows = self._database.execute(READ_TAGS, values).fetchall()  # only SQLite's time is limited
            return check_tags(rows, len(self))

    @cached_property
    def _tag_search(self) -> TagSearch:
        return TagSearch(self.tags())

    def search(self, text: str, limit: int = 32, within: tuple[int, int] | None = None) -> list[tuple[int, float]]:
        """Search captions, subtitles and tags for any of the words, best first.

        Args:
            text: the user's words; nothing in it is taken as query syntax.
            limit: number of segments that are returned at most.
            within: first and last segment to search, both included; None for all.

        Returns:
            (segment, score) pairs; the score is bm25 with its sign changed, so that more is better, and what
            `TagSearch` adds. Empty when nothing matches.
        """
        query = make_fts_query(text)
        if not query or limit < 1:
            return []
        with self._database.reading():
            rows = self._database.execute(
                "SELECT rowid, bm25(words) FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? "
                "ORDER BY bm25(words), rowid LIMIT ?",
                (query, *(within or _ALL_ROWS), limit),
            ).fetchall()
            if any(not (isinstance(i, int) and 0 <= i < len(self) and is_finite(rank)) for i, rank in rows):
                raise Malformed("full-text entries of segments that don't exist")
        relevance = {i: -rank for i, rank in rows}
        first, last = within or _ALL_ROWS
        for i, more in self._tag_search(query).items():
            if first <= i <= last:
                relevance[i] = relevance.get(i, 0.0) + more
        return sorted(relevance.items(), key=lambda item: (-item[1], item[0]))[:limit]

    # ---- origin

    def rebuild_command(self, model: str | None = None, hypernet: str | None = None) -> str:
        """Return the command that makes this index anew, and what to put in for the names in capitals in it.

        Args:
            model, hypernet: as `build` takes them, if not those that it was built with.
        """
        return rebuild_command(self.path, self.meta, model=model, hypernet=hypernet)

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
        meta = read_meta(self._database)
        if meta.segments is None:
            raise Malformed("the build isn't complete")
        return meta

    def _read_segments(self) -> tuple[SegmentRow, ...]:
        count = count_segments(self._database)
        if count != self.meta.segments or not 0 < count <= MAX_SEGMENTS:
            raise Malformed(f"it says that it has {plural(self.meta.segments or 0, 'segment')}, but has {count}")
        if count * self._form.bytes > self._database.bytes:
            raise Malformed("it is too small for that many codes")
        rows = self._database.execute(
            "SELECT id, start, end, CASE WHEN length(caption) <= :max THEN caption END, "
            "CASE WHEN length(speech) <= :max THEN speech END, mu FROM segments ORDER BY id LIMIT :count",
            {"max": MAX_TEXT, "count": count},
        )
        return check_segments(rows, self._database.bytes)

    def _check_number(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise InputError(f"{self.path} has {number_range('segment', 0, len(self) - 1)}, not {number}.")
        return int(number)

    def _locate(self, node: int | str) -> tuple[str, int]:
        """Return table and number of a node of the graph."""
        if not isinstance(node, str):
            return "segments", self._check_number(node)
        match, count = _GROUP.fullmatch(node), len(self.chapters())
        if match is None or int(match[1]) >= count:
            has = f"groups g0 to g{count - 1}" if count else "no groups"
            raise InputError(f"{self.path} has {has}, not {node!r}.")
        return "chapters", int(match[1])

    def _read_codes(self, places: Sequence[tuple[str, int]]) -> Tensor:
        """Return the codes of rows, (table, number) each. A few a reading: all of them may take long."""
        codes = torch.empty((len(places), *self.meta.code_shape))
        rows = codes.numpy()
        at_once = max(1, _READ_AT_ONCE // self._form.bytes)
        for begin in range(0, len(places), at_once):
            with self._database.reading():
                for i, (table, number) in enumerate(places[begin : begin + at_once], begin):
                    blob = self._database.read_blob(table, "code", number, self._form.bytes + HEADER_ROOM)
                    rows[i] = self._form.read(blob, name_blob(table, "code", number))
        with self._database.reading():
            if not is_within(codes):
                bad = next(i for i, row in enumerate(codes) if not is_within(row))
                raise Malformed(f"{name_blob(places[bad][0], 'code', places[bad][1])} has values that aren't numbers")
        return codes


def _stack(
    rows: Iterable[tuple[object]],
    count: int,
    read: Callable[[bytes, str], Tensor],
    name: Callable[[int], str],
    most: float,
) -> Tensor:
    """Return the vectors that rows hold, float32 [count, D].

    Args:
        read: returns the vector of a blob, which the second argument names.
        name: of the vector of a row.
        most: the largest number in them.

    Raises:
        Malformed: some are missing or malformed.
    """

    def read_row(blob: object, number: int) -> Tensor:
        if not isinstance(blob, bytes):
            raise Malformed(f"{name(number)} is missing or too large")
        return read(blob, name(number))

    vectors = stack_vectors((blob for (blob,) in rows), count, read_row)
    if (number := find_outside(vectors, most)) is not None:
        raise Malformed(f"{name(number)} has values that aren't numbers, or too large")
    return vectors
