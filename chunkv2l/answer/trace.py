"""How an answer was found: values that `ask` notes on the way. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from chunkv2l.graph import Node
from chunkv2l.query.relations import Relation


@dataclass(frozen=True)
class Candidate:
    """One segment, or chapter, that was scored.

    Attributes:
        rank: from 1, by p, of its kind.
        start, end: seconds.
        sources: why it was scored: "all" (everything was), "key 3" (third by learned keys), "words 1" (first full-text
            hit), "after 17", "before 17", "like 17" (beside what scored well), "in g2", "spread", "left over".
        key: the cosine of its learned key and the statement's; None where there are none, or nobody needed them.
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
class Look:
    """One statement that a question looked for.

    Attributes:
        tokens: T of the router's score.
        segments: N, among which it was looked for.
        not_there: the probability that none of them shows it; None where nothing was scored.
        candidates: likeliest first, segments before chapters.
    """

    statement: str
    tokens: int
    segments: int
    not_there: float | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Route:
    """How an answer was found; `chunkv2l.answer.explain` renders it.

    Attributes:
        relation: order in time, None where the question has none.
        within: the stretch of the movie that the question is about, seconds; None for all of it.
        budget: segments that might be scored; None for all.
        looks: what was looked for; none where the policy asked the router nothing.
        weights: (node, weight) as the policy gave them.
        seconds: (step, seconds) in the order in which the steps first came; a step within another counts for itself.
    """

    relation: Relation | None
    within: tuple[float, float] | None
    budget: int | None
    looks: tuple[Look, ...]
    weights: tuple[tuple[Node, float], ...]
    seconds: tuple[tuple[str, float], ...]
