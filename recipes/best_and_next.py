"""A policy of five lines.

chunkv2l ask movie.idx "What does the man do?" --policy recipes/best_and_next.py:best_and_next
"""

from __future__ import annotations

import networkx as nx

from chunkv2l.graph import neighbours, segments
from chunkv2l.query import Node, Query


def best_and_next(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
    """The best moment, and a little of what comes right after it."""
    scores = query.score(segments(graph))
    best = max(scores, key=scores.__getitem__)
    return {best: 0.7, **dict.fromkeys(neighbours(graph, best, "next"), 0.3)}
