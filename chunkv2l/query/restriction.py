"""Restrict the segment graph to the time range that a question names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkv2l.errors import NothingFound
from chunkv2l.graph import segments, select_interval
from chunkv2l.query.relations import Relation
from chunkv2l.timecode import clock

if TYPE_CHECKING:
    import networkx as nx


def restrict_graph(graph: nx.DiGraph, relation: Relation | None) -> tuple[nx.DiGraph, tuple[float, float] | None]:
    """The part of the segment graph that a question is about, and its times (seconds) if it isn't all of it.

    Raises:
        NothingFound: the movie doesn't last that long.
    """
    if relation is None or not relation.restricts:
        return graph, None
    duration = graph.nodes[segments(graph)[-1]]["end"]
    begin = relation.span[0] or 0.0
    if not relation.share and begin >= duration:
        raise NothingFound(f"The video lasts {clock(duration)}, so there is nothing at or after {clock(begin)}.")
    start, end = relation.bounds(duration)
    return select_interval(graph, start, end), (start, end)
