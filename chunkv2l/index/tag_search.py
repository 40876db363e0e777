"""Search segments by the words of their tags: full-text search over the tags' names, in memory.

There are few names, whatever the movie's length: indexing them anew for each search takes a millisecond or two, and the
file holds no second full-text index that would have to be checked.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from chunkv2l.index.rows import TagRow

MAX_NAMES: Final = 20_000
"""Names that are searched, at most: a classifier has some thousand."""


class TagSearch:
    """Full-text search over tags. Threads may share it."""

    def __init__(self, tags: Sequence[Sequence[TagRow]]) -> None:
        """
        Args:
            tags: of each segment.
        """
        self._segments: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, of_segment in enumerate(tags):
            for tag in of_segment:
                self._segments[tag.name].append((number, tag.p))
        self._names = list(self._segments)[:MAX_NAMES]

    def __call__(self, query: str) -> dict[int, float]:
        """Return the segments that a full-text query (`fts.make_fts_query`) finds, and how relevant each is.

        A segment's relevance is the sum over its matching tags of probability times bm25 (more is better), counted over
        the names that the movie's tags have.
        """
        relevance: dict[int, float] = defaultdict(float)
        if self._names:
            with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
                connection.execute("CREATE VIRTUAL TABLE names USING fts5(name, tokenize='porter unicode61')")
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO names (rowid, name) VALUES (?, ?)", enumerate(self._names))
                matches = connection.execute("SELECT rowid, bm25(names) FROM names WHERE names MATCH ?", (query,))
                for row, rank in matches.fetchall():
                    for number, p in self._segments[self._names[row]]:
                        relevance[number] -= p * rank
        return dict(relevance)
