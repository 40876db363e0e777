"""Search the sentences of an index: by meaning, exactly over all vectors, and by words, numbers and names."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor

from chunkv2l.channels.cues import Channel, Sentence
from chunkv2l.errors import InputError
from chunkv2l.graph import INSTANT
from chunkv2l.index.fts import MAX_WORDS, STOP_WORDS
from chunkv2l.routing.channel_probability import (
    HEARD,
    HEARD_BY_WORDS,
    READ,
    READ_BY_WORDS,
    ChannelCalibration,
    sentence_probabilities,
)
from chunkv2l.timecode import Interval

if TYPE_CHECKING:
    from chunkv2l.models.sentence.minilm import Sentences

CALIBRATIONS: Final[dict[tuple[Channel, bool], ChannelCalibration]] = {
    ("heard", True): HEARD,
    ("heard", False): HEARD_BY_WORDS,
    ("read", True): READ,
    ("read", False): READ_BY_WORDS,
}
"""Calibrations by channel, and by whether there are vectors."""


Within: TypeAlias = "Mapping[str, Sequence[Interval]] | None"
"""The intervals of each movie by its name, seconds; others have no part. None for all."""


def overlaps(sentence: Sentence, within: Within) -> bool:
    """Tell whether a sentence overlaps one of its movie's intervals."""
    if within is None:
        return True
    return any(
        sentence.start < max(end, start + INSTANT) and sentence.end > start
        for start, end in within.get(sentence.movie, ())
    )


@dataclass(frozen=True)
class ScoredSentence:
    """A sentence and the probability that it is about a topic."""

    sentence: Sentence
    p: float


@dataclass(frozen=True)
class ChannelScores:
    """A channel's sentences, likeliest first, and the probability that none is about the topic."""

    channel: Channel
    ranked: tuple[ScoredSentence, ...]
    not_there: float


class SentenceSearch:
    """Search over one index's sentences; threads may share it."""

    def __init__(
        self,
        sentences: Sequence[Sentence],
        vectors: Callable[[], Tensor | None],
        encoder: Sentences | None,
        scale: float = 1.0,
    ) -> None:
        """
        Args:
            scale: sentences that are asked about for each that is here, where others weren't opened.
            vectors: reads the sentences' vectors [n, D]; called once, when needed.
            encoder: of topics, the one that the vectors come from; None to search by words alone.
        """
        self._sentences, self._read_vectors, self._encoder = tuple(sentences), vectors, encoder
        self._scale = scale
        self._lock = RLock()

    @cached_property
    def _vectors(self) -> Tensor | None:
        return None if self._encoder is None else self._read_vectors()

    @cached_property
    def _words(self) -> sqlite3.Connection:
        """A full-text index of the sentences, in memory."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='porter unicode61')")
        rows = ((number, sentence.text) for number, sentence in enumerate(self._sentences))
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        return connection

    def search(self, topic: str, channel: Channel, within: Within = None) -> ChannelScores:
        """Return a channel's sentences with their probabilities.

        Args:
            within: only sentences that overlap it.
        """
        numbers = self.inside(channel, within)
        cosines, shares = self.features(topic, numbers)
        calibration = CALIBRATIONS[channel, cosines is not None]
        p, not_there = sentence_probabilities(cosines, shares, calibration, self._scale)
        scored = [ScoredSentence(self._sentences[i], value) for i, value in zip(numbers, p, strict=True)]
        return ChannelScores(channel, tuple(sorted(scored, key=lambda item: -item.p)), not_there)

    def count(self, topic: str, channel: Channel, within: Within = None) -> list[tuple[Sentence, int]]:
        """Return the sentences that have all words of a topic, in order of time, and how many times each has them."""
        numbers = self.inside(channel, within)
        with self._lock:
            shares = self._shares(topic, numbers)
        phrase = re.compile(r"\b" + r"\W+".join(re.findall(r"\w+", topic)), re.IGNORECASE)
        saying = [self._sentences[i] for i, share in zip(numbers, shares, strict=True) if share > 1.0 - 1e-6]
        ordered = sorted(saying, key=lambda sentence: (sentence.movie, sentence.start))
        return [(sentence, max(1, len(phrase.findall(sentence.text)))) for sentence in ordered]

    def list_all(self, channel: Channel, within: Within) -> ChannelScores:
        """Return all sentences of a channel in a time range, in order of time, each as likely as the others."""
        numbers = self.inside(channel, within)
        scored = tuple(ScoredSentence(self._sentences[number], 1.0 / len(numbers)) for number in numbers)
        return ChannelScores(channel, scored, 0.0 if scored else 1.0)

    def features(self, topic: str, numbers: Sequence[int]) -> tuple[list[float] | None, list[float]]:
        """Return sentences' cosines with a topic (None without vectors), and their shares of its words."""
        with self._lock:
            vectors = self._vectors
            cosines: list[float] | None = None
            if vectors is not None and self._encoder is not None and numbers:
                query = self._encoder([topic])[0].float().cpu()
                if query.shape[0] != vectors.shape[1]:
                    raise InputError("The index's sentences have vectors of another encoder: build it with --force.")
                cosines = (vectors[torch.tensor(numbers)].float().cpu() @ query).tolist()
            return cosines, self._shares(topic, numbers)

    def inside(self, channel: Channel, within: Within = None) -> list[int]:
        """Return the numbers of a channel's sentences, in order of time."""
        return [
            number
            for number, sentence in enumerate(self._sentences)
            if sentence.channel == channel and overlaps(sentence, within)
        ]

    def _shares(self, topic: str, numbers: Sequence[int]) -> list[float]:
        """Return the share of the topic's words that each sentence has, the rarer the heavier."""
        words = list(dict.fromkeys(re.findall(r"\w+", topic.lower())))
        words = ([word for word in words if word not in STOP_WORDS] or words)[:MAX_WORDS]
        position = {number: i for i, number in enumerate(numbers)}
        shares, total = [0.0] * len(numbers), 0.0
        for word in words:
            rows = self._words.execute("SELECT rowid FROM words WHERE words MATCH ?", (f'"{word}"',)).fetchall()
            hits = [position[number] for (number,) in rows if number in position]
            weight = math.log(1 + (len(numbers) - len(hits) + 0.5) / (len(hits) + 0.5))
            total += weight
            for i in hits:
                shares[i] += weight
        return [share / total for share in shares] if total else shares
