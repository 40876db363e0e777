"""Sentences are found by meaning and by words, with probabilities that leave room for "not there"."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from chunkv2l.channels.cues import Sentence
from chunkv2l.errors import InputError
from chunkv2l.routing.channel_probability import ChannelCalibration, sentence_probabilities
from chunkv2l.routing.sentence_search import SentenceSearch

TEXTS = ("The bus leaves at nine.", "My coach departs early.", "I like 3 apples.", "Nothing else.", "EXIT 42")
MEANINGS = {"bus": 0, "coach": 0, "apples": 1, "exit": 2}


def encode(texts: Sequence[str]) -> Tensor:
    """Vectors by the first word with a meaning; others have one of their own."""
    vectors = torch.zeros(len(texts), 4)
    for row, text in zip(vectors, texts, strict=True):
        row[next((MEANINGS[word] for word in text.lower().rstrip(".").split() if word in MEANINGS), 3)] = 1.0
    return vectors


def sentences() -> list[Sentence]:
    return [
        Sentence(10.0 * i, 10.0 * i + 5, text, "read" if "EXIT" in text else "heard") for i, text in enumerate(TEXTS)
    ]


@pytest.fixture
def search() -> SentenceSearch:
    return SentenceSearch(sentences(), lambda: encode(TEXTS), encode)


def found(search: SentenceSearch, topic: str) -> list[str]:
    return [item.sentence.text for item in search.search(topic, "heard").ranked]


def test_meaning_finds_what_no_word_does(search: SentenceSearch) -> None:
    assert set(found(search, "the coach")[:2]) == {TEXTS[0], TEXTS[1]} and found(search, "the coach")[0] == TEXTS[1]
    assert found(SentenceSearch(sentences(), lambda: None, encode), "the coach")[0] == TEXTS[1]


def test_numbers_and_names_are_found_by_words(search: SentenceSearch) -> None:
    by_words = SentenceSearch(sentences(), lambda: None, encode)
    assert found(by_words, "3")[0] == TEXTS[2] and found(by_words, "leaving at nine")[0] == TEXTS[0]
    assert search.search("42", "read").ranked[0].sentence.text == "EXIT 42"


def test_probabilities_leave_room_for_not_there(search: SentenceSearch) -> None:
    scores = search.search("the bus", "heard")
    assert sum(item.p for item in scores.ranked) + scores.not_there == pytest.approx(1.0)
    assert scores.not_there < 0.5 < SentenceSearch(sentences(), lambda: None, None).search("zebra", "heard").not_there


def test_a_channel_and_a_time_range_are_searched_alone(search: SentenceSearch) -> None:
    assert {item.sentence.channel for item in search.search("bus", "heard").ranked} == {"heard"}
    assert [item.sentence.start for item in search.search("bus", "heard", {"": [(12.0, 21.0)]}).ranked] == [10.0, 20.0]
    assert search.search("bus", "heard", {"": [(97.0, 99.0)]}).ranked == ()
    parts = search.list_all("heard", {"": [(0.0, 1.0), (20.0, 21.0)]})
    assert 10.0 not in [item.sentence.start for item in parts.ranked] and parts.ranked[-1].sentence.start == 20.0
    assert [item.sentence.start for item in search.list_all("heard", {"": [(12.0, 21.0)]}).ranked] == [10.0, 20.0]


def test_vectors_of_another_encoder_are_refused() -> None:
    search = SentenceSearch(sentences(), lambda: torch.ones(len(TEXTS), 7), encode)
    with pytest.raises(InputError, match="vectors of another encoder"):
        search.search("bus", "heard")


def test_no_syntax_of_full_text_search_is_understood(search: SentenceSearch) -> None:
    for topic in ('"', "bus OR", "NEAR(", "*", "a" * 2000, ""):
        assert search.search(topic, "heard").not_there <= 1.0


def test_more_sentences_ask_for_more_evidence() -> None:
    calibration = ChannelCalibration(10.0, 4.0, 3.0)
    few = sentence_probabilities([0.5, 0.0], [1.0, 0.0], calibration)[0]
    many = sentence_probabilities([0.5] + [0.0] * 999, [1.0] + [0.0] * 999, calibration)[0]
    assert few[0] > many[0] and sentence_probabilities(None, [], calibration) == ([], 1.0)
