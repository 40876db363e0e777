"""The segment graph that policies walk on: networkx, rebuilt from the index in milliseconds. No torch here.

Nodes are segments, numbered 0 … n−1, with `start`, `end` (seconds) and `caption`; groups will be strings ("g0"). One
DiGraph carries every relation: an edge's data says which ones hold between its ends, `next` with the gap in seconds as
its value. Two relations between the same two nodes therefore don't hide each other; `neighbours(graph, node, "next")`
follows one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import networkx as nx

from chunkv2l.query import Node


class SegmentLike(Protocol):
    """What the graph needs to know of a segment; the index's rows have it."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    @property
    def caption(self) -> str: ...


def segment_graph(segments: Iterable[SegmentLike]) -> nx.DiGraph:
    """The graph of a movie's segments in order of time, frozen: a policy can read it, not change it."""
    graph = nx.DiGraph()
    for i, segment in enumerate(segments):
        graph.add_node(i, start=segment.start, end=segment.end, caption=segment.caption or "")
        if i:
            graph.add_edge(i - 1, i, next=max(0.0, segment.start - graph.nodes[i - 1]["end"]))
    return nx.freeze(graph)


def segments(graph: nx.DiGraph) -> list[int]:
    """The graph's segment nodes in order of time, without the groups."""
    return sorted(node for node in graph if isinstance(node, int))


def neighbours(graph: nx.DiGraph, node: Node, relation: str = "next") -> Iterator[Node]:
    """The nodes that `relation` leads to from `node`, in the graph's order."""
    return (other for other, data in graph[node].items() if relation in data)
