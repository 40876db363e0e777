"""Choose the movies that a question opens, from keys and words of all; and the movies that a filter keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from itertools import chain, zip_longest
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chunkv2l.graph import pick_evenly
from chunkv2l.library.keys_file import MovieRecord

MOST_OPENED: Final = 64
"""Movies that are opened for a question: as many as a selector compares segments."""
ENOUGH_SEGMENTS: Final = 4_000
"""Segments of opened movies from which on no more are opened: a question costs about the same in any library."""
LEAST_OPENED: Final = 4
"""Movies that are opened however long they are."""
KEYS_TO_WORDS: Final = 3
"""Movies by their nearest key for each by its words."""


@dataclass(frozen=True)
class Filter:
    """Restrict a question to a part of a library's movies.

    Attributes:
        movie: a pattern (`*`, `?`, `[…]`) of the movie's name or its index's, with or without their folder; "" for all.
        since, until: the days on which the movie's file was last changed, both included; the index's where the movie
            isn't beside it.
        longer, shorter: seconds that a movie lasts at least, at most.
    """

    movie: str = ""
    since: date | None = None
    until: date | None = None
    longer: float = 0.0
    shorter: float = float("inf")

    def keeps(self, record: MovieRecord, day: date) -> bool:
        """Tell whether a movie passes.

        Args:
            day: of its last change.
        """
        names = {record.name, record.index, PurePosixPath(record.name).name, PurePosixPath(record.index).name}
        return (
            (not self.movie or any(fnmatch(name.lower(), self.movie.lower()) for name in names))
            and (self.since is None or day >= self.since)
            and (self.until is None or day <= self.until)
            and self.longer <= record.seconds <= self.shorter
        )


def choose_movies(segments: Sequence[int], nearest: NDArray[np.float64], relevance: NDArray[np.float64]) -> list[int]:
    """Return the numbers of the movies to open, ascending: all where they are few, else those that fit best.

    Args:
        segments: how many each movie has.
        nearest: each movie's highest key similarity; -inf where it has no keys, and everywhere where keys don't count.
        relevance: each movie's by words; 0 where it has none of them.
    """
    by_keys = [int(i) for i in np.argsort(-nearest, kind="stable") if np.isfinite(nearest[i])]
    by_words = [int(i) for i in np.lexsort((-nearest, -relevance)) if relevance[i] > 0]
    ranked = list(dict.fromkeys(_by_turns(by_keys, by_words)))
    known = set(ranked)
    others = [i for i in range(len(segments)) if i not in known]
    if not ranked:  # nothing tells them apart
        others = pick_evenly(others, LEAST_OPENED) + others if sum(segments) > ENOUGH_SEGMENTS else others
    chosen: list[int] = []
    total = 0
    for i in dict.fromkeys([*ranked, *others]):
        if len(chosen) >= MOST_OPENED or (len(chosen) >= LEAST_OPENED and total + segments[i] > ENOUGH_SEGMENTS):
            break
        chosen.append(i)
        total += segments[i]
    return sorted(chosen)


def _by_turns(by_keys: Sequence[int], by_words: Sequence[int]) -> Iterator[int]:
    turns = [by_keys[i : i + KEYS_TO_WORDS] for i in range(0, len(by_keys), KEYS_TO_WORDS)]
    for keys, word in zip_longest(turns, by_words):
        yield from chain(keys or (), () if word is None else (word,))
