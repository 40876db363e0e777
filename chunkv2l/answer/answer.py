"""What a question is answered with: values, and a span in words. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from chunkv2l.answer.spans import Span
from chunkv2l.answer.trace import Route
from chunkv2l.timecode import between

__all__ = ["Answer", "Route", "Timing", "counted", "describe"]

ABSENT = "It seems not to be in this video"


@dataclass(frozen=True)
class Timing:
    """Seconds.

    Attributes:
        load_s: opening the index and loading the model; 0 when both were there already.
        route_s: the policy, with all scores that it asked for.
        compose_s: one adapter from the weights; 0 where the answer is a span.
        first_token_s: from the question to the answer's first token (or to the spans), without load_s.
        total_s: everything, load_s included.
    """

    load_s: float
    route_s: float
    compose_s: float
    first_token_s: float
    total_s: float


@dataclass(frozen=True)
class Answer:
    """What a question was answered with.

    Attributes:
        answer: text; for "When …" the best span in words.
        spans: for "When …" the moments, best first; otherwise what the text came from.
        not_there: the probability that no segment shows it; None where the policy asked the router nothing.
        policy: the policy's name.
        visual_tokens: always 0.
        route: how it was found.
    """

    question: str
    answer: str
    spans: tuple[Span, ...]
    not_there: float | None
    policy: str
    model: str
    timing: Timing
    visual_tokens: Literal[0] = 0
    route: Route | None = field(default=None, repr=False, compare=False)

    def to_json(self, explain: bool = False) -> dict[str, Any]:
        """As `chunkv2l ask --json` prints it: plain values only, these keys in this order; with its route, last."""
        told = {
            "question": self.question,
            "answer": self.answer,
            "spans": [span.to_json() for span in self.spans],
            "not_there": self.not_there,
            "policy": self.policy,
            "model": self.model,
            "visual_tokens": self.visual_tokens,
            "timing": asdict(self.timing),
        }
        if explain and self.route is not None:
            told["route"] = self.route.to_json()
        return told


def counted(spans: Sequence[Span], absent: float | None) -> str:
    """How many times something happens, in words: the number, and each time in order."""
    if absent is not None and absent > 0.5:
        return f"0 times: {ABSENT[:1].lower()}{ABSENT[1:]}; the likeliest moment is {between(spans[0])}."
    times = [between(span) for span in sorted(spans, key=lambda span: span.start)]
    told = times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"
    return f"{len(times)} {'time' if len(times) == 1 else 'times'}: {told}."


def describe(span: Span, absent: float | None) -> str:
    """The best span in words; that it seems not to be there, when that is more probable than the span."""
    if absent is not None and absent > span.score:
        return f"{ABSENT}; the likeliest moment is {between(span)}."
    words = between(span)
    return f"{words[0].upper()}{words[1:]}."
