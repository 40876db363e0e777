"""The policy for order in time: router or selector find the anchor, a walk along `next` the answer's segments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import networkx as nx

from chunkv2l.answer.spans import grow_span
from chunkv2l.errors import NothingFound
from chunkv2l.graph import INSTANT, Node, join_runs, neighbours, pick_evenly, segments
from chunkv2l.policies.built_in import best, route, shares
from chunkv2l.query.query import Query
from chunkv2l.query.relations import OCCURRENCES, Relation

ALIKE: Final = 0.7
"""Least cosine of the `similar` edges that connect the segments of one event. Two takes of one photograph have such an
edge nearly always, other pairs hardly ever (docs/measurements.md#occurrences, for all three constants)."""
MIN_REPEAT_SHARE: Final = 0.02
"""Least share of the event's best p with which a segment of it counts as an occurrence."""
MIN_SINGLE_SHARE: Final = 0.15
"""Least share of the event's best p with which any segment counts, where the event would have one occurrence only."""
RESERVED_SCORES: Final = 8
"""Scores that are kept for segments that look like the best one, where not everything can be scored."""

Run = tuple[int, int]
"""First and last segment, both included."""


def order(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Follow the order in time that a question names: before, after, first, last, how many times.

    - after, before: the segment that follows (precedes) the anchor, for each of the best `top_k` anchors, with
      the share of probability that its anchor's best segment has, so that the best anchor leads; at the movie's end
      (beginning) the anchor's own. Where the question asks when something happens there, that is looked for among all
      segments behind (ahead of) the best anchor.
    - while: the anchor's likeliest `top_k` segments, with their share of probability.
    - first, last: the earliest, latest occurrence of the event; segments next to each other are one. Where there are
      `similar` edges, segments that look alike count together, and such a group is the event if it is the likeliest.
    - nth: the n-th occurrence; how many times: all of them; absent: the segments that show none.
    - between, until: segments between two events, or up to one, evenly spread; where the question asks when something
      happens there, that is looked for among them.

    Without a relation, or without an anchor, it is `route`. It needs neither chapters nor `similar` edges.
    """
    relation = query.relation
    if relation is None or relation.kind == "within" or not query.statement:
        return route(graph, query, top_k)
    if relation.kind in OCCURRENCES or relation.kind == "absent":
        return _times(graph, query, relation)
    if relation.kind in ("between", "until"):
        return _between(graph, query, relation, top_k)
    half = None if query.budget is None else max(1, query.budget // 2)
    scores = query.find(segments(graph), half if relation.event else None)
    p = _of_segments(scores)
    runs = anchors(p, top_k)
    if relation.event:
        return shares(best(query.about(relation.event).find(_side(graph, runs, relation)), top_k))
    if relation.kind == "while":
        return shares(best(scores, top_k))
    weights: dict[Node, float] = {}
    for run in runs:
        is_after = relation.kind == "after"
        if relation.offset is None:
            nodes = [beside(graph, run, is_after)]
        else:
            nodes = at_distance(graph, run, is_after, relation.offset)
        for node in nodes:
            share = max(p[i] for i in range(run[0], run[1] + 1)) / len(nodes)
            weights[node] = weights.get(node, 0.0) + share
    return shares(weights)


def event(graph: nx.DiGraph, p: Mapping[int, float]) -> set[int]:
    """Return the likeliest of the groups of segments that look alike, most of them a single segment; see `ALIKE`.

    Evidence adds up: of a scene that is there three times, no single segment need be the best.
    """
    alike = nx.Graph()
    alike.add_nodes_from(p)
    edges = graph.edges(p, data="similar", default=0.0)
    alike.add_edges_from((a, b) for a, b, cosine in edges if cosine >= ALIKE and b in p)
    groups = nx.connected_components(alike)
    return set(max(groups, key=lambda group: (sum(p[i] for i in group), max(p[i] for i in group), -min(group))))


def occurrences(p: Mapping[int, float], alike: Collection[int]) -> list[Run]:
    """Return when an event occurs, in order of time: runs of segments whose p is near enough to the best one's.

    >>> p = {1: 0.2, 2: 0.1, 5: 0.005, 9: 0.15}
    >>> occurrences(p, {1}), occurrences(p, {1, 5})
    ([(1, 2), (9, 9)], [(1, 1), (5, 5)])

    Args:
        alike: a group that looks alike, with the best segment. If it makes two runs or more, nothing else counts.
    """
    most = max(p[node] for node in alike)
    repeated = join_runs([node for node in alike if p[node] >= MIN_REPEAT_SHARE * most])
    return repeated if len(repeated) > 1 else join_runs([node for node in p if p[node] >= MIN_SINGLE_SHARE * most])


def anchors(p: Mapping[int, float], most: int) -> list[Run]:
    """Return the likeliest runs of an event, best first: a segment and the neighbours that score nearly as well.

    Neighbours belong together by the rule for spans (`spans.rank_spans`).
    """
    free = {node for node, value in p.items() if value > 0} or set(p)
    runs: list[Run] = []
    for node in sorted(p, key=lambda node: (-p[node], node)):
        if node not in free or len(runs) == most:
            continue
        first, last = grow_span(node, free, p)
        free.difference_update(range(first, last + 1))
        runs.append((first, last))
    return runs


def beside(graph: nx.DiGraph, run: Run, after: bool) -> int:
    """Return the segment that follows a run, or precedes it; the run's last, or first, where there is none."""
    first, last = run
    if after:
        return next((int(node) for node in neighbours(graph, last, "next")), last)
    return next((int(node) for node in graph.predecessors(first) if "next" in graph[node][first]), first)


def at_distance(graph: nx.DiGraph, run: Run, is_after: bool, offset: tuple[float, float]) -> list[int]:
    """Return the segments that lie so far from a run of segments, in order of time.

    Args:
        is_after: counted from the run's end onwards; False: from its start backwards.
        offset: (least, most) seconds. Beyond the movie's end or start: the last, or first, segment.
    """
    least, most = offset
    if is_after:
        anchor = float(graph.nodes[run[1]]["end"])
        start, end = anchor + least, anchor + most
    else:
        anchor = float(graph.nodes[run[0]]["start"])
        start, end = anchor - most, anchor - least
    numbers = _same_movie(graph, run[0])
    inside = [
        node
        for node in numbers
        if graph.nodes[node]["start"] < max(end, start + INSTANT) and graph.nodes[node]["end"] > start
    ]
    return inside or [numbers[-1] if is_after else numbers[0]]


def _times(graph: nx.DiGraph, query: Query, relation: Relation) -> dict[Node, float]:
    """Weigh those occurrences of what the query states that it asks for; or the segments that show none.

    Raises:
        NothingFound: there are fewer occurrences, or no segment without one.
    """
    nodes = segments(graph)
    spare = None if query.budget is None or len(nodes) <= query.budget else max(1, query.budget - RESERVED_SCORES)
    query.find(event(graph, _of_segments(query.find(nodes, spare))))
    p = _of_segments(query.find(nodes))
    runs = occurrences(p, event(graph, p))
    if relation.kind == "absent":
        shown = {node for first, last in runs for node in range(first, last + 1)} if sum(p.values()) >= 0.5 else set()
        remaining: dict[Node, float] = {node: 1.0 for node in nodes if node not in shown}
        if not remaining:
            raise NothingFound("It seems to be there all the time; ask for a longer part of the video.")
        return shares(remaining)
    return shares({node: p[node] for run in relation.pick(runs) for node in range(run[0], run[1] + 1)})


def _between(graph: nx.DiGraph, query: Query, relation: Relation, top_k: int) -> dict[Node, float]:
    """Weigh segments between two events, or up to one: evenly spread, or the likeliest for an event asked about."""
    nodes = segments(graph)
    p = _of_segments(query.find(nodes, None if query.budget is None else max(1, query.budget // 2)))
    if relation.kind == "until":
        end = anchors(p, 1)[0][0]
        between = [node for node in _same_movie(graph, end) if node < end] or [end]
    else:
        between = _between_runs(graph, p, _of_segments(query.about(relation.until).find(nodes)), top_k)
    if relation.event:
        return shares(best(query.about(relation.event).find(between), top_k))
    return shares(dict.fromkeys(pick_evenly(between, top_k), 1.0))


def _between_runs(graph: nx.DiGraph, p: Mapping[int, float], until: Mapping[int, float], top_k: int) -> list[int]:
    """Return the segments between the likeliest pair of two events in one movie, the later one behind the other.

    Where no pair is in order, those between the likeliest two. Where they adjoin, their own.
    """
    pairs = [
        (first, last)
        for first in anchors(p, top_k)
        for last in anchors(until, top_k)
        if last[0] in _same_movie(graph, first[0])
    ]
    pairs = [(first, last) for first, last in pairs if first[1] < last[0]] or pairs

    def likelihood(pair: tuple[Run, Run]) -> float:
        first, last = pair
        return max(p[i] for i in range(first[0], first[1] + 1)) * max(until[i] for i in range(last[0], last[1] + 1))

    first, last = max(pairs, key=likelihood) if pairs else (anchors(p, 1)[0], anchors(p, 1)[0])
    first, last = min(first, last), max(first, last)
    numbers = _same_movie(graph, first[0])
    inside = [node for node in numbers if first[1] < node < last[0]]
    return inside or [node for node in numbers if first[0] <= node <= last[1]]


def _of_segments(scores: Mapping[Node, float]) -> dict[int, float]:
    return {node: p for node, p in scores.items() if isinstance(node, int)}


def _side(graph: nx.DiGraph, runs: list[Run], relation: Relation) -> list[Node]:
    """Return the segments before, after or in the best anchor; the anchor's own where there are none."""
    first, last = runs[0]
    if relation.kind == "while":
        return [node for node in segments(graph) if any(run[0] <= node <= run[1] for run in runs)]
    is_after = relation.kind == "after"
    if relation.offset is not None:
        return list(at_distance(graph, runs[0], is_after, relation.offset))
    numbers = _same_movie(graph, first)
    side = [node for node in numbers if (node > last if is_after else node < first)]
    return list(side or [node for node in numbers if first <= node <= last])


def _same_movie(graph: nx.DiGraph, node: int) -> list[int]:
    """Return the segments of the movie that a segment belongs to."""
    movie = graph.nodes[node].get("movie")
    return [other for other in segments(graph) if graph.nodes[other].get("movie") == movie]
