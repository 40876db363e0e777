"""Answer from what is said and written: spans of sentences, quotes, and the channels' spans on one time line. No torch.

Channels meet by probability, never by raw score. A question that names no channel is about the pictures more often than
about what is said: each other channel's probabilities count by its share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from chunkv2l.answer.answer import Quote
from chunkv2l.answer.spans import Span
from chunkv2l.channels.cues import Channel, Sentence
from chunkv2l.graph import movie_of
from chunkv2l.sanitize import shorten
from chunkv2l.timecode import Timed, between

if TYPE_CHECKING:
    from chunkv2l.routing.sentence_search import ChannelScores

SHARES: Final[Mapping[Channel, float]] = {"heard": 0.3, "read": 0.2}
"""Probability that a question that names no channel is about this one; the rest is about the pictures alone."""
MOST_SPANS: Final = 10
MOST_QUOTES: Final = 3
MIN_SPAN: Final = 0.02
"""Least probability of a sentence that becomes a span."""
MOST_PROMPTED: Final = 320
"""Letters of a quote in a prompt: a build's sentence has forty words, and one of a stranger's could fill the memory."""
QUOTED_SHARE: Final = 0.25
"""A sentence is quoted if its probability is at least this share of the best one's."""
OVERLAP: Final = 0.5
"""Share of a sentence's time within a span from which on both are one."""


def spans_of(scores: ChannelScores, segments: Sequence[Timed], share: float = 1.0) -> tuple[Span, ...]:
    """Return a channel's likeliest sentences as spans, best first; the best one always.

    Args:
        share: by which their probabilities count.
    """
    spans = [
        _to_span(item.sentence, share * item.p, segments)
        for rank, item in enumerate(scores.ranked[:MOST_SPANS])
        if rank == 0 or share * item.p >= MIN_SPAN
    ]
    return tuple(spans)


def likely_sentences(scores: ChannelScores) -> list[tuple[Sentence, int]]:
    """Return a channel's sentences that are about as likely as the best one, in order of time, each counted once.

    None where it is likelier that no sentence is about the topic.
    """
    if not scores.ranked or scores.not_there > 0.5:
        return []
    least = QUOTED_SHARE * scores.ranked[0].p
    chosen = [item.sentence for item in scores.ranked if item.p >= least]
    return [(sentence, 1) for sentence in sorted(chosen, key=lambda item: (item.movie, item.start))]


def spans_of_sentences(
    sentences: Sequence[Sentence], scores: ChannelScores, segments: Sequence[Timed]
) -> tuple[Span, ...]:
    """Return sentences as spans, in the order given, with their probabilities."""
    p = {item.sentence: item.p for item in scores.ranked}
    return tuple(_to_span(sentence, p.get(sentence, 0.0), segments) for sentence in sentences)


def _to_span(sentence: Sentence, p: float, segments: Sequence[Timed]) -> Span:
    numbers = tuple(
        i
        for i, segment in enumerate(segments)
        if segment.start < sentence.end and segment.end > sentence.start and movie_of(segment) == sentence.movie
    )
    return Span(sentence.start, sentence.end, p, numbers, (sentence.channel,), sentence.text, sentence.movie)


def merge_channels(
    moments: Sequence[Span], not_seen: float | None, others: Sequence[ChannelScores], segments: Sequence[Timed]
) -> tuple[tuple[Span, ...], float | None]:
    """Return the spans of all channels, likeliest first, and the probability that none is right.

    A sentence that lies in a span of what is seen makes that likelier: 1 − (1 − p)(1 − q). Elsewhere it is a span of
    its own.

    Args:
        moments: of what is seen, best first.
        not_seen: the probability that it isn't seen; None where that isn't known.
    """
    spans = [replace(span, channels=("seen",)) for span in moments]
    absent = not_seen
    for scores in others:
        share = SHARES[scores.channel]
        if not scores.ranked:
            continue
        if absent is not None:
            absent *= 1.0 - share * (1.0 - scores.not_there)
        for span in spans_of(scores, segments, share):
            if span.score < MIN_SPAN:
                continue
            host = next((i for i, other in enumerate(spans) if _lies_in(span, other)), None)
            if host is None:
                spans.append(span)
            else:
                spans[host] = _join(spans[host], span)
    return tuple(sorted(spans, key=lambda span: -span.score)[:MOST_SPANS]), absent


def _lies_in(span: Span, other: Span) -> bool:
    overlap = min(span.end, other.end) - max(span.start, other.start)
    is_beside = span.movie == other.movie and "seen" in other.channels
    return is_beside and overlap >= OVERLAP * (span.end - span.start)


def _join(moment: Span, other: Span) -> Span:
    channels = moment.channels if other.channels[0] in moment.channels else (*moment.channels, *other.channels)
    p = 1.0 - (1.0 - moment.score) * (1.0 - other.score)
    return replace(moment, score=p, channels=channels, text=moment.text or other.text)


def choose_quotes(scores: ChannelScores, most: int | None = None) -> tuple[Quote, ...]:
    """Return the sentences that answer what is said about a topic, in order of time.

    Args:
        most: number of sentences at most, `MOST_QUOTES` if not given.
    """
    if not scores.ranked:
        return ()
    least = QUOTED_SHARE * scores.ranked[0].p
    chosen = [item.sentence for item in scores.ranked[: most or MOST_QUOTES] if item.p >= least]
    ordered = sorted(chosen, key=lambda sentence: (sentence.movie, sentence.start, sentence.end))
    return tuple(Quote(item.start, item.end, item.text, item.channel, item.movie) for item in ordered)


def say_quotes(quotes: Sequence[Quote], not_there: float) -> str:
    """Return quotes as a text, each in quotation marks with its time; doubts come first."""
    times = [f"{between(item, '', '–')}{f' of {item.movie}' if item.movie else ''}" for item in quotes]
    listed = " ".join(f"“{item.text}” ({time})" for item, time in zip(quotes, times, strict=True))
    if not_there > 0.5:
        verb = "written" if quotes[0].channel == "read" else "said"
        return f"Nothing like that seems to be {verb}; the closest is: {listed}"
    return listed


def quote_for_prompt(quotes: Sequence[Quote]) -> str:
    """Return quotes as the text that the policy `quote` puts before a question, the ends of long ones left out."""
    verbs = {"heard": "says", "read": "shows the text"}
    texts = [(verbs[item.channel], shorten(item.text, MOST_PROMPTED)) for item in quotes]
    return "\n".join(f"The video {verb}: “{text}”" for verb, text in texts)


def describe_lacking(channel: Channel) -> str:
    """Return a sentence that says that an index lacks a channel, and how to add it."""
    noun, command = ("what is said", "listen") if channel == "heard" else ("text on the screen", "read")
    return f"The index holds nothing of {noun}, so the pictures were searched; chunkv2l {command} INDEX adds it."


def say_moment(text: str, span: Span) -> str:
    """Return an answer in words with what is said or written there, where that is known."""
    return f"{text.rstrip('.')}: “{span.text}”" if span.text else text
