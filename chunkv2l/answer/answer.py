"""The answer to a question: values, and times in words. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from chunkv2l.answer.spans import Span, list_spans
from chunkv2l.answer.trace import Route
from chunkv2l.channels.cues import Channel
from chunkv2l.timecode import Interval

__all__ = ["Answer", "PartialAnswer", "Route", "Timing", "describe_count", "describe_moment"]


@dataclass(frozen=True)
class Timing:
    """Seconds that an answer took.

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
class Quote:
    """A sentence as it is said or written, [start, end) seconds, its channel, and in a library its movie."""

    start: float
    end: float
    text: str
    channel: Channel
    movie: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the quote as JSON has it; "movie" is there only in a library."""
        return {key: value for key, value in asdict(self).items() if value or key != "movie"}


@dataclass(frozen=True)
class Answer:
    """The answer to a question, with the times that it rests on.

    Attributes:
        answer: text; for "When …" the best span in words.
        spans: for "When …" the moments, best first; otherwise what the text came from.
        not_there: the probability that no segment shows it (of the part asked about, `within`); None where the policy
            asked the router nothing.
        policy: the policy's name.
        visual_tokens: always 0.
        route: how it was found.
        notes: sentences about what in the question was not understood.
        prompt: the text that the model generated from; "" where nothing was generated.
        quotes: what is said or written, word for word, where the answer consists of that.
        text_tokens: tokens of what is said or written that the prompt held: the policy `quote` alone puts it there.
        unsure: the answer is generated text about something that the video may well not show (`answer.certainty`).
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
    notes: tuple[str, ...] = ()
    prompt: str = field(default="", repr=False, compare=False)
    quotes: tuple[Quote, ...] = ()
    text_tokens: int = 0
    unsure: bool = False

    @property
    def within(self) -> tuple[float, float] | None:
        """The part of the movie that the question is about, seconds; None for all of it."""
        return None if self.route is None else self.route.within

    @property
    def parts(self) -> tuple[Interval, ...]:
        """The intervals of `within`, seconds, where there are several."""
        return () if self.route is None else self.route.parts

    def to_json(self, explain: bool = False) -> dict[str, Any]:
        """Return the answer as `chunkv2l ask --json` prints it: plain values, keys in this order.

        "within", "parts", "quotes", "text_tokens" and "notes" are there only where there are some, "route" only with
        `explain`.
        """
        values: dict[str, Any] = {
            "question": self.question,
            "answer": self.answer,
            "spans": [span.to_json() for span in self.spans],
            "not_there": self.not_there,
            "unsure": self.unsure,
            "policy": self.policy,
            "model": self.model,
            "visual_tokens": self.visual_tokens,
            "timing": asdict(self.timing),
        }
        if self.within is not None:
            values["within"] = list(self.within)
        if self.parts:
            values["parts"] = [list(part) for part in self.parts]
        if self.quotes:
            values["quotes"] = [quote.to_json() for quote in self.quotes]
        if self.text_tokens:
            values["text_tokens"] = self.text_tokens
        if self.notes:
            values["notes"] = list(self.notes)
        if explain and self.route is not None:
            values["route"] = self.route.to_json()
        return values


@dataclass(frozen=True)
class PartialAnswer:
    """An answer while it is made.

    Attributes:
        spans, not_there, within, parts: as in `Answer`; they are known before the text.
        text: what is generated so far.
    """

    spans: tuple[Span, ...]
    not_there: float | None
    text: str = ""
    within: Interval | None = None
    parts: tuple[Interval, ...] = ()


def describe_moment(span: Span, not_there: float | None, parts: int = 0) -> str:
    """Return the best span in words, or that it seems not to be there, when that is more probable than the span.

    Args:
        parts: number of parts of the video that the question is about; 0 for all of it.
    """
    if not_there is not None and not_there > span.score:
        return f"{_say_absent(span, parts)}."
    words = span.describe()
    return f"{words[0].upper()}{words[1:]}."


def describe_count(spans: Sequence[Span], not_there: float | None, parts: int = 0, number: int | None = None) -> str:
    """Return in words how many times something happens: the number, then each time in order.

    Args:
        parts: number of parts of the video that the question is about; 0 for all of it.
        number: how many times that is; None for once a span.
    """
    if not_there is not None and not_there > 0.5:
        absent = _say_absent(spans[0], parts)
        return f"0 times: {absent[:1].lower()}{absent[1:]}."
    number = len(spans) if number is None else number
    listed = list_spans(sorted(spans, key=lambda span: (span.movie, span.start)))
    return f"{number} {'time' if number == 1 else 'times'}: {listed}."


def _say_absent(span: Span, parts: int) -> str:
    whole = "any of these videos" if span.movie else "this video"
    part = f"{'those parts' if parts > 1 else 'that part'} of {whole}" if parts else whole
    there = " there" if parts else ""
    return f"It seems not to be in {part}; the likeliest moment{there} is {span.describe()}"
