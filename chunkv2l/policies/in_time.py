"""The policy for order in time: the router finds the anchor, a walk along `next` finds the answer's segments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import networkx as nx

from chunkv2l.graph import neighbours, segments
from chunkv2l.policies.built_in import best, route, shares
from chunkv2l.query import Node, Query
from chunkv2l.spans import grown

IS_THERE: Final = 0.25
"""A segment shows an event if its p is at least this share of the best segment's …"""
LOOKS_IT: Final = 0.1
"""… or this share, if it looks like the best one: a `similar` edge of at least `ALIKE`. Of 24 first and last times
among events that occur 2 to 5 times in 32 photographs, .33 are right with both rules, .29 with `IS_THERE` alone, .17 if
that were .5; of 12 counts 4, 2 and none are exact. (The right segment came first for .33 of these events.)"""
ALIKE: Final = 0.7
"""Photographs that are filmed anew have cosines of .76 to .97, others mostly below .6."""

Run = tuple[int, int]
"""First and last segment, both included."""


def order(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """What comes before or after something, the first or last time, how many times: for questions about order in time.

    - after, before: the segment that follows (precedes) the anchor, for each of the router's best `top_k` anchors, with
      the share of belief that its anchor has; at the movie's end (beginning) the anchor's own. Where the question asks
      when something happens there, that is looked for among all segments behind (ahead of) the best anchor.
    - while: the anchor's own segments, as `route` weighs them.
    - first, last: the earliest, latest occurrence of the event; segments next to each other are one. Where there are
      `similar` edges, what looks like the best segment counts sooner as an occurrence.
    - how many times: all of its occurrences.

    Without a relation, or without an anchor, it is `route`. It needs neither chapters nor `similar` edges.
    """
    relation = query.relation
    if relation is None or relation.kind == "within" or not query.statement:
        return route(graph, query, top_k)
    half = None if query.budget is None else max(1, query.budget // 2)
    found = query.score(segments(graph), half if relation.event else None)
    p = {node: value for node, value in found.items() if isinstance(node, int)}
    if relation.kind in ("first", "last", "count"):
        runs = occurrences(p, _alike(graph, max(p, key=lambda node: p[node])))
        chosen = {"first": runs[:1], "last": runs[-1:]}.get(relation.kind, runs)
        return shares({node: p[node] for run in chosen for node in range(run[0], run[1] + 1)})
    runs = anchors(p, top_k)
    if relation.event:
        inside = _side(graph, runs, relation.kind)
        return shares(best(query.about(relation.event).score(inside), top_k))
    if relation.kind == "while":
        return shares(best(found, top_k))
    weights: dict[Node, float] = {}
    for run in runs:
        node = beside(graph, run, relation.kind == "after")
        weights[node] = weights.get(node, 0.0) + sum(p[i] for i in range(run[0], run[1] + 1))
    return shares(weights)


def occurrences(p: Mapping[int, float], alike: Collection[int] = ()) -> list[Run]:
    """When an event occurs, in order of time: runs of segments whose p is near enough to the best one's.

    >>> occurrences({1: 0.2, 2: 0.1, 5: 0.03, 9: 0.15}), occurrences({1: 0.2, 2: 0.1, 5: 0.03, 9: 0.15}, {5})
    ([(1, 2), (9, 9)], [(1, 2), (5, 5), (9, 9)])

    Args:
        alike: segments that look like the best one.
    """
    best = max(p.values(), default=0.0)
    return _runs([node for node, value in p.items() if value >= (LOOKS_IT if node in alike else IS_THERE) * best])


def anchors(p: Mapping[int, float], most: int) -> list[Run]:
    """The likeliest places of an event, best first: each a segment and the neighbours that score nearly as well.

    Neighbours belong together by the rule for spans (`spans.ranked`).
    """
    free = {node for node, value in p.items() if value > 0} or set(p)
    found: list[Run] = []
    for node in sorted(p, key=lambda node: (-p[node], node)):
        if node not in free or len(found) == most:
            continue
        first, last = grown(node, free, p)
        free.difference_update(range(first, last + 1))
        found.append((first, last))
    return found


def beside(graph: nx.DiGraph, run: Run, after: bool) -> int:
    """The segment that follows a run, or precedes it; the run's own last, or first, where there is none."""
    first, last = run
    if after:
        return next((int(node) for node in neighbours(graph, last, "next")), last)
    return next((int(node) for node in graph.predecessors(first) if "next" in graph[node][first]), first)


def _alike(graph: nx.DiGraph, node: int) -> set[int]:
    """The segments that look like one; none where the index has no `similar` edges."""
    return {int(other) for other in neighbours(graph, node, "similar") if graph[node][other]["similar"] >= ALIKE}


def _side(graph: nx.DiGraph, runs: list[Run], kind: str) -> list[Node]:
    """The segments before, after or in the best anchor; the anchor's own where there are none."""
    first, last = runs[0]
    own = [node for node in segments(graph) if first <= node <= last]
    if kind == "while":
        return [node for node in segments(graph) if any(run[0] <= node <= run[1] for run in runs)]
    side = [node for node in segments(graph) if (node > last if kind == "after" else node < first)]
    return list(side or own)


def _runs(nodes: list[int]) -> list[Run]:
    found: list[Run] = []
    for node in sorted(nodes):
        if found and found[-1][1] == node - 1:
            found[-1] = (found[-1][0], node)
        else:
            found.append((node, node))
    return found
