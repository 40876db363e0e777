"""Answers that the index gives without a model, and notes about times that weren't understood."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chunkv2l.answer.from_index import answer_from_index
from chunkv2l.ask import Index
from chunkv2l.errors import NothingFound
from chunkv2l.query.parse import parse
from tests.helpers.fake_vlm import FakeModel, fake_model
from tests.helpers.written import random_codes, write_index


@pytest.fixture(name="model")
def _model() -> FakeModel:
    return fake_model()


@pytest.fixture(name="index")
def _index(tmp_path: Path, model: FakeModel) -> Index:
    return Index(write_index(tmp_path / "movie.idx", random_codes(77), seconds=4.0), model)  # 308 s


@pytest.mark.parametrize(
    ("question", "answer", "span"),
    [
        ("How long is the video?", "5:08", (0, 308)),
        ("When does the video start?", "0:00", (0, 4)),
        ("When does the video end?", "5:08", (304, 308)),
        ("Show me the first 10 seconds", "From 0:00 to 0:10.", (0, 10)),
        ("Show me 1:00 to 2:00", "From 1:00 to 2:00.", (60, 120)),
        ("Show me the last minute of the video", "From 4:08 to 5:08.", (248, 308)),
        ("Show me 1:02", "From 1:00.0 to 1:04.0.", (60, 64)),
        ("Show me 4:00 to 9:00", "From 4:00 to 5:08.", (240, 308)),
        ("How long is the first half?", "2:34", (0, 154)),
        ("How long is the sixth minute?", "0:08", (300, 308)),
        ("When does the second minute start?", "1:00", (60, 64)),
        ("When does the first half end?", "2:34", (152, 156)),
    ],
)
def test_the_index_answers_itself(
    index: Index, model: FakeModel, question: str, answer: str, span: tuple[float, float]
) -> None:
    result = index.ask(question)
    assert result.answer == answer and result.not_there is None and result.notes == ()
    assert [(answered.start, answered.end) for answered in result.spans] == [span]
    assert result.spans[0].segments[0] == span[0] // 4 and result.policy == "index"
    assert model.vlm.prompts == [] and result.timing.total_s == 0.0
    assert result.to_json(explain=True)["route"]["looks"] == []


@pytest.mark.parametrize(
    ("chapters", "answer"),
    [
        ((), "The video has no chapters."),
        (((0.0, 308.0),), "The video has 1 chapter."),
        (((0.0, 100.0), (100.0, 308.0)), "The video has 2 chapters."),
    ],
)
def test_chapters_are_counted(index: Index, chapters: tuple[tuple[float, float], ...], answer: str) -> None:
    known = answer_from_index(parse("How many chapters are there?"), index.segments, None, chapters)
    assert known is not None and known[0] == answer
    assert [(span.start, span.end) for span in known[1]] == list(chapters)
    assert index.ask("How many chapters are there?").answer == "The video has no chapters."


def test_several_parts_are_shown_one_after_the_other(index: Index) -> None:
    result = index.ask("Show me everything except 1:00-4:00")
    assert result.answer == "From 0:00 to 1:00 and from 4:00 to 5:08."
    assert [(span.start, span.end) for span in result.spans] == [(0, 60), (240, 308)]
    assert result.to_json(explain=True)["route"]["parts"] == [[0, 60], [240, 308]]
    with pytest.raises(NothingFound, match="Nothing of the video is left"):
        index.ask("Show me the second minute except 1:00-2:00")


def test_a_range_that_the_movie_does_not_have_is_a_sentence(index: Index) -> None:
    with pytest.raises(NothingFound, match="lasts 5:08, so there is nothing at or after 6:00"):
        index.ask("Show me 6:00 to 7:00")
    for question in ("What happens ten minutes before the end?", "What happens before the last ten minutes?"):
        with pytest.raises(NothingFound, match="lasts 5:08, so that would be before its start"):
            index.ask(question)
    with pytest.raises(NothingFound, match="lasts 5:08: nothing of it is after 3:00 and before 2:34"):
        index.ask("What happens after 3:00 but before the second half?")
    with pytest.raises(NothingFound, match="nothing at or after 9:00"):
        index.ask("When does the tenth minute start?")


@pytest.mark.parametrize("question", ["Show me 50% to 1:00", "What happens from 2:34 to 1:00?"])
def test_times_the_wrong_way_round_change_places_with_a_note(index: Index, question: str) -> None:
    result = index.ask(question)
    assert result.route is not None and result.route.within == (60, 154)
    assert result.notes == ("The times in the question are the wrong way round; the part from 1:00 to 2:34 was taken.",)


@pytest.mark.parametrize(
    ("question", "note"),
    [
        ("What happens at half past two?", '"half past two" was not understood .* the whole video was searched'),
        (
            "When does it rain from 0:10 to 0:20 and after 1:00?",
            '"from 0:10 to 0:20 and after 1:00" was not understood .* the whole video was searched',
        ),
        ("What happens at 2:75?", '"2:75" was not understood'),
    ],
)
def test_a_time_that_is_not_understood_is_noted(index: Index, question: str, note: str) -> None:
    result = index.ask(question)
    assert len(result.notes) == 1 and re.match(note, result.notes[0])
    assert result.to_json()["notes"] == list(result.notes)


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("When does a dog bark in the last 10% of the video?", 277.2, 308),
        ("What happens between 2:00-3:00?", 120, 180),
        ("What happens 30 seconds before the end?", 278, 278),
        ("How many times does a dog bark in the second minute?", 60, 120),
    ],
)
def test_spans_touch_the_range(index: Index, question: str, start: float, end: float) -> None:
    result = index.ask(question)
    assert result.spans and all(span.start <= end and span.end >= start for span in result.spans)


def test_a_distance_from_an_event_is_kept(index: Index) -> None:
    anchor = index.ask("When does a dog catch a ball?", budget="all").spans[0]
    result = index.ask("What happens 10 seconds after a dog catches a ball?", budget="all")
    assert result.policy == "order" and result.route is not None
    (trace,) = result.route.looks
    best = trace.candidates[0]
    expected = min(best.end + 10.0, 307.9)
    assert any(span.start <= expected < span.end for span in result.spans), (anchor, result.spans)
