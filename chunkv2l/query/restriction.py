"""Restrict the segment graph to the time range that a question names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkv2l.errors import NothingFound
from chunkv2l.graph import segments, select_interval
from chunkv2l.query.relations import Relation
from chunkv2l.query.time_ranges import END
from chunkv2l.timecode import clock

if TYPE_CHECKING:
    import networkx as nx


def restrict_graph(graph: nx.DiGraph, relation: Relation | None) -> tuple[nx.DiGraph, tuple[float, float] | None]:
    """Return the part of the segment graph that a question is about, and its times (seconds) if it isn't all of it.

    Raises:
        NothingFound: the movie doesn't last that long.
    """
    if relation is None or relation.time_range is None:
        return graph, None
    length = graph.nodes[segments(graph)[-1]]["end"]
    begin = relation.time_range.start.at(length)
    if relation.time_range.end != END:  # the ends may be named the wrong way round
        begin = min(begin, relation.time_range.end.at(length))
    if begin >= length and relation.time_range.start.seconds > 0:
        raise NothingFound(f"The video lasts {clock(length)}, so there is nothing at or after {clock(begin)}.")
    start, end = relation.time_range.resolve(length)
    return select_interval(graph, start, end), (start, end)
