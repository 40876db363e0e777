"""Leave out what a recogniser invents: words over silence and music, and words that it says again and again.

Pure functions over values; the numbers that Whisper reports of a segment are explained in its paper (Radford et al.
2022, arXiv 2212.04356, section 4.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chunkv2l.channels.cues import Word

MIN_LOG_PROBABILITY: Final = -1.2
"""Mean log-probability of a segment's tokens below which it isn't believed."""
MAX_NO_SPEECH: Final = 0.6
"""Probability of silence from which on a segment has to be sure of its words."""
SURE_LOG_PROBABILITY: Final = -0.5
"""Mean log-probability of a segment that is sure of its words."""
MAX_REPEATS: Final = 3
"""Times in a row that words may be said; recognisers that are stuck say them more often."""
LONGEST_PHRASE: Final = 12
"""Words of the longest phrase whose repetition is looked for."""


def is_believable(log_probability: float, no_speech: float) -> bool:
    """Tell whether a segment is speech, by the mean log-probability of its tokens and the probability of silence."""
    if log_probability < MIN_LOG_PROBABILITY:
        return False
    return no_speech <= MAX_NO_SPEECH or log_probability >= SURE_LOG_PROBABILITY


def drop_repeats(words: Sequence[Word]) -> list[Word]:
    """Return words with phrases that follow each other more than `MAX_REPEATS` times said once."""
    kept = list(words)
    for length in range(1, LONGEST_PHRASE + 1):
        kept = _drop_repeats_of(kept, length)
    return kept


def _drop_repeats_of(words: Sequence[Word], length: int) -> list[Word]:
    kept: list[Word] = []
    position = 0
    keys = [word.text.lower().strip(".,!?…") for word in words]
    while position < len(words):
        phrase = keys[position : position + length]
        behind = position + length
        while len(phrase) == length and keys[behind : behind + length] == phrase:
            behind += length
        times = (behind - position) // length
        if times > MAX_REPEATS:
            kept += words[position : position + length]
            position = behind
        else:
            kept.append(words[position])
            position += 1
    return kept
