"""Invented words are left out."""

from __future__ import annotations

import pytest

from chunkv2l.channels.cues import Word
from chunkv2l.speech.guards import drop_repeats, is_believable


@pytest.mark.parametrize(
    ("log_probability", "no_speech", "expected"),
    [(-0.1, 0.01, True), (-0.1, 0.9, True), (-0.9, 0.1, True), (-0.9, 0.9, False), (-1.5, 0.0, False)],
)
def test_a_segment_has_to_be_likely_the_more_so_over_silence(
    log_probability: float, no_speech: float, expected: bool
) -> None:
    assert is_believable(log_probability, no_speech) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no no no", "no no no"),
        ("no no no no no", "no"),
        ("thank you. Thank you. thank you. thank you, and so on", "thank you. and so on"),
        ("a b c a b c a b c a b d", "a b c a b c a b c a b d"),
        ("x a b c a b c a b c a b c a b c y", "x a b c y"),
        ("", ""),
    ],
)
def test_a_phrase_that_is_said_again_and_again_is_said_once(text: str, expected: str) -> None:
    words = [Word(i, i + 1, word) for i, word in enumerate(text.split())]
    kept = drop_repeats(words)
    assert " ".join(word.text for word in kept) == expected
    assert [word.start for word in kept] == sorted(word.start for word in kept)
