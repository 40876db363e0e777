"""The route of an answer: values that `ask` records while it looks for an answer. No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from chunkv2l.graph import Node
from chunkv2l.query.relations import Relation


@dataclass(frozen=True)
class Candidate:
    """A segment, or a chapter, that was scored.

    Attributes:
        rank: position by p, from 1; segments and chapters are ranked each among themselves.
        start, end: seconds.
        sources: why it was scored: "all" (everything was), "key 3" (third by key similarity), "words 1" (first
            full-text hit), "after 17", "before 17", "like 17" (neighbours of what scored well), "in g2", "spread",
            "left over".
        key: key similarity; of a chapter, that of its nearest segment; None where there are no keys, or they weren't
            needed.
        nats: S − μ.
        p: its probability; of a chapter, among chapters.
        weight: what the policy gave it.
    """

    rank: int
    node: Node
    start: float
    end: float
    sources: tuple[str, ...]
    key: float | None
    nats: float
    p: float
    weight: float


@dataclass(frozen=True)
class StatementTrace:
    """A statement that a question looked for, with everything that was scored for it.

    Attributes:
        tokens: T of the router's score.
        segments: N, the number of segments among which it was looked for.
        not_there: the probability that none of them shows it; None where nothing was scored.
        candidates: likeliest first, segments before chapters.
    """

    statement: str
    tokens: int
    segments: int
    not_there: float | None
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the trace as JSON has it."""
        candidates = [{**asdict(candidate), "sources": list(candidate.sources)} for candidate in self.candidates]
        return {**asdict(self), "candidates": candidates}


@dataclass(frozen=True)
class Route:
    """How an answer was found; `chunkv2l.answer.explain` writes it in words.

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
        relation = None
        if self.relation is not None:
            relation = {**asdict(self.relation), "span": list(self.relation.span)}
        return {
            "relation": relation,
            "within": None if self.within is None else list(self.within),
            "budget": self.budget,
            "looks": [trace.to_json() for trace in self.looks],
            "weights": [{"node": node, "weight": weight} for node, weight in self.weights],
            "seconds": dict(self.seconds),
        }
