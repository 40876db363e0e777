"""Choose the movies that a question opens, by what is known of all; and the movies that a filter keeps."""

from __future__ import annotations

from collections.abc import Sequence
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
ENOUGH: Final = 2_400
"""Segments of opened movies from which on no more are opened (sentences, where these are asked about): a question costs
about the same in any library."""
LEAST_OPENED: Final = 4
"""Movies that are opened however long they are."""
BY_KEYS: Final = 3
"""Movies by their nearest key for each by its captions, and for each by its sentences."""


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


@dataclass(frozen=True)
class Ranking:
    """Movies by one sign of what a question looks for, best first; `turn` of them are taken at a time."""

    movies: Sequence[int]
    turn: int = 1


def rank(values: NDArray[np.float64], least: float, turn: int = 1) -> Ranking:
    """Return the ranking of the movies whose value is above `least`, highest first."""
    return Ranking([int(i) for i in np.argsort(-values, kind="stable") if values[i] > least], turn)


def choose_movies(members: Sequence[int], sizes: Sequence[int], rankings: Sequence[Ranking]) -> list[int]:
    """Return the numbers of the movies to open, ascending: all where they are few, else by turns from the rankings.

    Args:
        members: numbers of those to choose from; rankings may name others.
        sizes: segments of all movies by number, or sentences where these are asked about.
    """
    turns = [
        [ranking.movies[i : i + ranking.turn] for i in range(0, len(ranking.movies), ranking.turn)]
        for ranking in rankings
    ]
    known = set(members)
    ranked = [i for i in chain.from_iterable(chain(*zip_longest(*turns, fillvalue=()))) if i in known]
    others = list(members)
    if not ranked and sum(sizes[i] for i in members) > ENOUGH:  # nothing tells them apart
        others = pick_evenly(others, LEAST_OPENED) + others
    chosen: list[int] = []
    total = 0
    for i in dict.fromkeys([*ranked, *others]):
        if len(chosen) >= MOST_OPENED or (len(chosen) >= LEAST_OPENED and total + sizes[i] > ENOUGH):
            break
        chosen.append(i)
        total += sizes[i]
    return sorted(chosen)
