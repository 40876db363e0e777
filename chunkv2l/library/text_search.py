"""Search the words and vectors of all movies of a library, to choose those that a question opens.

Sentences get the probabilities that they would have if all movies were one (`routing.channel_probability`): those that
have one of the topic's words, and the nearest by meaning, which sketches find among all. The likeliest speaks for its
movie; of an hour of others, none about the topic, the sum would be as much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chunkv2l.channels.cues import Channel
from chunkv2l.index.fts import content_words
from chunkv2l.library.sketches import Sketches, cosines, count_differences, make_sketches
from chunkv2l.library.text_file import CHANNEL_BYTES, TextFile
from chunkv2l.routing.sentence_search import CALIBRATIONS

MOST_HITS: Final = 10_000
"""Sentences of a word; one that more have tells little, and is left out beside others."""
MOST_CAPTIONS: Final = 5_000
"""The same of captions, which are one sign among several."""
NEAREST: Final = 1_024
"""Sentences whose sketches are nearest, which are compared by their vectors."""
BY_WORDS: Final = 512
"""Sentences with most of the topic's words, which are compared likewise."""

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class _AllSentences(NamedTuple):
    """The sentences of all movies in order of their rows, and the sketches of those that `has_vector`."""

    rows: Numbers
    movies: Numbers
    channels: NDArray[np.uint8]
    has_vector: Flags
    sketches: Sketches


def _read_sentences(file: TextFile, numbers: Mapping[str, int], width: int) -> _AllSentences:
    records = [record for record in file.records if record.name in numbers and record.sentences]
    lengths = [record.sentences for record in records]
    ranges = [np.arange(record.end - record.sentences, record.end) for record in records]
    with_vectors = [record for record in records if width and record.width == width]
    has_vector = np.array([bool(width) and record.width == width for record in records], bool)
    return _AllSentences(
        rows=np.concatenate([np.zeros(0, np.int64), *ranges]),
        movies=np.repeat(np.array([numbers[record.name] for record in records], np.int64), lengths),
        channels=file.channels(records),
        has_vector=np.repeat(has_vector, lengths),
        sketches=file.sketches(with_vectors),
    )


class _Sentences:
    """The sentences of a channel, in order of their rows.

    Attributes:
        rows, movies: each one's row, and the number of its movie.
        counts: of each movie's sentences.
        compared: positions of those that have vectors of the common width, one for each of `sketches`.
    """

    def __init__(self, texts: _AllSentences, channel: Channel, count: int) -> None:
        is_asked = texts.channels == CHANNEL_BYTES[channel]
        self.rows = texts.rows[is_asked]
        self.movies = texts.movies[is_asked]
        self.counts: Numbers = np.bincount(self.movies, minlength=count)
        self.compared: Numbers = np.flatnonzero(texts.has_vector[is_asked])
        kept = np.flatnonzero(is_asked[texts.has_vector])
        self.sketches: Sketches = np.empty((len(kept), texts.sketches.shape[1]), np.uint64, order="F")
        for column in range(texts.sketches.shape[1]):  # side by side, as they are compared
            self.sketches[:, column] = texts.sketches[kept, column]

    def find(self, rows: Numbers) -> Numbers:
        """Return the positions of those of the rows that are here."""
        if not len(self.rows):
            return np.zeros(0, np.int64)
        positions = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        present: Numbers = positions[self.rows[positions] == rows]
        return present


