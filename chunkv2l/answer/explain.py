"""How an answer was found, for people and as JSON: candidates, scores, ranks, weights, seconds by step.

No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import networkx as nx

from chunkv2l.answer.trace import Candidate, Look, Route
from chunkv2l.graph import Node
from chunkv2l.timecode import between

if TYPE_CHECKING:
    from chunkv2l.answer.answer import Answer
    from chunkv2l.routing.scoring import Scoring


def look(scoring: Scoring, graph: nx.DiGraph, weights: Mapping[Node, float]) -> Look:
    """What a statement's scores were, with the weights that the policy made of them."""
    ranks = {int: 0, str: 0}
    found = []
    for one in scoring.candidates():
        ranks[type(one.node)] += 1
        data = graph.nodes[one.node]
        found.append(
            Candidate(
                rank=ranks[type(one.node)],
                node=one.node,
                start=data["start"],
                end=data["end"],
                sources=one.sources,
                key=one.likeness,
                nats=one.nats,
                p=one.p,
                weight=weights.get(one.node, 0.0),
            )
        )
    return Look(scoring.statement, scoring.tokens, scoring.segments, scoring.probabilities()[1], tuple(found))


def lines(answer: Answer) -> list[str]:
    """The route of an answer as lines of text; none where the answer has no route."""
    route = answer.route
    if route is None:
        return []
    told = [f"policy: {answer.policy}", *_asked(route)]
    for look in route.looks:
        told += _looked(look, route)
    if not route.looks:
        told.append("nothing was scored")
    known = {candidate.node for look in route.looks for candidate in look.candidates}
    others = [f"{node}: {weight:.3f}" for node, weight in route.weights if node not in known]
    if others:
        told.append(f"weights of nodes that weren't scored: {', '.join(others)}")
    steps = ", ".join(f"{step} {1000 * seconds:.0f} ms" for step, seconds in route.seconds)
    told.append(f"time: {steps}")
    return told


def _asked(route: Route) -> Iterator[str]:
    if route.relation is not None:
        event = f', then for "{route.relation.event}"' if route.relation.event else ""
        anchor = f' "{route.relation.anchor}"' if route.relation.anchor else ""
        yield f"relation: {route.relation.kind}{anchor}{event}"
    if route.within is not None:
        yield f"within: {_times(*route.within)}"


def _looked(look: Look, route: Route) -> Iterator[str]:
    budget = "all" if route.budget is None else route.budget
    absent = "" if look.not_there is None else f"; not there {100 * look.not_there:.0f} %"
    yield (
        f'looked for: "{look.statement}" ({look.tokens} tokens) among {look.segments} segments; '
        f"{len(look.candidates)} scored, budget {budget}{absent}"
    )
    if look.candidates:
        yield f"  {'rank':>4} {'node':>5}  {'time':<19} {'p':>6}  {'weight':>6}  {'S nats':>7}  {'key':>5}  found by"
    for one in look.candidates:
        yield f"  {_row(one)}"


def _row(one: Candidate) -> str:
    weight = f"{one.weight:.3f}" if one.weight else "–"
    key = "–" if one.key is None else f"{one.key:.2f}"
    return (
        f"{one.rank:>4} {one.node:>5}  {_times(one.start, one.end):<19} {100 * one.p:4.1f} %  {weight:>6}  "
        f"{one.nats:>7.2f}  {key:>5}  {', '.join(one.sources)}"
    )


class _Piece:
    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end


def _times(start: float, end: float) -> str:
    return between(_Piece(start, end), "", "–")


def to_json(route: Route) -> dict[str, Any]:
    """A route as `chunkv2l ask --json --explain` prints it: plain values only."""
    return {
        "relation": None if route.relation is None else {**asdict(route.relation), "span": list(route.relation.span)},
        "within": None if route.within is None else list(route.within),
        "budget": route.budget,
        "looks": [
            {**asdict(look), "candidates": [{**asdict(one), "sources": list(one.sources)} for one in look.candidates]}
            for look in route.looks
        ],
        "weights": [{"node": node, "weight": weight} for node, weight in route.weights],
        "seconds": dict(route.seconds),
    }
