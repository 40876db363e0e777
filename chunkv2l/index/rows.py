"""Check the rows of an index's tables and turn them into values: pure functions of what SQLite returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from chunkv2l.index.meta import MAX_SECONDS
from chunkv2l.index.schema import Malformed
from chunkv2l.sanitize import is_finite, is_line

MAX_TEXTS: Final = 1 << 26
"""Characters of all texts of a table."""
MAX_SIMILAR: Final = 8
"""Similar segments that a segment has at most: `indexing.chapters.NEAREST`."""
MIN_COSINE: Final = 1e-6
"""Cosine of the least similar pair: a build rounds to six decimals and stores those above 0."""
MAX_SCORE: Final = 1e6
"""Largest mean score, in nats."""
MAX_TAGS: Final = 8
"""Tags of a segment, at most."""
MAX_TAG: Final = 64
"""Characters of a tag's name, at most."""
_TOLERANCE: Final = 1e-6  # seconds between the end of a segment and the start of the next


@dataclass(frozen=True)
class SegmentRow:
    """A segment as the index stores it.

    Attributes:
        id: its number.
        start, end: [start, end) in seconds.
        caption: what the model says of it.
        speech: the subtitles spoken in it.
        mu: mean router score over fixed statements, in nats.
    """

    id: int
    start: float
    end: float
    caption: str
    speech: str = ""
    mu: float | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class ChapterRow:
    """A chapter: its number, and its first and last segment (both included)."""

    id: int
    first: int
    last: int


@dataclass(frozen=True)
class SubtitleRow:
    """A subtitle: [start, end) in seconds, and its text."""

    start: float
    end: float
    text: str


class TagRow(NamedTuple):
    """A tag of a segment: a classifier's name for what it shows, and its probability."""

    name: str
    p: float


def check_segments(rows: Iterable[Sequence[Any]], most: int = MAX_TEXTS) -> tuple[SegmentRow, ...]:
    """Check rows (id, start, end, caption, speech, mu): numbered from 0, without a gap in time.

    Args:
        rows: texts are None where they are too long.
        most: characters of all texts together, at most `MAX_TEXTS`; rows of a small file could share
            pages and say a lot.

    Raises:
        Malformed: what no build writes.
    """
    segments: list[SegmentRow] = []
    characters = 0
    for i, (number, start, end, caption, speech, mu) in enumerate(rows):
        if number != i:
            raise Malformed(f"segment {i} is missing")
        if not (is_finite(start) and is_finite(end) and start < end <= MAX_SECONDS):
            raise Malformed(f"segment {i} has a start or an end that can't be")
        if abs(start - (segments[-1].end if segments else 0.0)) > _TOLERANCE:
            raise Malformed(f"segment {i} doesn't start where the one before it ends")
        if not (is_line(caption) and is_line(speech)):
            raise Malformed(f"segment {i} has a caption that isn't a line of text, or one that is too long")
        characters += len(caption) + len(speech)
        if characters > min(most, MAX_TEXTS):
            raise Malformed("more text than there can be")
        if not (mu is None or (is_finite(mu) and abs(mu) <= MAX_SCORE)):
            raise Malformed(f"segment {i} has a mean score that isn't a number")
        segments.append(SegmentRow(number, float(start), float(end), caption, speech, mu))
    return tuple(segments)


def check_chapters(rows: Iterable[Sequence[Any]], segments: int) -> tuple[ChapterRow, ...]:
    """Check rows (id, first, last): none, or chapters that cover so many segments in order.

    Raises:
        Malformed: what no build writes.
    """
    chapters: list[ChapterRow] = []
    for i, values in enumerate(rows):
        if any(type(value) is not int for value in values):
            raise Malformed("chapters that don't follow each other")
        chapter = ChapterRow(*values)
        expected = chapters[-1].last + 1 if chapters else 0
        if not (chapter.id == i and chapter.first == expected <= chapter.last < segments):
            raise Malformed("chapters that don't follow each other")
        chapters.append(chapter)
    if chapters and chapters[-1].last != segments - 1:
        raise Malformed("chapters that don't cover the movie")
    return tuple(chapters)


def check_similar(rows: Iterable[Sequence[Any]], segments: int) -> tuple[tuple[int, int, float], ...]:
    """Check rows (a, b, cosine): pairs of similar segments, a < b, ascending, `MAX_SIMILAR` a segment.

    Raises:
        Malformed: what no build writes.
    """
    pairs: list[tuple[int, int, float]] = []
    degrees: Counter[int] = Counter()
    for a, b, cosine in rows:
        if type(a) is not int or type(b) is not int or not 0 <= a < b < segments:
            raise Malformed("similar segments that don't exist")
        if pairs and pairs[-1][:2] >= (a, b):
            raise Malformed("similar segments out of order")
        if not (is_finite(cosine) and MIN_COSINE <= cosine <= 1):
            raise Malformed("a similarity that is no cosine above 0")
        degrees[a] += 1
        degrees[b] += 1
        if degrees[a] > MAX_SIMILAR or degrees[b] > MAX_SIMILAR:
            raise Malformed("more similar segments than there can be")
        pairs.append((a, b, float(cosine)))
    return tuple(pairs)


def check_subtitles(rows: Iterable[Sequence[Any]], most: int = MAX_TEXTS) -> tuple[SubtitleRow, ...]:
    """Check rows (start, end, text), the text None where it is too long.

    Args:
        most: characters of all texts together, at most `MAX_TEXTS`.

    Raises:
        Malformed: what no build writes.
    """
    subtitles: list[SubtitleRow] = []
    characters = 0
    for start, end, text in rows:
        if not (is_finite(start) and is_finite(end) and start <= end <= MAX_SECONDS and is_line(text)):
            raise Malformed("a subtitle without times or a line of text")
        if subtitles and start < subtitles[-1].start:
            raise Malformed("subtitles out of order")
        characters += len(text)
        if characters > min(most, MAX_TEXTS):
            raise Malformed("more text than there can be")
        subtitles.append(SubtitleRow(start, end, text))
    return tuple(subtitles)


def check_tags(rows: Iterable[Sequence[Any]], segments: int) -> tuple[tuple[TagRow, ...], ...]:
    """Check rows (id, segment, name, p): numbered from 0, segment by segment, of each the likeliest first.

    Args:
        rows: names are None where they are too long.

    Returns:
        the tags of every segment.

    Raises:
        Malformed: what no build writes.
    """
    tags: list[list[TagRow]] = [[] for _ in range(segments)]
    last = 0
    for i, (number, segment, name, p) in enumerate(rows):
        if number != i or type(segment) is not int or not last <= segment < segments:
            raise Malformed("tags that don't follow each other")
        last, of_segment = segment, tags[segment]
        if not (is_line(name) and 0 < len(name) <= MAX_TAG):
            raise Malformed(f"segment {segment} has a tag that isn't a line of text, or one that is too long")
        if not (is_finite(p) and 0 < p <= (of_segment[-1].p if of_segment else 1)):
            raise Malformed(f"segment {segment} has a tag whose probability can't be")
        if len(of_segment) == MAX_TAGS or name in [tag.name for tag in of_segment]:
            raise Malformed(f"segment {segment} has more tags than there can be")
        of_segment.append(TagRow(name, float(p)))
    return tuple(tuple(of_segment) for of_segment in tags)
