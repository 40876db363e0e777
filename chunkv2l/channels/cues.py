"""Values for what is said or written in a movie: cues with their source, words with times, sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Source: TypeAlias = Literal["given", "heard", "read"]
"""Origin of a cue: subtitles that the user or the movie's file gave, speech recognition, or text recognition."""
SOURCES: Final[tuple[Source, ...]] = ("given", "heard", "read")
Channel: TypeAlias = Literal["seen", "heard", "read"]
"""A way in which a question's answer is found: in the pictures, in what is said, or in text on the screen."""
CHANNELS: Final[tuple[Channel, ...]] = ("seen", "heard", "read")


@dataclass(frozen=True)
class Word:
    """A word of a cue, spoken in [start, end) seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class ChannelCue:
    """A line of text that is spoken or shown in [start, end) seconds of the movie.

    Attributes:
        confidence: the recogniser's probability of its text, in [0, 1]; 1 for text that was given.
        words: with times, where the recogniser has them.
    """

    start: float
    end: float
    text: str
    source: Source
    confidence: float = 1.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Sentence:
    """A sentence, joined from cues or split off one: [start, end) seconds; in a library, of a movie."""

    start: float
    end: float
    text: str
    source: Source
    movie: str = ""

    @property
    def channel(self) -> Channel:
        """The channel by which it is found: what was given is heard."""
        return "read" if self.source == "read" else "heard"
