"""Parts of the segment graph: what lies in a stretch of time, and what a chapter's weight means for its segments."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from chunkv2l.answer.spans import clock
from chunkv2l.errors import NothingFound
from chunkv2l.graph import members, segments
from chunkv2l.query.parse import Node
from chunkv2l.query.relations import Relation


def asked_about(graph: nx.DiGraph, relation: Relation | None) -> tuple[nx.DiGraph, tuple[float, float] | None]:
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
    return part_of(graph, start, end), (start, end)


def part_of(graph: nx.DiGraph, start: float, end: float) -> nx.DiGraph:
    """The segments that overlap [start, end], seconds, and the groups that lie wholly among them; frozen.

    Where start and end are one time, that is the segment that it falls into.
    """
    inside = [
        node
        for node, data in graph.nodes(data=True)
        if isinstance(node, int) and data["start"] < max(end, start + 1e-6) and data["end"] > start
    ]
    chosen = set(inside or [max(node for node in graph if isinstance(node, int))])  # at the movie's very end
    groups = [node for node in graph if isinstance(node, str) and chosen.issuperset(members(graph, node))]
    return graph.subgraph([*sorted(chosen), *groups])


def shared_out(graph: nx.DiGraph, weights: Mapping[Node, float]) -> dict[int, float]:
    """Weights of segments, in the order given: a group's is shared out among its members."""
    found: dict[int, float] = {}
    for node, weight in weights.items():
        inside = [node] if isinstance(node, int) else members(graph, node)
        for segment in inside:
            found[segment] = found.get(segment, 0.0) + weight / len(inside)
    return found
