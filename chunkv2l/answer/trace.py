"""The route of an answer: a value that `ask` records while it looks for an answer. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chunkv2l.graph import Node
from chunkv2l.query.relations import Relation
from chunkv2l.routing.trace import StatementTrace


@dataclass(frozen=True)
class Route:
    """The way to an answer; `chunkv2l.answer.explain` writes it in words.

    Attributes:
        relation: order in time, None where the question has none.
        within: the time range that the question is restricted to, seconds; None for the whole movie.
        budget: number of segments that might be scored; None for all.
        looks: the statements that were looked for; none where the policy asked the router nothing.
        weights: (node, weight) as the policy gave them.
        seconds: (step, seconds) in the order in which the steps first came; a step within another counts for itself.
    """

    relation: Relation | None
    within: tuple[float, float] | None
    budget: int | None
    looks: tuple[StatementTrace, ...]
    weights: tuple[tuple[Node, float], ...]
    seconds: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the route as `chunkv2l ask --json --explain` prints it: plain values only."""
        return {
            "relation": None if self.relation is None else self.relation.to_json(),
            "within": None if self.within is None else list(self.within),
            "budget": self.budget,
            "looks": [trace.to_json() for trace in self.looks],
            "weights": [{"node": node, "weight": weight} for node, weight in self.weights],
            "seconds": dict(self.seconds),
        }
