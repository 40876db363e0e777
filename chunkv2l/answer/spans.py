"""From scores of segments to spans of time, best first. Pure functions; no torch here."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chunkv2l.timecode import Timed

MERGE_SHARE = 0.5
MERGE_LEAST = 0.1


@dataclass(frozen=True)
class Span:
    """A stretch of the movie, [start, end) in seconds: consecutive segments and the sum of their scores."""

    start: float
    end: float
    score: float
    segments: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "segments": list(self.segments)}


def ranked(
    segments: Sequence[Timed], order: Sequence[int], scores: Mapping[int, float], most: int = 10
) -> tuple[Span, ...]:
    """Spans in the order of their best segments, neighbours merged where both score well.

    Whether a neighbour b of the best segment a belongs to the moment is judged by m = p_b / p_a: if the moment covers
    both, the router scores both about alike. Were the moment a alone, with probability 1 − m, answering a ∪ b would
    still reach IoU ≥ .5 if b isn't longer than a; were it a ∪ b, with probability m, answering a alone would. In every
    other case the better guess is a ∪ b if and only if m > 1/2, so that is the rule. Below MERGE_LEAST nothing is
    merged: where the router has no opinion, all segments score alike.

    Args:
        segments: all of the movie's, in order of time.
        order: segment numbers, best first; only these appear.
        scores: p of each segment (docs/algorithm.md, step 23); a span's score is the sum of its segments'.
        most: spans returned at most.
    """
    free = set(order)
    spans: list[Span] = []
    for seed in order:
        if seed not in free:
            continue
        first, last = grow_span(seed, free, scores)
        free.difference_update(range(first, last + 1))
        spans.append(_span(segments, first, last, scores))
        if len(spans) == most:
            break
    return tuple(spans)


def grow_span(seed: int, free: Container[int], scores: Mapping[int, float]) -> tuple[int, int]:
    """The first and last segment of the moment around a seed, by the rule of `ranked`.

    Args:
        free: the segments that may belong to it.
    """
    least = max(MERGE_LEAST, MERGE_SHARE * scores.get(seed, 0.0))
    first = last = seed
    if scores.get(seed, 0.0) >= MERGE_LEAST:
        while first - 1 in free and scores.get(first - 1, 0.0) > least:
            first -= 1
        while last + 1 in free and scores.get(last + 1, 0.0) > least:
            last += 1
    return first, last


def separate_spans(segments: Sequence[Timed], scores: Mapping[int, float]) -> tuple[Span, ...]:
    """Every segment a span of its own, best first."""
    order = sorted(scores, key=lambda number: (-scores[number], number))
    return tuple(_span(segments, number, number, scores) for number in order)


def join_adjacent(segments: Sequence[Timed], numbers: Sequence[int], scores: Mapping[int, float]) -> tuple[Span, ...]:
    """Where an answer came from: segments as spans, consecutive ones joined whatever they score; best first."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    spans = [_span(segments, run[0], run[-1], scores) for run in runs]
    return tuple(sorted(spans, key=lambda span: (-span.score, span.start)))


def _span(segments: Sequence[Timed], first: int, last: int, scores: Mapping[int, float]) -> Span:
    numbers = tuple(range(first, last + 1))
    return Span(segments[first].start, segments[last].end, sum(scores.get(n, 0.0) for n in numbers), numbers)
