"""Spans of sentences, quotes, and channels on one time line."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from chunkv2l.answer.answer import Quote
from chunkv2l.answer.channels import (
    SHARES,
    choose_quotes,
    merge_channels,
    quote_for_prompt,
    say_moment,
    say_quotes,
    spans_of,
)
from chunkv2l.answer.spans import Span
from chunkv2l.channels.cues import Sentence
from chunkv2l.routing.sentence_search import ChannelScores, ScoredSentence

SEGMENTS = tuple(Span(4.0 * i, 4.0 * i + 4.0, 0.0, (i,)) for i in range(5))


def scores(*rows: tuple[float, float, str, float], source: Literal["heard", "read"] = "heard") -> ChannelScores:
    """Sentences (start, end, text, p), likeliest first."""
    ranked = tuple(ScoredSentence(Sentence(start, end, text, source), p) for start, end, text, p in rows)
    return ChannelScores(source, ranked, 1.0 - sum(item.p for item in ranked))


SAID = scores((5.0, 7.0, "The bus leaves.", 0.6), (14.0, 15.0, "No bus.", 0.2), (1.0, 2.0, "Hello.", 0.001))


def test_a_span_has_the_sentences_own_times() -> None:
    first, second = spans_of(SAID, SEGMENTS)
    assert first == Span(5.0, 7.0, 0.6, (1,), ("heard",), "The bus leaves.")
    assert (second.start, second.end, second.segments) == (14.0, 15.0, (3,))
    assert spans_of(scores((3.0, 9.0, "Long.", 0.0)), SEGMENTS) == (
        Span(3.0, 9.0, 0.0, (0, 1, 2), ("heard",), "Long."),
    )


def test_channels_meet_by_probability() -> None:
    seen = (Span(12.0, 16.0, 0.5, (3,)), Span(0.0, 4.0, 0.1, (0,)))
    spans, absent = merge_channels(seen, 0.4, [SAID, scores(source="read")], SEGMENTS)
    share = SHARES["heard"]
    assert [span.score for span in spans] == pytest.approx([1 - 0.5 * (1 - share * 0.2), share * 0.6, 0.1])
    assert [replace(span, score=0.0) for span in spans] == [
        Span(12.0, 16.0, 0.0, (3,), ("seen", "heard"), "No bus."),
        Span(5.0, 7.0, 0.0, (1,), ("heard",), "The bus leaves."),
        Span(0.0, 4.0, 0.0, (0,), ("seen",)),
    ]
    assert absent == pytest.approx(0.4 * (1 - share * 0.801))


def test_where_nothing_is_said_about_it_moments_stay_as_they_are() -> None:
    seen = (Span(12.0, 16.0, 0.5, (3,)), Span(0.0, 4.0, 0.1, (0,)))
    nothing = scores((5.0, 7.0, "The bus leaves.", 0.01))
    spans, absent = merge_channels(seen, 0.4, [nothing], SEGMENTS)
    assert [(span.start, span.score) for span in spans] == [(12.0, 0.5), (0.0, 0.1)]
    assert absent == pytest.approx(0.4, abs=0.002)


def test_quotes_are_in_order_of_time_and_marked() -> None:
    later = scores((14.0, 15.0, "No bus.", 0.5), (5.0, 7.0, "The bus leaves.", 0.4), (1.0, 2.0, "Hello.", 0.05))
    quotes = choose_quotes(later)
    assert quotes == (Quote(5.0, 7.0, "The bus leaves.", "heard"), Quote(14.0, 15.0, "No bus.", "heard"))
    assert say_quotes(quotes, 0.1) == "“The bus leaves.” (0:05.0 – 0:07.0) “No bus.” (0:14.0 – 0:15.0)"
    assert say_quotes(quotes, 0.9).startswith("Nothing like that seems to be said; the closest is: “The bus")
    assert choose_quotes(scores()) == ()


def test_a_moment_is_said_with_its_sentence() -> None:
    (span, *_) = spans_of(SAID, SEGMENTS)
    assert say_moment("From 0:05 to 0:07.", span) == "From 0:05 to 0:07: “The bus leaves.”"
    assert say_moment("From 0:00 to 0:04.", SEGMENTS[0]) == "From 0:00 to 0:04."


def test_long_quotes_are_short_in_a_prompt() -> None:
    """A stranger's index may have sentences of 65,536 letters; a prompt of six took all memory."""
    long = replace(choose_quotes(SAID)[0], text="word " * 10_000)
    lines = quote_for_prompt([long, *choose_quotes(SAID)]).splitlines()
    assert len(lines[0]) < 360 and lines[0].endswith("…”") and lines[1] == "The video says: “The bus leaves.”"
