"""The segment graph that policies walk on: networkx, rebuilt from the index in milliseconds. No torch here.

Nodes are segments, numbered 0 … n−1 in order of time, and chapters, named "g0", "g1" …: runs of segments that belong
together. One DiGraph carries every relation: an edge's data says which ones hold between its ends, so that two
relations between the same two nodes don't hide each other; `neighbours(graph, node, "next")` follows one of them.

    next     segment → the following segment; the gap between them in seconds
    similar  segment ↔ segment that looks like it, both directions; cosine of their codes (`indexing.chapters`)
    part_of  segment → its chapter; 1.0

The graph of a library joins those of several movies: each node has a `movie`, `next` never leads to another movie, and
numbers leave a gap between movies, so that segments with adjacent numbers are neighbours.

Chapters at the same *place* look alike: `place` of a chapter node is a number that they share, counted from 0 in order
of first appearance. An index that was built before there were chapters gives a graph of segments and `next` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from chunkv2l.timecode import Interval

if TYPE_CHECKING:
    import networkx as nx
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
INSTANT: Final = 1e-6
"""Seconds: a point in time is an interval so short."""
Node: TypeAlias = int | str
"""A node of the segment graph: a segment's number (int) or a chapter's name ("g0")."""
Weight: TypeAlias = "float | NDArray[np.float32]"
"""The weight of a node: a number, or one for each of its rank slots, [L, r]."""

MOST_EDGES = 50_000
"""Pairs of similar chapters among which places are searched for: a day of movie has fewer, and more take minutes."""


class SegmentLike(Protocol):
    """A segment as the graph needs it; `speech` is read too, where there is one."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    @property
    def caption(self) -> str: ...


class ChapterLike(Protocol):
    """A chapter as the graph needs it: its first and last segment, both included."""

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...


def segment_graph(
    segments: Iterable[SegmentLike],
    similar: Iterable[tuple[int, int, float]] = (),
    chapters: Iterable[ChapterLike] = (),
) -> nx.DiGraph:
    """Return the graph of a movie, frozen: a policy can read it, not change it.

    Args:
        segments: in order of time. Nodes get their `start`, `end` (seconds), `caption` and `speech`.
        similar: (a, b, cosine) for each pair of segments that look alike, once a pair.
        chapters: in order of time, without gaps. Nodes get `start`, `end`, `caption` (""), `first`, `last` and `place`.

    Raises:
        KeyError: `similar` or `chapters` name a segment that isn't there.
    """
    import networkx as nx  # takes as long to import as all the rest: only where a graph is made

    graph = nx.DiGraph()
    for i, segment in enumerate(segments):
        speech = getattr(segment, "speech", "") or ""
        graph.add_node(i, start=segment.start, end=segment.end, caption=segment.caption or "", speech=speech)
        if i:
            graph.add_edge(i - 1, i, next=max(0.0, segment.start - graph.nodes[i - 1]["end"]))
    pairs = list(similar)
    for a, b, cosine in pairs:
        if not (a in graph and b in graph):
            raise KeyError(f"similar segments {a} and {b} aren't both in the graph")
        graph.add_edge(a, b, similar=cosine)
        graph.add_edge(b, a, similar=cosine)
    runs = [(chapter.first, chapter.last) for chapter in chapters]
    for k, ((first, last), number) in enumerate(zip(runs, places(runs, pairs), strict=True)):
        chapter, start, end = f"g{k}", graph.nodes[first]["start"], graph.nodes[last]["end"]
        graph.add_node(chapter, start=start, end=end, caption="", first=first, last=last, place=number)
        graph.add_edges_from(((i, chapter) for i in range(first, last + 1)), part_of=1.0)
    return nx.freeze(graph)


def join_graphs(graphs: Iterable[tuple[str, int, nx.DiGraph]]) -> nx.DiGraph:
    """Return one graph of several movies', frozen: no edge leads from one movie to another.

    Args:
        graphs: (movie, number of its first segment in the joined graph, its graph), in order. Chapters and places are
            numbered on.
    """
    import networkx as nx

    joined = nx.DiGraph()
    chapters = first_place = 0
    for movie, first, graph in graphs:
        names = {group: f"g{chapters + k}" for k, group in enumerate(groups(graph))}
        new: dict[Node, Node] = {node: first + node for node in segments(graph)} | {**names}
        for node, data in graph.nodes(data=True):
            moved = {key: first + data[key] for key in ("first", "last") if key in data}
            if "place" in data:
                moved["place"] = first_place + data["place"]
            joined.add_node(new[node], **{**data, **moved, "movie": movie})
        joined.add_edges_from((new[a], new[b], dict(data)) for a, b, data in graph.edges(data=True))
        chapters += len(names)
        first_place += 1 + max((graph.nodes[group]["place"] for group in names), default=-1)
    return nx.freeze(joined)


def movie_of(segment: object) -> str:
    """Return the name of the movie that a segment belongs to; "" outside of a library."""
    return str(getattr(segment, "movie", ""))


def movies(graph: nx.DiGraph) -> dict[str, list[int]]:
    """Return the segments of each movie, in order; {"": all} outside of a library."""
    by_movie: dict[str, list[int]] = {}
    for node in segments(graph):
        by_movie.setdefault(graph.nodes[node].get("movie", ""), []).append(node)
    return by_movie


