"""Turn scores of segments into spans of time, best first. Pure functions; no torch here."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from chunkv2l.channels.cues import Channel
from chunkv2l.graph import movie_of
from chunkv2l.timecode import Timed, between

MERGE_SHARE: Final = 0.5
"""A neighbour belongs to a moment if its p is more than this share of the best segment's."""
MERGE_MIN: Final = 0.1
"""Least p of segments that are merged."""

MOST_LISTED: Final = 12
"""Spans that an answer lists in words."""


@dataclass(frozen=True)
class Span:
    """An interval as an answer: [start, end) in seconds, of consecutive segments or of a sentence.

    Attributes:
        score: the probability that it is the answer; of segments, the sum of theirs.
        segments: that it consists of, or that a sentence overlaps.
        channels: by which it was found; none named where the index has only what is seen.
        text: what is said or written there, "" for what is seen.
        movie: in an answer over a library, the movie's name; "" where there is one movie.
    """

    start: float
    end: float
    score: float
    segments: tuple[int, ...]
    channels: tuple[Channel, ...] = ()
    text: str = ""
    movie: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the span as JSON has it; "channels", "text" and "movie" are there only where there are some."""
        values: dict[str, Any] = {**asdict(self), "segments": list(self.segments), "channels": list(self.channels)}
        return {key: value for key, value in values.items() if value or key not in ("channels", "text", "movie")}

    def describe(self) -> str:
        """Return the interval in words, with the movie's name if it has one: "from 0:42 to 0:58 of beach.mp4"."""
        return f"{between(self)} of {self.movie}" if self.movie else between(self)


def rank_spans(
    segments: Sequence[Timed], order: Sequence[int], scores: Mapping[int, float], limit: int = 10
) -> tuple[Span, ...]:
    """Return spans in the order of their best segments, with neighbours merged where both score well.

    Let a be a moment's best segment, b its neighbour and m = p_b / p_a. If the moment covers both, the router scores
    both about alike, so m is taken as the probability that it does. If it is a alone (1 − m), answering a ∪ b still
    reaches IoU ≥ .5 as long as b isn't longer than a; if it is a ∪ b (m), answering a alone does. In all other cases
    a ∪ b is the better guess if and only if m > 1/2. Below MERGE_MIN nothing is merged: where the router can't tell
    segments apart, all of them score alike.

    Args:
        segments: all of the movie's, in order of time.
        order: segment numbers, best first; only these appear.
        scores: p of each segment (docs/algorithm.md, step 23); a span's score is the sum of its segments'.
        limit: number of spans returned at most.
    """
    free = set(order)
    spans: list[Span] = []
    for seed in order:
        if seed not in free:
            continue
        first, last = grow_span(seed, free, scores)
        free.difference_update(range(first, last + 1))
        spans.append(_make_span(segments, first, last, scores))
        if len(spans) == limit:
            break
    return tuple(spans)


def grow_span(seed: int, free: Container[int], scores: Mapping[int, float]) -> tuple[int, int]:
    """Return the first and last segment of the moment around a seed, by the rule of `rank_spans`.

    Args:
        free: the segments that may belong to it.
    """
    threshold = max(MERGE_MIN, MERGE_SHARE * scores.get(seed, 0.0))
    first = last = seed
    if scores.get(seed, 0.0) >= MERGE_MIN:
        while first - 1 in free and scores.get(first - 1, 0.0) > threshold:
            first -= 1
        while last + 1 in free and scores.get(last + 1, 0.0) > threshold:
            last += 1
    return first, last


def separate_spans(segments: Sequence[Timed], scores: Mapping[int, float]) -> tuple[Span, ...]:
    """Return every scored segment as a span by itself, best first."""
    order = sorted(scores, key=lambda number: (-scores[number], number))
    return tuple(_make_span(segments, number, number, scores) for number in order)


def join_adjacent(segments: Sequence[Timed], numbers: Sequence[int], scores: Mapping[int, float]) -> tuple[Span, ...]:
    """Return segments as spans, best first, with consecutive ones joined whatever they score."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    spans = [_make_span(segments, run[0], run[-1], scores) for run in runs]
    return tuple(sorted(spans, key=lambda span: (-span.score, span.start)))


def spans_without(segments: Sequence[Timed], numbers: Sequence[int], scores: Mapping[int, float]) -> tuple[Span, ...]:
    """Return the spans of segments that don't show something, in order of time.

    Args:
        numbers: the segments that don't show it.
        scores: p of each segment; a span's score is the probability that none of its segments is the one.
    """
    spans = join_adjacent(segments, numbers, scores)
    without = (replace(span, score=max(0.0, 1.0 - span.score)) for span in spans)
    return tuple(sorted(without, key=lambda span: (span.movie, span.start)))


def list_spans(spans: Sequence[Span]) -> str:
    """Return spans in words, in the order given: "from 0:00 to 0:16 and from 0:40 to 1:00"; of many, the first ones."""
    times = [span.describe() for span in spans[:MOST_LISTED]]
    if len(spans) > MOST_LISTED:
        times.append(f"{len(spans) - MOST_LISTED} more")
    return times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"


def say_spans(spans: Sequence[Span]) -> str:
    """Return spans as an answer in words, in the order given."""
    listed = list_spans(spans)
    return f"{listed[:1].upper()}{listed[1:]}."


def _make_span(segments: Sequence[Timed], first: int, last: int, scores: Mapping[int, float]) -> Span:
    numbers = tuple(range(first, last + 1))
    score, movie = sum(scores.get(n, 0.0) for n in numbers), movie_of(segments[first])
    return Span(segments[first].start, segments[last].end, score, numbers, movie=movie)
