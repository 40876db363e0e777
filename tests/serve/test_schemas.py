"""What the API documents of an answer is what an answer has."""

from __future__ import annotations

from chunkv2l.answer.answer import Answer, Quote, Timing
from chunkv2l.answer.spans import Span
from chunkv2l.serve.schemas import AnswerJson


def test_every_key_of_an_answer_is_documented_and_kept() -> None:
    quotes = (Quote(1.0, 2.0, "We begin.", "heard"),)
    spans = (Span(1.0, 2.0, 0.5, (0,)),)
    timing = Timing(0.0, 0.0, 0.0, 0.0, 0.0)
    answer = Answer("q", "a", spans, None, "route", "mini", timing, notes=("A note.",), quotes=quotes, text_tokens=3)
    values = answer.to_json()
    assert values.keys() <= AnswerJson.model_fields.keys()
    documented = AnswerJson(**values).model_dump()
    assert {key: documented[key] for key in values} == values