def places(chapters: Sequence[tuple[int, int]], similar: Iterable[tuple[int, int, float]]) -> list[int]:
    """Return the number of each chapter's place, counted in order of first appearance: those that share one look alike.

    Places are Louvain communities (`seed=0`) of the graph over chapters whose edges weigh the summed similarity between
    the two chapters' segments. A chapter's similarity to itself counts, as a loop: two chapters are one place if they
    resemble each other more than their own coherence makes them do by chance, not as soon as any two segments do.

    Args:
        chapters: (first, last) segment of each, in order, without gaps.
        similar: (a, b, cosine), once a pair; cosines of 0 and less don't count.

    Communities of more than `MOST_EDGES` pairs of chapters aren't searched for: each chapter is a place of its own.
    """
    import networkx as nx

    owner = [k for k, (first, last) in enumerate(chapters) for _ in range(first, last + 1)]
    graph = nx.Graph()
    graph.add_nodes_from(range(len(chapters)))  # numbers: the order of a set of strings changes from run to run
    for a, b, cosine in similar:
        if cosine > 0 and max(a, b) < len(owner):
            ends = owner[a], owner[b]
            known = graph.get_edge_data(*ends, {"weight": 0.0})["weight"]
            graph.add_edge(*ends, weight=known + cosine)
    if not 0 < graph.size() <= MOST_EDGES:
        return list(range(len(chapters)))
    communities = sorted(nx.community.louvain_communities(graph, weight="weight", seed=0), key=min)
    number_of = {chapter: number for number, community in enumerate(communities) for chapter in community}
    return [number_of[k] for k in range(len(chapters))]


def segments(graph: nx.DiGraph) -> list[int]:
    """Return the graph's segment nodes in order of time, without the chapters."""
    return sorted(node for node in graph if isinstance(node, int))


def join_runs(nodes: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last segment of each run of segments whose numbers follow each other, in order.

    >>> join_runs([5, 1, 2, 3])
    [(1, 3), (5, 5)]
    """
    joined: list[tuple[int, int]] = []
    for node in sorted(nodes):
        if joined and joined[-1][1] == node - 1:
            joined[-1] = (joined[-1][0], node)
        else:
            joined.append((node, node))
    return joined


def groups(graph: nx.DiGraph) -> list[str]:
    """Return the graph's chapter nodes in order of time; none where the index has no chapters."""
    return sorted((node for node in graph if isinstance(node, str)), key=lambda node: int(graph.nodes[node]["first"]))


def members(graph: nx.DiGraph, group: str) -> list[int]:
    """Return the segments of a chapter, in order of time.

    Raises:
        KeyError: no such chapter.
    """
    data = graph.nodes[group]
    return list(range(data["first"], data["last"] + 1))


def chapter_of(graph: nx.DiGraph, segment: int) -> str | None:
    """Return the chapter that a segment is part of; None where the index has no chapters.

    Raises:
        KeyError: no such segment.
    """
    return next((str(group) for group in neighbours(graph, segment, "part_of")), None)


def neighbours(graph: nx.DiGraph, node: Node, relation: str = "next") -> Iterator[Node]:
    """Return the nodes that `relation` leads to from `node`, in the graph's order."""
    return (other for other, data in graph[node].items() if relation in data)


def select_interval(graph: nx.DiGraph, start: float, end: float) -> nx.DiGraph:
    """Return the segments that overlap [start, end], seconds, with the chapters that lie wholly among them; frozen.

    Where start and end are one time, that is the segment that it falls into.
    """
    return select_intervals(graph, {movie: [(start, end)] for movie in movies(graph)})


def select_intervals(graph: nx.DiGraph, intervals: Mapping[str, Sequence[Interval]]) -> nx.DiGraph:
    """Return of each movie what `select_interval` does, by intervals of its own; frozen.

    Args:
        intervals: by movie ("" outside of a library); nothing of the others is returned.
    """
    chosen: set[Node] = set()
    by_movie = movies(graph)
    for movie, asked in intervals.items():
        for start, end in asked:
            inside = [
                node
                for node in by_movie[movie]
                if graph.nodes[node]["start"] < max(end, start + INSTANT) and graph.nodes[node]["end"] > start
            ]
            chosen.update(inside or by_movie[movie][-1:])  # at the movie's very end
    groups = [node for node in graph if isinstance(node, str) and chosen.issuperset(members(graph, node))]
    return graph.subgraph([*sorted(chosen, key=int), *groups])


def share_among_segments(graph: nx.DiGraph, weights: Mapping[Node, Weight]) -> dict[int, float]:
    """Return weights of segments, in the order given: a chapter's is shared among its members, slots are averaged."""
    shared: dict[int, float] = {}
    for node, weight in weights.items():
        inside = [node] if isinstance(node, int) else members(graph, node)
        for segment in inside:
            shared[segment] = shared.get(segment, 0.0) + mean_weight(weight) / len(inside)
    return shared


def mean_weight(weight: Weight) -> float:
    """Return a weight as a number: the mean over its rank slots, where it has one for each."""
    return weight if isinstance(weight, float | int) else float(weight.mean())


def pick_evenly(values: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of `values`, evenly spaced: the middles of so many equal intervals.

    >>> pick_evenly(range(10), 2), pick_evenly("ab", 3), pick_evenly("ab", 0)
    ([2, 7], ['a', 'b'], [])
    """
    count = max(0, min(count, len(values)))
    return [values[(2 * i + 1) * len(values) // (2 * count)] for i in range(count)]
