"""Join cues into sentences with times of their own: what questions are compared with, and what is quoted.

Recognisers and subtitles break lines where it suits them. A sentence ends at a full stop, a pause, or a length; a word
without a time of its own gets one by its position among its cue's letters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeVar

from chunkv2l.channels.cues import ChannelCue, Sentence, Word
from chunkv2l.timecode import Timed, join_intervals

T = TypeVar("T", bound=Timed)

PAUSE: Final = 1.5
"""Seconds of silence at which a sentence ends, whatever its punctuation."""
MAX_WORDS: Final = 40
"""Words of the longest sentence: speech without punctuation is cut there."""
CLAUSE_WORDS: Final = 12
"""Words from which on a sentence ends at a comma: speakers, and recognisers, leave out full stops."""
MAX_SECONDS: Final = 30.0
"""Seconds of the longest sentence."""
COVERED: Final = 0.5
"""Share of a heard sentence's time from which on given text stands for it."""
_STOPS = (".", "!", "?", "…", "。", "！", "？")
_CLOSING = "\"'”’»)]"  # what may stand behind a full stop
_FULL_STOPS = re.compile(r"(?<=[。！？])(?=[^。！？\"'”’»)\]])")  # of scripts that put no space behind
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|No|Nr|approx|e\.g|i\.e|z\.B|bzw|ca)|(?:^|[^\w])[A-Z])\.$"
)


def join_sentences(cues: Iterable[ChannelCue]) -> tuple[Sentence, ...]:
    """Return the sentences of all cues, in order of time: what was given goes before what was heard.

    A heard sentence whose time given cues cover by more than `COVERED` is left out. A read cue is a sentence.
    """
    by_source: dict[str, list[ChannelCue]] = {"given": [], "heard": [], "read": []}
    for cue in cues:
        by_source[cue.source].append(cue)
    sentences = [*_join(by_source["given"])]
    sentences += _uncovered(_join(by_source["heard"]), by_source["given"])
    sentences += [Sentence(cue.start, cue.end, cue.text, "read") for cue in by_source["read"] if cue.text]
    return tuple(sorted(sentences, key=lambda sentence: (sentence.start, sentence.end, sentence.source)))


def drop_covered(cues: Sequence[ChannelCue]) -> Iterator[ChannelCue]:
    """Yield given cues, and those heard whose time given ones don't cover by more than `COVERED`."""
    given = [cue for cue in cues if cue.source == "given"]
    yield from given
    yield from _uncovered([cue for cue in cues if cue.source == "heard"], given)


def time_words(cue: ChannelCue) -> tuple[Word, ...]:
    """Return a cue's words: its own, or its text's with times in proportion to their letters."""
    if cue.words:
        return cue.words
    texts = [part for word in cue.text.split() for part in _FULL_STOPS.split(word)]
    letters = sum(len(text) + 1 for text in texts)
    words: list[Word] = []
    position = 0
    for text in texts:
        start = cue.start + (cue.end - cue.start) * position / letters
        position += len(text) + 1
        words.append(Word(start, cue.start + (cue.end - cue.start) * position / letters, text))
    return tuple(words)


def _join(cues: Sequence[ChannelCue]) -> Iterator[Sentence]:
    """Yield the sentences of one source's cues."""
    words: list[Word] = []
    for cue in sorted(cues, key=lambda cue: (cue.start, cue.end)):
        for word in time_words(cue):
            if words and (
                word.start - words[-1].end > PAUSE
                or len(words) >= MAX_WORDS
                or word.end - words[0].start > MAX_SECONDS
                or _ends_sentence(words[-1].text)
                or (len(words) >= CLAUSE_WORDS and words[-1].text.endswith((",", ";", ":")))
            ):
                yield _make_sentence(words, cue)
                words = []
            words.append(word)
    if words:
        yield _make_sentence(words, cues[0])


def _ends_sentence(word: str) -> bool:
    return word.rstrip(_CLOSING).endswith(_STOPS) and not _ABBREVIATION.search(word)


def _make_sentence(words: Sequence[Word], cue: ChannelCue) -> Sentence:
    text = join_words([word.text for word in words])
    start = words[0].start
    return Sentence(start, max(start, *(word.end for word in words)), text, cue.source)


def join_words(words: Sequence[str]) -> str:
    """Return words as a text: a space between them, but none between letters of Chinese and Japanese."""
    text = "".join(words[:1])
    for before, word in pairwise(words):
        text += word if _runs_on(before, word) else f" {word}"
    return text


def _runs_on(before: str, word: str) -> bool:
    """Tell whether two words are written without a space between them, as Chinese and Japanese are."""
    return _is_ideograph(before[-1:]) and _is_ideograph(word[:1])


def _is_ideograph(letter: str) -> bool:
    return "\u3000" <= letter <= "\u30ff" or "\u3400" <= letter <= "\u9fff" or "\uff00" <= letter <= "\uffef"


def _uncovered(items: Iterable[T], given: Sequence[ChannelCue]) -> Iterator[T]:
    """Yield what was heard whose time given cues cover by no more than `COVERED`."""
    intervals = join_intervals((cue.start, cue.end) for cue in given)
    starts = [start for start, _ in intervals]
    for item in items:
        first = max(0, bisect_left(starts, item.start) - 1)
        covered = 0.0
        for number in range(first, len(intervals)):
            start, end = intervals[number]
            if start >= item.end:
                break
            covered += max(0.0, min(end, item.end) - max(start, item.start))
        if covered <= COVERED * (item.end - item.start):
            yield item