class TextSearch:
    """The rows of a library's movies, searched."""

    def __init__(self, file: TextFile, names: Sequence[str]) -> None:
        """
        Args:
            names: of the movies, as the file's records have them; results are in this order.
        """
        self._file = file
        self._count = len(names)
        numbers = {name: number for number, name in enumerate(names)}
        records = [record for record in file.records if record.name in numbers]
        self._firsts = np.array([record.first for record in records], np.int64)
        self._segments = np.array([record.segments for record in records], np.int64)
        self._movies = np.array([numbers[record.name] for record in records], np.int64)
        widths = Counter(record.width for record in records if record.width)
        self._width = widths.most_common(1)[0][0] if widths else 0
        texts = _read_sentences(file, numbers, self._width)
        self._channels = {channel: _Sentences(texts, channel, self._count) for channel in CHANNEL_BYTES}

    def count(self, channel: Channel) -> Numbers:
        """Return how many sentences of a channel each movie has."""
        return self._channels[channel].counts

    def weigh_captions(self, text: str, movies: Flags) -> Floats:
        """Return each movie's relevance: the sum over the text's words that its best segment has, rare ones heavier.

        Args:
            movies: those that are searched.
        """
        relevance = np.zeros(self._count)
        if not len(self._firsts):
            return relevance
        total = int(self._segments[movies[self._movies]].sum())
        hits: list[tuple[Numbers, float]] = []
        for rows in self._rows_of(text, MOST_CAPTIONS):
            at = np.searchsorted(self._firsts, rows, "right") - 1
            kept = (at >= 0) & (rows - self._firsts[at] < self._segments[at]) & movies[self._movies[at]]
            hits.append((rows[kept], _weigh(total, int(kept.sum()))))
        rows, weights = _add_up(hits)
        np.maximum.at(relevance, self._movies[np.searchsorted(self._firsts, rows, "right") - 1], weights)
        return relevance

    def weigh_sentences(
        self, topic: str, channel: Channel, movies: Flags, vector: NDArray[np.float32] | None
    ) -> Floats:
        """Return the highest probability of each movie's sentences of a channel to be about a topic.

        Args:
            movies: those that are searched.
            vector: the topic's, of length 1; None to search by words alone.
        """
        sentences = self._channels[channel]
        total = int(sentences.counts[movies].sum())
        if not total:
            return np.zeros(self._count)
        matching, shares = self._share_words(topic, sentences, movies, total)
        if vector is not None and len(vector) == self._width:
            far = 64 * sentences.sketches.shape[1] + 1
            differences = np.full(len(sentences.rows), far, np.uint16)
            differences[sentences.compared] = count_differences(sentences.sketches, make_sketches(vector[None])[0])
            if not movies.all():
                differences[~movies[sentences.movies]] = far
            nearest = _smallest(differences, NEAREST)
            nearest = nearest[differences[nearest] < far]
            best = np.lexsort((differences[matching], -shares))[:BY_WORDS]
        else:
            vector, nearest = None, np.zeros(0, np.int64)
            best = np.argsort(-shares, kind="stable")[:BY_WORDS]
        candidates = np.union1d(matching[best], nearest)
        share = np.zeros(len(candidates))
        share[np.searchsorted(candidates, matching[best])] = shares[best]
        evidence = self._evidence(sentences, candidates, share, channel, vector)
        top = max(0.0, float(evidence.max(initial=0.0)))
        odds = np.exp(evidence - top)
        p = odds / (total * math.exp(-top) + odds.sum())
        highest = np.zeros(self._count)
        np.maximum.at(highest, sentences.movies[candidates], p)
        return highest

    def _evidence(
        self,
        sentences: _Sentences,
        candidates: Numbers,
        shares: Floats,
        channel: Channel,
        vector: NDArray[np.float32] | None,
    ) -> Floats:
        """Return z − β of sentences."""
        by_words = CALIBRATIONS[channel, False]
        evidence = by_words.words * shares - by_words.absent
        if vector is not None:
            calibration = CALIBRATIONS[channel, True]
            compared = np.flatnonzero(np.isin(candidates, sentences.compared, assume_unique=True))
            stored = self._file.vectors(sentences.rows[candidates[compared]].tolist(), self._width)
            meaning = calibration.meaning * cosines(stored, vector)
            evidence[compared] = meaning + calibration.words * shares[compared] - calibration.absent
        return evidence

    def _share_words(self, topic: str, sentences: _Sentences, movies: Flags, total: int) -> tuple[Numbers, Floats]:
        """Return the sentences that have any of the topic's words, and their shares of these, the rarer the heavier."""
        hits: list[tuple[Numbers, float]] = []
        for rows in self._rows_of(topic, MOST_HITS):
            positions = sentences.find(rows)
            positions = positions[movies[sentences.movies[positions]]]
            hits.append((positions, _weigh(total, len(positions))))
        positions, weights = _add_up(hits)
        return positions, weights / max(1e-12, sum(weight for _, weight in hits))

    def _rows_of(self, text: str, most: int) -> list[Numbers]:
        """Return the rows of each of a text's words; of words that more than `most` have, only if all are such."""
        listed = [self._file.rows_with(word, most + 1) for word in content_words(text)]
        return [rows for rows in listed if len(rows) <= most] or listed


def _weigh(total: int, hits: int) -> float:
    """Return the weight of a word that so many of all texts have, as `SentenceSearch` weighs them."""
    return math.log(1 + (total - hits + 0.5) / (hits + 0.5))


def _add_up(hits: Sequence[tuple[Numbers, float]]) -> tuple[Numbers, Floats]:
    """Return the numbers in any of the lists, ascending, and the sum of the weights of the lists that each is in."""
    numbers = np.concatenate([np.zeros(0, np.int64), *(listed for listed, _ in hits)])
    weights = np.concatenate([np.zeros(0), *(np.full(len(listed), weight) for listed, weight in hits)])
    unique, position = np.unique(numbers, return_inverse=True)
    return unique, np.bincount(position, weights, len(unique)).astype(np.float64)


def _smallest(values: NDArray[np.uint16], count: int) -> Numbers:
    """Return the positions of the smallest values: so many, or all; of equal ones the first."""
    if count >= len(values):
        return np.arange(len(values))
    most = int(np.searchsorted(np.cumsum(np.bincount(values)), count))  # at least so many are that small
    below = np.flatnonzero(values < most)
    return np.concatenate([below, np.flatnonzero(values == most)[: count - len(below)]])
