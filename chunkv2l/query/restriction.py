"""Restrict the segment graph to the time range that a question names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from chunkv2l.errors import NothingFound
from chunkv2l.graph import INSTANT, movies, select_intervals
from chunkv2l.query.relations import Relation
from chunkv2l.query.time_ranges import TimeRange
from chunkv2l.timecode import clock

if TYPE_CHECKING:
    import networkx as nx

SHORTEST: Final = 0.1
"""Seconds at a movie's end that count as nothing: "after 6:45" in a movie of 6:45.01."""


def restrict_graph(graph: nx.DiGraph, relation: Relation | None) -> tuple[nx.DiGraph, tuple[float, float] | None]:
    """Return the part of the segment graph that a question is about, and its times (seconds) if it isn't all of it.

    In a library that is a part of each movie that has such a time, and the times are from the earliest to the latest.

    Raises:
        NothingFound: no movie lasts that long, or the range is empty.
    """
    intervals = resolve_intervals(graph, relation)
    if intervals is None:
        return graph, None
    within = min(start for start, _ in intervals.values()), max(end for _, end in intervals.values())
    return select_intervals(graph, intervals), within


def resolve_intervals(graph: nx.DiGraph, relation: Relation | None) -> Mapping[str, tuple[float, float]] | None:
    """Return the interval of each movie (of "" outside of a library) that a question is about, seconds; None for all.

    Raises:
        NothingFound: as `restrict_graph`.
    """
    if relation is None or relation.time_range is None:
        return None
    intervals: dict[str, tuple[float, float]] = {}
    refusals: list[NothingFound] = []
    for movie, nodes in movies(graph).items():
        try:
            intervals[movie] = _resolve(relation.time_range, graph.nodes[nodes[-1]]["end"])
        except NothingFound as error:
            refusals.append(error)
    if not intervals:
        raise refusals[0]
    return intervals


def _resolve(time_range: TimeRange, length: float) -> tuple[float, float]:
    """Return the interval of a movie so long, seconds, that a time range names."""
    begin, finish = time_range.start.at(length), time_range.end.at(length)
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
    start, end = time_range.resolve(length)
    is_empty = start == end or (end == length and end - start < SHORTEST)
    if is_empty and not time_range.is_point:
        raise NothingFound(
            f"The part of the video that the question is about is empty: it starts and ends at {clock(start)}. "
            f'Ask for a moment ("at {clock(start)}") or for a part with some length ("in the first ten seconds").'
        )
    return start, end


def describe_swap(relation: Relation | None, within: tuple[float, float] | None, length: float) -> tuple[str, ...]:
    """Return a sentence if two times of a question stand the wrong way round in a movie so long, seconds."""
    time_range = None if relation is None else relation.time_range
    if time_range is None or within is None or not time_range.is_unordered:
        return ()
    if time_range.start.at(length) <= time_range.end.at(length) + INSTANT:
        return ()
    return (
        f"The times in the question are the wrong way round; the part from {clock(within[0])} to "
        f"{clock(within[1])} was taken.",
    )
