"""Question words choose the channel, and what is looked for there."""

from __future__ import annotations

import pytest

from chunkv2l.query.channels import ChannelRequest, read_channel
from chunkv2l.query.parse import parse


@pytest.mark.parametrize(
    ("question", "channel", "topic"),
    [
        ("When does he talk about the camera?", "heard", "the camera"),
        ("When is the battery mentioned?", "heard", "The battery"),
        ("When does she say good morning?", "heard", "good morning"),
        ("When do they discuss the budget?", "heard", "the budget"),
        ("When does he mention that he lived in Holland?", "heard", "he lived in Holland"),
        ("At what point does the speaker explain how a lens works?", "heard", "how a lens works"),
        ("Find the moment when she speaks of her mother", "heard", "her mother"),
        ("When does the guide tell us about the castle?", "heard", "the castle"),
        ("When are the new prices announced?", "heard", "The new prices"),
        ("Where does he talk about Toronto?", "heard", "Toronto"),
        ("When do we hear the word budget?", "heard", "budget"),
        ("She says good morning.", "heard", "good morning"),
        ("Where does it say EXIT?", "read", "EXIT"),
        ('When does it say "Chapter Two"?', "read", "Chapter Two"),
        ("When does the slide show the architecture?", "read", "the architecture"),
        ("When do the credits mention the composer?", "read", "the composer"),
        ("When does the sign say no parking?", "read", "no parking"),
        ("When does the title read The Garden?", "read", "The Garden"),
        ("When is the price written on the board?", "read", "The price"),
        ("When is his name shown on the title card?", "read", "His name"),
        ("How many times does he say hello?", "heard", "hello"),
        ("How often does she mention the weather in the first minute?", "heard", "the weather"),
        ("How many times does the sign say EXIT?", "read", "EXIT"),
        ("How often is the word hello said?", "heard", "hello"),
        ("When does he first say hello?", "heard", "hello"),
        ("When is the last time she mentions Rome?", "heard", "Rome"),
        ("When does he say hello for the third time?", "heard", "hello"),
        ("When does the text Subscribe appear on the screen?", "read", "Subscribe"),
    ],
)
def test_a_question_names_a_channel(question: str, channel: str, topic: str) -> None:
    request = read_channel(parse(question))
    assert request is not None
    assert (request.channel, request.topic.lower(), request.asks_for_words) == (channel, topic.lower(), False)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What does he say about the suitcase?", ChannelRequest("heard", "the suitcase", True)),
        ("What does she say about her mother in the last minute?", ChannelRequest("heard", "her mother", True)),
        ("What did they say about the weather?", ChannelRequest("heard", "the weather", True)),
        ("What does the slide say about costs?", ChannelRequest("read", "costs", True)),
        ("What is said in the first minute?", ChannelRequest("heard", "", True)),
        ("Does he mention the price?", ChannelRequest("heard", "the price", True)),
        ("What is written on the board?", ChannelRequest("read", "", True)),
    ],
)
def test_a_question_asks_for_the_words(question: str, expected: ChannelRequest) -> None:
    assert read_channel(parse(question)) == expected


def test_what_is_said_word_for_word() -> None:
    requests = [
        read_channel(parse(f"How many times does he {words}?"))
        for words in ("say hello", "say something about Rome", "mention Rome")
    ]
    assert [request is not None and request.is_verbatim for request in requests] == [True, False, False]


@pytest.mark.parametrize(
    "question",
    [
        "When does a dog catch the ball?",
        "When does he talk to the woman?",
        "Two men discuss a map on a table.",
        "A woman talks about her day while driving.",
        "What is on the table?",
        "When does the table fall?",
        "When does a man read a newspaper?",
        "When does he write on the board?",
        "What happens after he says goodbye?",
        "When does the phone call end?",
        "What does he say?",
        "When does the screen go dark?",
        "What is this movie about?",
        "When does the essay get torn?",
    ],
)
def test_a_question_names_none(question: str) -> None:
    assert read_channel(parse(question)) is None
