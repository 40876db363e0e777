"""The route of an answer: a value that `ask` records while it looks for an answer. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chunkv2l.graph import Node, Weight, mean_weight
from chunkv2l.query.relations import Relation
from chunkv2l.routing.trace import StatementTrace
from chunkv2l.timecode import Interval


@dataclass(frozen=True)
class Route:
    """The way to an answer; `chunkv2l.answer.explain` writes it in words.

    Attributes:
        relation: order in time, None where the question has none.
        within: the time range that the question is restricted to, seconds; None for the whole movie.
        parts: its intervals, where there are several.
        budget: number of segments that might be scored; None for all. Where a selector compared segments, of these.
        looks: the statements that were looked for; none where the policy asked the router nothing.
        weights: (node, weight) as the policy gave them.
        seconds: (step, seconds) in the order in which the steps first came; a step within another counts for itself.
        slots: (node, number of its rank slots that are composed, by layer), where weights are of rank slots.
    """

    relation: Relation | None
    within: tuple[float, float] | None
    budget: int | None
    looks: tuple[StatementTrace, ...]
    weights: tuple[tuple[Node, Weight], ...]
    seconds: tuple[tuple[str, float], ...]
    slots: tuple[tuple[Node, tuple[int, ...]], ...] = ()
    parts: tuple[Interval, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the route as `chunkv2l ask --json --explain` prints it: plain values only.

        Weights of rank slots are under "slots", beside their mean, to four digits.
        """
        return {
            "relation": None if self.relation is None else self.relation.to_json(),
            "within": None if self.within is None else list(self.within),
            **({"parts": [list(part) for part in self.parts]} if self.parts else {}),
            "budget": self.budget,
            "looks": [trace.to_json() for trace in self.looks],
            "weights": [_weight_to_json(node, weight) for node, weight in self.weights],
            "seconds": dict(self.seconds),
        }


def _weight_to_json(node: Node, weight: Weight) -> dict[str, Any]:
    values: dict[str, Any] = {"node": node, "weight": mean_weight(weight)}
    if not isinstance(weight, float | int):
        values["slots"] = [[round(float(value), 4) for value in layer] for layer in weight]
    return values
