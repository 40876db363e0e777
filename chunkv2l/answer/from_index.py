"""Answers that the index gives without a model: the movie's length, and a time range that is asked for as such."""

from __future__ import annotations

from collections.abc import Sequence

from chunkv2l.answer.spans import Span, say_spans
from chunkv2l.graph import INSTANT, movie_of
from chunkv2l.query.parse import Parsed
from chunkv2l.query.restriction import Intervals
from chunkv2l.sanitize import plural
from chunkv2l.timecode import Interval, Timed, clock


def answer_from_index(
    parsed: Parsed, segments: Sequence[Timed], intervals: Intervals | None, chapters: Sequence[Interval]
) -> tuple[str, tuple[Span, ...]] | None:
    """Return the answer's text and spans; None where the model has to be asked.

    "Show me the first minute" is that minute. A point in time is the segment that it falls into.

    Args:
        segments: all of the movie's, in order of time.
        intervals: of the time range that the question names.
        chapters: the intervals of all of the movie's, in order of time; seconds.
    """
    if parsed.fact == "chapters":
        count = plural(len(chapters), "chapter") if chapters else "no chapters"
        return f"The video has {count}.", tuple(_span_between(segments, *chapter) for chapter in chapters)
    whole = {"": ((segments[0].start, segments[-1].end),)}
    parts = [part for movie_parts in (intervals or whole).values() for part in movie_parts]
    (start, _), (_, end) = parts[0], parts[-1]
    if parsed.fact == "length":
        spans = tuple(_span_between(segments, *part) for part in parts)
        return clock(sum(part_end - part_start for part_start, part_end in parts)), spans
    if parsed.fact == "start":
        return clock(start), (_span_between(segments, start, start),)
    if parsed.fact == "end":
        return clock(end), (_span_between(segments, end, end),)
    if intervals is None or not parsed.asks_for_range:
        return None
    spans = tuple(_span_between(segments, *part) for part in parts)
    return say_spans(spans), spans


def describe_unread(unread: Sequence[str], restricted: bool) -> tuple[str, ...]:
    """Return a sentence for each time that a question names and that was not understood.

    Args:
        restricted: another time of the question was.
    """
    effect = "it was not used" if restricted else "the whole video was searched"
    return tuple(
        f'"{time}" was not understood as a time of this video, so {effect}. Times are written like '
        '"at 2:15", "between 1:00 and 2:30", "in the first ten minutes" or "in the second half".'
        for time in unread
    )


def _span_between(segments: Sequence[Timed], start: float, end: float) -> Span:
    """Return [start, end) as a span of score 1; of one point, the segment that it falls into."""
    last = len(segments) - 1
    numbers = [i for i in range(last + 1) if segments[i].start < max(end, start + INSTANT) and segments[i].end > start]
    numbers = numbers or [last]
    movie = movie_of(segments[numbers[0]])
    if end <= start:
        return Span(segments[numbers[0]].start, segments[numbers[0]].end, 1.0, tuple(numbers[:1]), movie=movie)
    return Span(start, end, 1.0, tuple(numbers), movie=movie)
