"""Score statements over movies of photographs: the cases that a calibration is fitted to and judged by.

Half of the movies (of those that are long enough) have structure, the other half are any photographs. By
default, a third of the statements are captions of photographs outside the movie, true of none of its photographs, as
far as nouns tell. A share of the statements may be bare names of things ("A dog."), true of every photograph with a
caption that mentions one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.defaults import BUDGET
from chunkv2l.errors import InputError
from chunkv2l.hypernet.compose import expand
from chunkv2l.indexing.chapters import pool_code, similar_pairs
from chunkv2l.indexing.segments import mean_scores
from chunkv2l.models import Model
from chunkv2l.query.query import Limits
from chunkv2l.train.calibrate import Case
from chunkv2l.train.data.images import ImageSet
from chunkv2l.train.data.nouns import NOUNS, bare_name
from evaluation.movies.coded import CodedMovie
from evaluation.movies.photographs import Encoded
from evaluation.movies.structure import LEAST, is_absent, make_structure

SIZES: Final = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Statement:
    """A statement over a movie of photographs.

    Attributes:
        movie: the photographs' numbers.
        right: the positions in the movie that the statement is true of; of a caption, its photograph's.
    """

    text: str
    movie: tuple[int, ...]
    right: tuple[int, ...]


def make_statements(
    images: ImageSet,
    pool: Sequence[int],
    sizes: Sequence[int],
    count: int,
    absent: float,
    rng: random.Random,
    names: float = 0.0,
) -> list[Statement]:
    """Return so many statements, each over another movie; sizes take turns.

    Args:
        pool: photographs to make movies of, all with captions. Captions of absent queries may be any photograph's.
        absent: share of the statements that are true of nothing.
        names: share of the statements that are bare names of things.

    Raises:
        InputError: the pool is smaller than the largest size, or has no caption that a movie lacks.
    """
    if max(sizes) > len(pool):
        raise InputError(f"Movies of {max(sizes)} photographs can't be made of {len(pool)}: ask for smaller --sizes.")
    captioned = [i for i, one in enumerate(images.described) if one.captions]
    made = []
    gone = [number < round(count * absent) for number in range(count)]
    rng.shuffle(gone)  # in turns, presence would depend on the size
    named = [number < round(count * names) for number in range(count)]
    if names:
        rng.shuffle(named)
    for number in range(count):
        size = sizes[number % len(sizes)]
        movie = _movie(images, pool, size, number // len(sizes) % 2 == 1, rng)
        if named[number]:
            made.append(_name(images, pool, movie, gone[number], rng))
        elif gone[number]:
            made.append(Statement(_absent(images, movie, captioned, rng), movie, ()))
        else:
            right = rng.randrange(size)
            made.append(Statement(rng.choice(images.described[movie[right]].captions), movie, (right,)))
    return made


def _name(images: ImageSet, pool: Sequence[int], movie: tuple[int, ...], gone: bool, rng: random.Random) -> Statement:
    """Return the statement of a bare name, drawn by the number of the pool's photographs with the thing."""
    counts = Counter(noun for number in pool for noun in sorted(images.described[number].nouns))
    shown = [images.described[number].nouns for number in movie]
    there = frozenset().union(*shown)
    nouns = [noun for noun in counts if (noun in there) is not gone] or [noun for noun in NOUNS if noun not in there]
    noun = rng.choices(nouns, [counts[noun] or 1 for noun in nouns])[0]
    return Statement(bare_name(noun), movie, tuple(position for position, nouns in enumerate(shown) if noun in nouns))


def _movie(images: ImageSet, pool: Sequence[int], size: int, structured: bool, rng: random.Random) -> tuple[int, ...]:
    if structured and size >= LEAST:
        try:
            return make_structure(images.described, size, rng, pool).photographs
        except InputError:  # a small pool: any photographs, then
            pass
    return tuple(rng.sample(list(pool), size))


def _absent(images: ImageSet, movie: Sequence[int], captioned: Sequence[int], rng: random.Random) -> str:
    shown, nouns = set(movie), [images.described[i].nouns for i in movie]
    others = [i for i in captioned if i not in shown]
    for number in rng.sample(others, len(others)):
        captions = [c for c in images.described[number].captions if is_absent(c, nouns)]
        if captions:
            return rng.choice(captions)
    raise InputError(
        f"No photograph outside a movie of {len(movie)} has a caption that is surely untrue of it: give a larger set, "
        "or ask for smaller --sizes."
    )


class Observer:
    """Score statements over encoded photographs, with candidates chosen as `ask` does, captions aside.

    Args:
        encoded: by the photographs' numbers.
        mu: compute each photograph's μ too.
    """

    def __init__(self, model: Model, encoded: Mapping[int, Encoded], mu: bool) -> None:
        self.model = model
        self._codes = {number: one.code for number, one in encoded.items()}
        self._pooled = {number: pool_code(one.code.float().numpy()) for number, one in encoded.items()}
        self._keys = {number: one.key for number, one in encoded.items() if one.key is not None}
        self._mu: dict[int, float] = {}
        if mu:
            for numbers in _batches(list(encoded)):
                values = mean_scores(model, self._adapters(numbers))
                self._mu.update((number, value or 0.0) for number, value in zip(numbers, values, strict=True))

    def case(self, statement: Statement, budget: int = BUDGET, selects: bool = False) -> Case:
        """Score at most `budget` segments of the statement's movie.

        Args:
            selects: compare segments by the selector instead; its evidence stands for their scores.
        """
        movie = statement.movie
        coded = CodedMovie(
            self.model,
            torch.stack([self._codes[number].float() for number in movie]),
            torch.stack([self._keys[number] for number in movie]) if self._keys else None,
        )
        similar = similar_pairs(np.stack([self._pooled[number] for number in movie]))
        scoring = coded.scoring(statement.text, limits=Limits(budget), similar=similar)
        if selects:
            nats = {node: selected.evidence for node, selected in scoring.select(range(len(movie))).items()}
        else:
            scoring.score(range(len(movie)))
            nats = {node: value for node, value in scoring.nats.items() if isinstance(node, int)}
        chosen = sorted(nats)
        similarity = coded.router.key_similarity(statement.text)
        return Case(
            nats=torch.tensor([nats[i] for i in chosen]),
            tokens=scoring.tokens,
            segments=len(movie),
            right=tuple(chosen.index(position) for position in statement.right if position in nats),
            present=bool(statement.right),
            keys=None if similarity is None else torch.tensor([similarity[i] for i in chosen]),
            mu=torch.tensor([self._mu[movie[i]] for i in chosen]) if self._mu else None,
        )

    def _adapters(self, numbers: Sequence[int]) -> Adapter:
        hypernet = self.model.hypernet
        codes = torch.stack([self._codes[number].float() for number in numbers])
        return concat([expand(hypernet, codes)], bias=hypernet.bias)


def _batches(numbers: Sequence[int], size: int = 48) -> Iterator[Sequence[int]]:
    return (numbers[begin : begin + size] for begin in range(0, len(numbers), size))
