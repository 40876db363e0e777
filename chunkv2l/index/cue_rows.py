"""Check the rows of cues and sentences, and turn them into values and back: pure functions of what SQLite returns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from chunkv2l.channels.cues import SOURCES, ChannelCue, Sentence, Word
from chunkv2l.index.meta import MAX_SECONDS
from chunkv2l.index.rows import MAX_TEXTS
from chunkv2l.index.schema import Malformed
from chunkv2l.sanitize import canonical_json, is_finite, is_line

MAX_CUES: Final = 400_000
"""Cues of an index, and sentences: more than a hundred hours of talk."""
MAX_WORDS_JSON: Final = 1 << 18
"""Characters of one cue's words with their times."""
MAX_WORDS: Final = 1_000_000
"""Words with times of all cues: a hundred hours of talk."""
_ROUNDING: Final = 1e-3  # seconds to which words' times are stored


def write_words(words: Sequence[Word]) -> str:
    """Return a cue's words as the index stores them: JSON, [[start, end, text], …], times in milliseconds."""
    return canonical_json([[_milliseconds(word.start), _milliseconds(word.end), word.text] for word in words])


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def check_cues(rows: Iterable[Sequence[Any]], most: int = MAX_TEXTS) -> tuple[ChannelCue, ...]:
    """Check rows (start, end, text, source, confidence, words); texts are None where they are too long.

    Each source's cues are in order of their starts.

    Args:
        most: characters of all texts together, words included, at most `MAX_TEXTS`.

    Raises:
        Malformed: what no build writes.
    """
    cues: list[ChannelCue] = []
    latest = dict.fromkeys(SOURCES, 0.0)
    characters = word_count = 0
    for start, end, text, source, confidence, words in rows:
        if source not in SOURCES:
            raise Malformed("a cue of an unknown source")
        if not (is_finite(start) and is_finite(end) and 0 <= start <= end <= MAX_SECONDS and is_line(text)):
            raise Malformed("a cue without times or a line of text")
        if start < latest[source]:
            raise Malformed("cues out of order")
        if not (is_finite(confidence) and 0 <= confidence <= 1):
            raise Malformed("a cue's confidence that is no probability")
        if not isinstance(words, str):
            raise Malformed("a cue's words that aren't a text, or too many")
        characters += len(text) + len(words)
        word_count += words.count("[") - 1
        if characters > min(most, MAX_TEXTS) or word_count > MAX_WORDS:
            raise Malformed("more text than there can be")
        latest[source] = start
        cues.append(ChannelCue(float(start), float(end), text, source, float(confidence), _read_words(words, end)))
    return tuple(cues)


def _read_words(text: str, end: float) -> tuple[Word, ...]:
    """Return a cue's words; those of one cue are in order and end with it."""
    if text == "[]":
        return ()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("a cue's words that aren't JSON") from error
    if not isinstance(values, list):
        raise Malformed("a cue's words that aren't a list")
    is_checked = "\\" not in text and is_line(text)  # without escapes, words are as the text has them
    earliest, latest = 0, 1000 * (end + _ROUNDING)
    words: list[Word] = []
    for value in values:
        if type(value) is not list or len(value) != 3:
            raise Malformed("a cue's word without times")
        start, stop, word = value
        if type(start) is not int or type(stop) is not int:
            raise Malformed("a cue's word without times")
        if not earliest <= start <= stop <= latest:
            raise Malformed("a cue's word at a time that can't be")
        if type(word) is not str or not word or not (is_checked or is_line(word)):
            raise Malformed("a cue's word that isn't one")
        words.append(Word(start / 1000, stop / 1000, word))
        earliest = start
    return tuple(words)


def check_sentences(rows: Iterable[Sequence[Any]], most: int = MAX_TEXTS) -> tuple[Sentence, ...]:
    """Check rows (id, start, end, text, source): numbered from 0, in order of their starts.

    Args:
        most: characters of all texts together, at most `MAX_TEXTS`.

    Raises:
        Malformed: what no build writes.
    """
    sentences: list[Sentence] = []
    characters = 0
    for number, start, end, text, source in rows:
        if number != len(sentences):
            raise Malformed(f"sentence {len(sentences)} is missing")
        if source not in SOURCES:
            raise Malformed("a sentence of an unknown source")
        if not (is_finite(start) and is_finite(end) and 0 <= start <= end <= MAX_SECONDS and is_line(text)):
            raise Malformed("a sentence without times or a line of text")
        if sentences and start < sentences[-1].start:
            raise Malformed("sentences out of order")
        characters += len(text)
        if characters > min(most, MAX_TEXTS):
            raise Malformed("more text than there can be")
        sentences.append(Sentence(float(start), float(end), text, source))
    return tuple(sentences)
