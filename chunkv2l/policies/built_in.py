"""The built-in policies that compose without regard to order in time; `temporal.order` follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import networkx as nx

from chunkv2l.errors import NothingFound
from chunkv2l.graph import Node, Weight, groups, members, neighbours, pick_evenly, segments
from chunkv2l.query.query import Query

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AnyNode = TypeVar("AnyNode", bound=Node)
Policy: TypeAlias = Callable[[nx.DiGraph, Query], Mapping[Node, Weight]]

RESTART: Final = 0.5
"""Share of the router's probability that `diffuse` keeps where it is; the rest moves along edges."""
NEXT_WEIGHT: Final = 0.5
"""Weight of a `next` edge in `diffuse`; a `similar` edge weighs its cosine."""
_STEPS: Final = 40  # 0.5^40 of the probability is still on its way then
WEIGHT_EXPONENT: Final = 0.5
"""Exponent of a segment's probability in its weight. Below 1, a wrong segment that is likeliest drowns a right one less
(docs/measurements.md#weights-by-the-root-of-p)."""
SELECTED: Final = 8
"""Segments whose rank slots `select` weighs."""
EXCLUDED_WEIGHT: Final = 0.25
"""Weight, by the root of its p, of a segment that shows what a question excludes; it counts against the others."""
MOST_EXCLUDED: Final = 2
"""Segments that count against what is composed."""
FIRST_CHAPTERS: Final = 3
"""Chapters that `chapters` looks into."""


def select(graph: nx.DiGraph, query: Query, top_k: int | None = None) -> dict[Node, Weight]:
    """Weigh the rank slots of the selector's best `top_k` segments: gates times shares of √p. The default if it can.

    The selector compares the question's statement with codes, so nothing is scored, and a question costs about the same
    however long the movie is. Where a question excludes something ("a dog, but not a ball"), the segments that show it
    best count against the others. Without a selector it is `route`, and without a statement `timeline`.

    Args:
        top_k: 8 if not given.
    """
    if not query.statement or not query.selects:
        return dict(route(graph, query) if top_k is None else route(graph, query, top_k))
    selected = query.select(segments(graph))
    share = weighed({node: segment.p for node, segment in selected.items()}, top_k or SELECTED)
    weights: dict[Node, Weight] = {node: _gated(share[node], selected[node].gates) for node in share}
    if query.excluded:
        against = query.about(query.excluded).select(segments(graph))
        for node in [node for node in against if node not in share][:MOST_EXCLUDED]:
            weights[node] = _gated(-EXCLUDED_WEIGHT * against[node].p ** WEIGHT_EXPONENT, against[node].gates)
    return weights


