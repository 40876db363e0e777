"""Restrict the segment graph to the time range that a question names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from chunkv2l.errors import NothingFound
from chunkv2l.graph import INSTANT, Node, groups, movies, select_intervals
from chunkv2l.query.relations import Relation
from chunkv2l.query.time_ranges import Restriction, Timeline, TimeRange
from chunkv2l.timecode import Interval, clock, join_intervals, subtract_intervals

if TYPE_CHECKING:
    import networkx as nx

Intervals: TypeAlias = Mapping[str, tuple[Interval, ...]]
"""The intervals of each movie (of "" outside of a library) that a question is about, in order; seconds."""

SHORTEST: Final = 0.1
"""Seconds at a movie's end that count as nothing: "after 6:45" in a movie of 6:45.01."""


def restrict_graph(graph: nx.DiGraph, relation: Relation | None) -> tuple[nx.DiGraph, Intervals | None]:
    """Return the part of the segment graph that a question is about, and its times if it isn't all of it.

    In a library that is a part of each movie that has such a time.

    Raises:
        NothingFound: no movie lasts that long, or has such a chapter, or the range is empty.
    """
    if relation is None or relation.time_range is None:
        return graph, None
    intervals: dict[str, tuple[Interval, ...]] = {}
    refusals: list[NothingFound] = []
    for movie, timeline in _timelines(graph).items():
        try:
            intervals[movie] = _resolve(relation.time_range, timeline)
        except NothingFound as error:
            refusals.append(error)
    if not intervals:
        raise refusals[0]
    return select_intervals(graph, intervals), intervals


def _timelines(graph: nx.DiGraph) -> dict[str, Timeline]:
    """Return each movie's length and chapters."""
    chapters: dict[str, list[Interval]] = {}
    for group in groups(graph):
        chapters.setdefault(graph.nodes[group].get("movie", ""), []).append(_interval(graph, group))
    return {
        movie: Timeline(graph.nodes[nodes[-1]]["end"], tuple(chapters.get(movie, ())))
        for movie, nodes in movies(graph).items()
    }


def _interval(graph: nx.DiGraph, node: Node) -> Interval:
    return graph.nodes[node]["start"], graph.nodes[node]["end"]


def get_chapters(graph: nx.DiGraph) -> tuple[Interval, ...]:
    """Return the intervals of a movie's chapters in order, seconds; () where it has none."""
    return tuple(_interval(graph, group) for group in groups(graph))


def _resolve(restriction: Restriction, timeline: Timeline) -> tuple[Interval, ...]:
    """Return the intervals of a movie, seconds, that a question is restricted to."""
    if isinstance(restriction, TimeRange):
        return (_resolve_range(restriction, timeline),)
    intervals: list[Interval] = []
    refusals: list[NothingFound] = []
    for part in restriction.parts:
        try:
            intervals.append(_resolve_range(part, timeline))
        except NothingFound as error:
            refusals.append(error)
    if not intervals:
        raise refusals[0]
    joined = join_intervals(intervals)
    if restriction.without:
        joined = subtract_intervals(joined, [part.resolve(timeline) for part in restriction.without])
    if not joined:
        raise NothingFound("Nothing of the video is left without the part that the question leaves out.")
    return joined


def _resolve_range(time_range: TimeRange, timeline: Timeline) -> Interval:
    """Return the interval of a movie, seconds, that a time range names."""
    length = timeline.length
    begin, finish = time_range.start.at(timeline), time_range.end.at(timeline)
    if time_range.is_unordered:
        begin, finish = min(begin, finish), max(begin, finish)
    if begin >= length and (time_range.start.seconds > 0 or time_range.end.seconds > 0):
        raise NothingFound(f"The video lasts {clock(length)}, so there is nothing at or after {clock(begin)}.")
    if finish < 0 or (finish == 0 and begin < 0):
        raise NothingFound(f"The video lasts {clock(length)}, so that would be before its start.")
    if begin > finish + INSTANT:
        raise NothingFound(
            f"The video lasts {clock(length)}: nothing of it is after {clock(begin)} and before {clock(finish)}."
        )
    start, end = time_range.resolve(timeline)
    is_empty = start == end or (end == length and end - start < SHORTEST)
    if is_empty and not time_range.is_point:
        raise NothingFound(
            f"The part of the video that the question is about is empty: it starts and ends at {clock(start)}. "
            f'Ask for a moment ("at {clock(start)}") or for a part with some length ("in the first ten seconds").'
        )
    return start, end


def join_all(intervals: Intervals) -> Interval:
    """Return the time from the earliest interval's start to the latest one's end."""
    return min(parts[0][0] for parts in intervals.values()), max(parts[-1][1] for parts in intervals.values())


def get_parts(intervals: Intervals | None) -> tuple[Interval, ...]:
    """Return the intervals of a movie that a question is about, if there are several; () otherwise and in a library."""
    parts = () if intervals is None else intervals.get("", ())
    return parts if len(parts) > 1 else ()


def describe_parts(intervals: Intervals | None) -> tuple[str, ...]:
    """Return a sentence if what a question is about are several parts of a movie."""
    parts = get_parts(intervals)
    if not parts:
        return ()
    times = [f"{clock(start)} – {clock(end)}" if end > start else clock(start) for start, end in parts]
    return (f"The question is about these parts of the video: {', '.join(times[:-1])} and {times[-1]}.",)


def describe_swap(relation: Relation | None, intervals: Intervals | None, length: float) -> tuple[str, ...]:
    """Return a sentence if two times of a question stand the wrong way round in a movie so long, seconds."""
    time_range = None if relation is None else relation.time_range
    if intervals is None or not isinstance(time_range, TimeRange) or not time_range.is_unordered:
        return ()
    if time_range.start.edges or time_range.end.edges:
        return ()
    if time_range.start.at(length) <= time_range.end.at(length) + INSTANT:
        return ()
    start, end = join_all(intervals)
    return (
        f"The times in the question are the wrong way round; the part from {clock(start)} to {clock(end)} was taken.",
    )
