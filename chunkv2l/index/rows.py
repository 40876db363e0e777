"""What the tables of an index hold, row by row, checked: pure functions from what SQLite gives to values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chunkv2l.index.schema import Malformed
from chunkv2l.sanitize import finite, is_line

MAX_TEXTS: Final = 1 << 26  # characters of all of them: overlapping pages could make a small file say a lot
MAX_SIMILAR: Final = 64  # pairs of similar segments for each segment


@dataclass(frozen=True)
class SegmentRow:
    """A segment as the index holds it: number, [start, end) in seconds, caption, the subtitles spoken in it, and μ."""

    id: int
    start: float
    end: float
    caption: str
    speech: str = ""
    mu: float | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class ChapterRow:
    """A chapter: number, and its first and last segment (both included)."""

    id: int
    first: int
    last: int


@dataclass(frozen=True)
class SubtitleRow:
    """A subtitle: [start, end) in seconds, text."""

    start: float
    end: float
    text: str


def segment_rows(rows: Iterable[Sequence[Any]]) -> tuple[SegmentRow, ...]:
    """Rows (id, start, end, caption, speech, mu), texts None where they are too long: numbered from 0, no gap in time.

    Raises:
        Malformed: what no build writes.
    """
    found: list[SegmentRow] = []
    texts = 0
    for i, (number, start, end, caption, speech, mu) in enumerate(rows):
        if number != i:
            raise Malformed(f"segment {i} is missing")
        if not (finite(start) and finite(end) and start < end):
            raise Malformed(f"segment {i} has no times")
        if abs(start - (found[-1].end if found else 0.0)) > 1e-6:
            raise Malformed(f"segment {i} doesn't start where the one before it ends")
        if not (is_line(caption) and is_line(speech)):
            raise Malformed(f"segment {i} has a caption that isn't a line of text, or one that is too long")
        texts += len(caption) + len(speech)
        if texts > MAX_TEXTS:
            raise Malformed("more text than there can be")
        if not (mu is None or finite(mu)):
            raise Malformed(f"segment {i} has a mean score that isn't a number")
        found.append(SegmentRow(number, float(start), float(end), caption, speech, mu))
    return tuple(found)


def chapter_rows(rows: Iterable[Sequence[Any]], segments: int) -> tuple[ChapterRow, ...]:
    """Rows (id, first, last): none, or chapters that cover so many segments in order.

    Raises:
        Malformed: what no build writes.
    """
    found: list[ChapterRow] = []
    for i, values in enumerate(rows):
        if any(type(value) is not int for value in values):
            raise Malformed("chapters that don't follow each other")
        chapter = ChapterRow(*values)
        expected = found[-1].last + 1 if found else 0
        if not (chapter.id == i and chapter.first == expected <= chapter.last < segments):
            raise Malformed("chapters that don't follow each other")
        found.append(chapter)
    if found and found[-1].last != segments - 1:
        raise Malformed("chapters that don't cover the movie")
    return tuple(found)


def similar_rows(rows: Iterable[Sequence[Any]], segments: int) -> tuple[tuple[int, int, float], ...]:
    """Rows (a, b, cosine): pairs of segments that look alike, a < b, ascending.

    Raises:
        Malformed: what no build writes.
    """
    found: list[tuple[int, int, float]] = []
    for a, b, cosine in rows:
        if type(a) is not int or type(b) is not int or not 0 <= a < b < segments:
            raise Malformed("similar segments that don't exist")
        if found and found[-1][:2] >= (a, b):
            raise Malformed("similar segments out of order")
        if not (finite(cosine) and 0 < cosine <= 1):
            raise Malformed("a similarity that is no cosine above 0")
        found.append((a, b, float(cosine)))
    if len(found) > MAX_SIMILAR * segments:
        raise Malformed("more similar segments than there can be")
    return tuple(found)


def subtitle_rows(rows: Iterable[Sequence[Any]]) -> tuple[SubtitleRow, ...]:
    """Rows (start, end, text), the text None where it is too long.

    Raises:
        Malformed: what no build writes.
    """
    found: list[SubtitleRow] = []
    texts = 0
    for start, end, text in rows:
        if not (finite(start) and finite(end) and start <= end and is_line(text)):
            raise Malformed("a subtitle without times or a line of text")
        if found and start < found[-1].start:
            raise Malformed("subtitles out of order")
        texts += len(text)
        if texts > MAX_TEXTS:
            raise Malformed("more text than there can be")
        found.append(SubtitleRow(start, end, text))
    return tuple(found)