def route(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Weigh the router's best `top_k` segments, the likelier the heavier (`weighed`). The default without a selector.

    A question that names nothing to look for gets `timeline`.
    """
    if not query.statement:
        return timeline(graph, query, top_k)
    return weighed(query.score(segments(graph)), top_k)


def quote(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Weigh as `route` does; the model is also told, in its prompt, what is said and written about the question.

    The only policy under which text of the index enters the prompt: the answer counts its tokens, `text_tokens`.
    """
    return route(graph, query, top_k)


def concat(graph: nx.DiGraph, query: Query, top_k: int | None = None) -> dict[Node, float]:
    """Give every segment (or the router's best `top_k`) weight 1: the paper's composition. Fades beyond a few."""
    return dict.fromkeys(_all_or_best(graph, query, top_k), 1.0)


def mean(graph: nx.DiGraph, query: Query, top_k: int | None = None) -> dict[Node, float]:
    """Average the adapters of all segments (or of the router's best `top_k`): blurred, but it never blows up."""
    nodes = _all_or_best(graph, query, top_k)
    return dict.fromkeys(nodes, 1.0 / len(nodes))


def fts(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Weigh full-text hits in captions and subtitles, no router: a baseline, and good for names that were spoken."""
    hits = query.search()
    if not hits:
        part = " of that part" if query.relation is not None and query.relation.restricts else ""
        raise NothingFound(
            f'No caption or subtitle{part} shares a word with "{query.text}"; use other words, or --policy route.'
        )
    return shares(best(hits, top_k))


def window(graph: nx.DiGraph, query: Query, top_k: int = 1, reach: int = 1) -> dict[Node, float]:
    """Weigh the best moment and what lies around it: for questions that need its context ("why …").

    Each of the router's best `top_k` segments shares its probability with `reach` neighbours along `next` on each
    side, each step half as much. Without a statement it is `timeline`.
    """
    if not query.statement:
        return timeline(graph, query)
    weights: dict[Node, float] = {}
    for node, probability in shares(best(query.score(segments(graph)), top_k)).items():
        weights[node] = weights.get(node, 0.0) + probability
        for way in (_following, _preceding):
            at: Node | None = node
            for step in range(1, reach + 1):
                at = way(graph, at) if at is not None else None
                if at is not None:
                    weights[at] = weights.get(at, 0.0) + probability / 2**step
    return shares(weights)


def diffuse(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Spread the router's probabilities over `next` and `similar`: for things that last, or come back.

    Personalised PageRank: a walker starts anew from the router's scores half of the time, and else goes on to a
    neighbour. Segments that several likely ones lead to gain. On an index without `similar` edges it walks along `next`
    alone. Without a statement it is `timeline`.
    """
    if not query.statement:
        return timeline(graph, query, top_k)
    probability = {node: p for node, p in query.score(segments(graph)).items() if p > 0}
    if not probability:
        return shares(dict.fromkeys(best(query.score(segments(graph)), top_k), 0.0))
    return shares(best(_walked(graph, shares(probability)), top_k))


def chapters(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Choose the best chapters by their own codes, then the best `top_k` segments in them: for long movies.

    On an index without chapters, and for a question without a statement, it is `route`.
    """
    names = groups(graph)
    if not names or not query.statement:
        return route(graph, query, top_k)
    inside: list[Node] = []
    half = None if query.budget is None else max(1, query.budget // 2)
    for group in best(query.score(names, half), FIRST_CHAPTERS):
        inside += [node for node in members(graph, str(group)) if node in graph]
    return weighed(query.score(sorted(inside, key=int)), top_k)


def timeline(graph: nx.DiGraph, query: Query, top_k: int = 4) -> dict[Node, float]:
    """Average `top_k` segments spread evenly over the movie: for "what is this movie about?"."""
    nodes = pick_evenly(segments(graph), top_k)
    return dict.fromkeys(nodes, 1.0 / len(nodes))


# ---- steps that policies share


def best(scores: Mapping[AnyNode, float], k: int) -> dict[AnyNode, float]:
    """Return the `k` highest-scored nodes, best first; of equals, the earlier in `scores`."""
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:k])


def weighed(scores: Mapping[AnyNode, float], k: int) -> dict[AnyNode, float]:
    """Return the `k` likeliest nodes with weights that sum to 1: shares of √p (`WEIGHT_EXPONENT`); scores are p ≥ 0."""
    return shares({node: p**WEIGHT_EXPONENT for node, p in best(scores, k).items()})


def shares(scores: Mapping[AnyNode, float]) -> dict[AnyNode, float]:
    """Return absolute values divided by their sum; equal shares when all are 0."""
    total = sum(abs(score) for score in scores.values())
    return {node: abs(score) / total if total > 0 else 1.0 / len(scores) for node, score in scores.items()}


def _gated(weight: float, gates: NDArray[np.float32]) -> Weight:
    """Return a segment's weight for each of its rank slots; one for all where every gate is 1."""
    return weight if bool((gates == 1).all()) else weight * gates


def _all_or_best(graph: nx.DiGraph, query: Query, top_k: int | None) -> list[Node]:
    nodes = segments(graph)
    return list(nodes) if top_k is None else list(best(query.score(nodes), top_k))


def _following(graph: nx.DiGraph, node: Node) -> Node | None:
    return next(neighbours(graph, node, "next"), None)


def _preceding(graph: nx.DiGraph, node: Node) -> Node | None:
    return next((other for other in graph.predecessors(node) if "next" in graph[other][node]), None)


def _walked(graph: nx.DiGraph, start: Mapping[Node, float]) -> dict[Node, float]:
    """Return the probabilities after personalised PageRank, by repeated steps over reachable nodes only."""
    ways = {}

    def leads_to(node: Node) -> list[tuple[Node, float]]:
        if node not in ways:
            edges: dict[Node, float] = {}
            for other, data in graph[node].items():
                edges[other] = NEXT_WEIGHT * ("next" in data) + data.get("similar", 0.0)
            for other in graph.predecessors(node):
                edges[other] = edges.get(other, 0.0) + NEXT_WEIGHT * ("next" in graph[other][node])
            total = sum(edges.values())
            ways[node] = [(other, weight / total) for other, weight in edges.items() if weight > 0]
        return ways[node]

    at = dict(start)
    for _ in range(_STEPS):
        then = {node: RESTART * probability for node, probability in start.items()}
        for node, probability in at.items():
            steps = leads_to(node)
            if not steps:
                then[node] = then.get(node, 0.0) + (1 - RESTART) * probability
            for other, share in steps:
                then[other] = then.get(other, 0.0) + (1 - RESTART) * probability * share
        at = then
    return at
