"""Choose movies by words: hashes of the words of each, as full-text search has them, and which movies have which."""

from __future__ import annotations

import math
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from chunkv2l.index.fts import MAX_WORDS, content_words


def hash_words(texts: Iterable[str], most: int) -> NDArray[np.uint32]:
    """Return the hashes of all words of the texts, each once, ascending; words are stemmed as indexes stem them.

    Args:
        most: words at most.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, content='', tokenize='porter unicode61')")
        connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(texts, row)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts, 1))
        terms = connection.execute("SELECT term FROM terms LIMIT ?", (most,)).fetchall()
    return np.unique(np.array([zlib.crc32(term.encode("utf-8", "replace")) for (term,) in terms], dtype=np.uint32))


class WordSearch:
    """The movies that have a word, for every word."""

    def __init__(self, words: Sequence[NDArray[np.uint32]]) -> None:
        """
        Args:
            words: hashes of each movie's words, as `hash_words` returns them.
        """
        self._movies = len(words)
        pairs = [of_movie.astype(np.uint64) << np.uint64(32) | np.uint64(i) for i, of_movie in enumerate(words)]
        self._pairs = np.sort(np.concatenate(pairs)) if pairs else np.zeros(0, np.uint64)

    def __call__(self, text: str) -> NDArray[np.float64]:
        """Return the relevance of each movie: the sum over the text's words that it has, the rarer the heavier."""
        relevance = np.zeros(self._movies)
        for word in hash_words([" ".join(content_words(text))], MAX_WORDS):
            first = np.uint64(int(word) << 32)
            begin, end = np.searchsorted(self._pairs, [first, first + np.uint64((1 << 32) - 1)])
            movies = (self._pairs[begin:end] & np.uint64((1 << 32) - 1)).astype(np.int64)
            relevance[movies] += math.log(1 + self._movies / len(movies)) if len(movies) else 0.0
        return relevance
