"""Cues become sentences with times of their own."""

from __future__ import annotations

import time

import pytest

from chunkv2l.channels.cues import ChannelCue, Sentence, Word
from chunkv2l.channels.sentences import MAX_WORDS, join_sentences, time_words


def heard(start: float, end: float, text: str, step: float = 0.5) -> ChannelCue:
    """A cue whose words follow each other every `step` seconds."""
    texts = text.split()
    words = tuple(Word(start + step * i, start + step * (i + 1), word) for i, word in enumerate(texts))
    return ChannelCue(start, end, text, "heard", 0.9, words)


def texts(*cues: ChannelCue) -> list[str]:
    return [sentence.text for sentence in join_sentences(cues)]


def test_a_sentence_has_its_words_times() -> None:
    first = heard(0.0, 4.0, "Good morning. The train leaves")
    second = heard(2.5, 4.0, "at nine. Don't be late.")
    assert join_sentences([first, second]) == (
        Sentence(0.0, 1.0, "Good morning.", "heard"),
        Sentence(1.0, 3.5, "The train leaves at nine.", "heard"),
        Sentence(3.5, 5.0, "Don't be late.", "heard"),
    )


def test_a_word_without_a_time_gets_one_by_its_letters() -> None:
    cue = ChannelCue(10.0, 20.0, "abc abcd abcdefghij", "given")
    assert [(word.start, word.end, word.text) for word in time_words(cue)] == [
        (10.0, 12.0, "abc"),
        (12.0, 14.5, "abcd"),
        (14.5, 20.0, "abcdefghij"),
    ]


def test_subtitles_that_run_on_are_joined() -> None:
    cues = [ChannelCue(0.0, 2.0, "The suitcase is what I take", "given"), ChannelCue(2.0, 4.0, "on a plane.", "given")]
    assert join_sentences(cues) == (Sentence(0.0, 4.0, "The suitcase is what I take on a plane.", "given"),)


def test_a_pause_ends_a_sentence_without_a_full_stop() -> None:
    assert texts(heard(0.0, 1.0, "so yeah"), heard(5.0, 6.0, "next point")) == ["so yeah", "next point"]


def test_speech_without_punctuation_is_cut() -> None:
    text = " ".join(f"word{i}" for i in range(100))
    assert [len(sentence.split()) for sentence in texts(heard(0.0, 10.0, text, 0.1))] == [MAX_WORDS, MAX_WORDS, 20]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Dashwood left. He was ill.", ["Mr. Dashwood left.", "He was ill."]),
        ("It costs 3.50 in the U. S. A. today!", ["It costs 3.50 in the U. S. A. today!"]),
        ('She said "No." Then she left.', ['She said "No."', "Then she left."]),
        ("Really?! Yes…", ["Really?!", "Yes…"]),
        ("今日は晴れです。明日は雨です。", ["今日は晴れです。", "明日は雨です。"]),
    ],
)
def test_what_ends_a_sentence(text: str, expected: list[str]) -> None:
    assert texts(ChannelCue(0.0, 4.0, text, "given")) == expected


def test_what_was_given_goes_before_what_was_heard() -> None:
    given = ChannelCue(0.0, 4.0, "The panda colour way.", "given")
    sentences = join_sentences([given, heard(0.5, 3.0, "The pander color away."), heard(6.0, 7.0, "Only heard.")])
    assert [(sentence.text, sentence.source) for sentence in sentences] == [
        ("The panda colour way.", "given"),
        ("Only heard.", "heard"),
    ]
    assert join_sentences([heard(3.0, 6.0, "Half of it is covered by nothing.", 0.5), given])[1].source == "heard"


def test_a_text_on_the_screen_stays_as_it_is() -> None:
    cue = ChannelCue(3.0, 9.0, "Chapter 1. The beginning. An end?", "read", 0.97)
    assert join_sentences([cue, heard(0.0, 1.0, "Hello.")]) == (
        Sentence(0.0, 0.5, "Hello.", "heard"),
        Sentence(3.0, 9.0, "Chapter 1. The beginning. An end?", "read"),
    )
    assert [sentence.channel for sentence in join_sentences([cue, heard(0.0, 1.0, "Hello.")])] == ["heard", "read"]


@pytest.mark.parametrize(
    "word", ["." * 50_000 + "x", "." * 25_000 + '"' * 25_000 + "x", "A" * 50_000 + ".", "Mr." * 20_000]
)
def test_long_words_take_no_time(word: str) -> None:
    """A subtitle of 50,000 full stops and a letter behind them took a minute."""
    started = time.process_time()
    assert "".join(s.text for s in join_sentences([ChannelCue(0.0, 9.0, f"{word} on", "given")])).startswith(word[:9])
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("word", "sentences"),
    [
        ("end.", 2),
        ("end...", 2),
        ("end.”", 2),
        ("end!)]", 2),
        ("end…", 2),
        ("end,", 1),
        ("Mr.", 1),
        ('"end"', 1),
        ("J.", 1),
    ],
)
def test_the_ends_of_sentences(word: str, sentences: int) -> None:
    assert len(join_sentences([ChannelCue(0.0, 2.0, f"{word} more", "given")])) == sentences
