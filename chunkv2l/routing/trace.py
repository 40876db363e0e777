"""Values that record what was scored for a statement, and why. No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from chunkv2l.graph import Node


@dataclass(frozen=True)
class Candidate:
    """A segment, or a chapter, that was scored or compared.

    Attributes:
        rank: position by p, from 1; segments and chapters are ranked each among themselves.
        start, end: seconds.
        sources: why it was scored: "all" (everything was), "key 3" (third by key similarity), "words 1" (first
            full-text hit), "after 17", "before 17", "like 17" (neighbours of what scored well), "in g2", "spread",
            "left over".
        key: key similarity; of a chapter, that of its nearest segment; None where there are no keys, or they weren't
            needed.
        nats: S − μ; None where it wasn't scored.
        p: its probability; of a chapter, among chapters.
        weight: what the policy gave it; the mean of its rank slots' weights, where it gave some.
        evidence: the selector's; None where it wasn't compared.
        movie: in a library, the name of its movie.
    """

    rank: int
    node: Node
    start: float
    end: float
    sources: tuple[str, ...]
    key: float | None
    nats: float | None
    p: float
    weight: float
    evidence: float | None = None
    movie: str = ""


@dataclass(frozen=True)
class StatementTrace:
    """A statement that a question looked for, with everything that was scored or compared for it.

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
        candidates = [
            {
                key: list(value) if key == "sources" else value
                for key, value in asdict(candidate).items()
                if key != "movie" or value
            }
            for candidate in self.candidates
        ]
        return {**asdict(self), "candidates": candidates}
