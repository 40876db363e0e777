"""Questions about what is said and written, and about anything, of an index that holds all three channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from chunkv2l.ask import Index
from chunkv2l.channels.cues import ChannelCue
from chunkv2l.errors import NothingFound
from tests.helpers.fake_vlm import fake_model
from tests.helpers.written import random_codes, write_index
from tests.routing.test_sentence_search import encode

CUES = (
    ChannelCue(9.0, 11.0, "The bus leaves at nine.", "heard", 0.9),
    ChannelCue(20.0, 23.0, "I like apples.", "heard", 0.9),
    ChannelCue(30.5, 31.5, "Where is the coach?", "heard", 0.9),
    ChannelCue(12.0, 20.0, "EXIT", "read", 0.9),
)


def encode_texts(texts: Sequence[str]) -> Tensor:
    return encode(texts)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    path = write_index(
        tmp_path / "movie.idx",
        random_codes(12),
        cues=CUES,
        encoder=lambda sentences: encode([sentence.text for sentence in sentences]),
    )
    return Index(path, replace(fake_model(), sentences=encode_texts))


def test_a_question_about_what_is_said_is_answered_with_the_sentences_times(index: Index) -> None:
    answer = index.ask("When does he talk about the bus?")
    assert answer.policy == "heard" and (answer.spans[0].start, answer.spans[0].end) == (9.0, 11.0)
    assert answer.spans[0].channels == ("heard",) and answer.answer.endswith("“The bus leaves at nine.”")
    assert answer.not_there is not None and answer.not_there < 0.5 and answer.quotes == ()
    values = answer.to_json()
    assert values["spans"][0]["channels"] == ["heard"] and values["spans"][0]["text"] == "The bus leaves at nine."
    assert "quotes" not in values and values["visual_tokens"] == 0 and "text_tokens" not in values


def test_what_is_said_is_quoted(index: Index) -> None:
    answer = index.ask("What does she say about apples?")
    assert answer.answer.startswith("“I like apples.” (") and [quote.start for quote in answer.quotes] == [20.0]
    assert answer.to_json()["quotes"][0] == {"start": 20.0, "end": 23.0, "text": "I like apples.", "channel": "heard"}


def test_everything_that_is_said_in_a_time_range(index: Index) -> None:
    answer = index.ask("What is said between 0:15 and 0:40?")
    assert [quote.text for quote in answer.quotes] == ["I like apples.", "Where is the coach?"]
    with pytest.raises(NothingFound, match=r"Nothing is said in that part of the video\."):
        index.ask("What is said in the last 5 seconds?")


def test_what_is_written_is_another_channel(index: Index) -> None:
    answer = index.ask("Where does it say exit?")
    assert answer.policy == "read" and (answer.spans[0].start, answer.spans[0].end) == (12.0, 20.0)


@pytest.mark.parametrize(
    ("question", "answer", "starts"),
    [
        (
            "How many times does he say the word the?",
            "2 times: from 0:09.0 to 0:11.0 and from 0:30.5 to 0:31.5.",
            [9, 30.5],
        ),
        ("How many times does he say the word the in the last 20 seconds?", "1 time: from 0:30.5 to 0:31.5.", [30.5]),
        ("How many times does he mention apples?", "1 time: from 0:20.0 to 0:23.0.", [20]),
        ("How many times does it say exit?", "1 time: from 0:12.0 to 0:20.0.", [12]),
        ("When is the second time he says the word the?", "From 0:30.5 to 0:31.5: “Where is the coach?”", [30.5]),
        ("When does he last say the word the?", "From 0:30.5 to 0:31.5: “Where is the coach?”", [30.5]),
    ],
)
def test_what_is_said_is_counted(index: Index, question: str, answer: str, starts: list[float]) -> None:
    result = index.ask(question)
    assert result.answer == answer and [span.start for span in result.spans] == starts
    assert result.policy in ("heard", "read") and all(span.channels == (result.policy,) for span in result.spans)


def test_what_is_said_nowhere_is_said_0_times(index: Index) -> None:
    answer = index.ask("How many times does he say zebra?")
    assert answer.answer.startswith("0 times: it seems not to be in this video; the likeliest moment is ")
    with pytest.raises(NothingFound, match="once only"):
        index.ask("When does he say apples for the third time?")


def test_nothing_that_is_said_enters_a_prompt_by_default(index: Index) -> None:
    model = index.model
    for question in ("When does he talk about the bus?", "What does she say about apples?", "What is there?", "a bus"):
        assert index.ask(question).text_tokens == 0
    assert all("apples" not in str(prompt) for prompt in model.vlm.prompts)  # type: ignore[attr-defined]
    assert index.ask("What is on the grass?").prompt == "What is on the grass?"


def test_the_policy_quote_puts_it_there_and_counts_it(index: Index) -> None:
    answer = index.ask("What does he say about the bus?", policy="quote")
    assert answer.policy == "quote" and answer.visual_tokens == 0
    said, question = answer.prompt.rsplit("\n", 1)
    assert "The video says: “The bus leaves at nine.”" in said and question == "What does he say about the bus?"
    assert answer.text_tokens == index.model.vlm.count_tokens(said) == answer.to_json()["text_tokens"] > 0
    assert index.ask("What does he say about the bus?", policy="route").text_tokens == 0


def test_a_question_that_names_no_channel_uses_all(index: Index) -> None:
    answer = index.ask("When does the bus leave?")
    assert answer.policy == "route" and all(span.channels for span in answer.spans)
    by_channel = {span.channels: span for span in answer.spans}
    assert any("heard" in channels for channels in by_channel) and any("seen" in channels for channels in by_channel)
    scores = [span.score for span in answer.spans]
    assert scores == sorted(scores, reverse=True)
    only_seen = index.ask("When does the bus leave?", policy="route")
    assert all(span.channels == () for span in only_seen.spans)
    assert answer.not_there is not None and only_seen.not_there is not None and answer.not_there < only_seen.not_there


def test_an_index_without_the_channel_says_so(tmp_path: Path) -> None:
    with Index(write_index(tmp_path / "a.idx", random_codes(5)), fake_model()) as index:
        answer = index.ask("When does he talk about the bus?")
        assert answer.policy == "route" and "chunkv2l listen INDEX adds it" in answer.notes[0]
        assert all("channels" not in span for span in answer.to_json()["spans"])
        assert "chunkv2l read INDEX adds it" in index.ask("Where does it say exit?").notes[0]
