"""Statements over movies of photographs, scored: the cases that a calibration is fitted to and judged by.

Half of the movies (of those that are long enough) have structure, the other half are any photographs. A third of the
statements, unless told otherwise, are captions of photographs that aren't in the movie, and true of none that is, as
far as nouns tell.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from chunkv2l.adapter import Adapter, concat
from chunkv2l.compose import expand
from chunkv2l.encoding import mean_scores
from chunkv2l.errors import InputError
from chunkv2l.models import Model
from chunkv2l.policies import spread
from chunkv2l.query import BUDGET
from chunkv2l.train.calibrate import Case
from chunkv2l.train.images import ImageSet
from evaluation.photographs import Encoded
from evaluation.structure import LEAST, is_absent, make_structure

SIZES: Final = (8, 16, 32, 64, 128, 256, 512)
FIRST_LOOK: Final = 32
"""Of the budget, segments that the learned keys choose; the rest is an even spread."""
_TRIES: Final = 100


@dataclass(frozen=True)
class Statement:
    """A caption over a movie of photographs (their numbers); `right` is where in it the caption's own is, if it is."""

    text: str
    movie: tuple[int, ...]
    right: int | None


def make_statements(
    images: ImageSet, pool: Sequence[int], sizes: Sequence[int], count: int, absent: float, rng: random.Random
) -> list[Statement]:
    """So many statements, each over a movie of its own; sizes take turns.

    Args:
        pool: the photographs that movies are made of; all captioned. Absent captions may be any photograph's.
        absent: share of the statements that are true of nothing.

    Raises:
        InputError: the pool is smaller than the largest size, or has no caption that a movie lacks.
    """
    if max(sizes) > len(pool):
        raise InputError(f"Movies of {max(sizes)} photographs can't be made of {len(pool)}: ask for smaller --sizes.")
    captioned = [i for i, one in enumerate(images.described) if one.captions]
    made = []
    for number in range(count):
        size = sizes[number % len(sizes)]
        movie = _movie(images, pool, size, number // len(sizes) % 2 == 1, rng)
        if (number + 1) * absent // 1 > number * absent // 1:
            made.append(Statement(_absent(images, movie, captioned, rng), movie, None))
        else:
            right = rng.randrange(size)
            made.append(Statement(rng.choice(images.described[movie[right]].captions), movie, right))
    return made


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
    """Scores statements over encoded photographs.

    Args:
        encoded: by the photographs' numbers.
        mu: whether each photograph's μ is computed, too.
    """

    def __init__(self, model: Model, encoded: Mapping[int, Encoded], mu: bool) -> None:
        self.model = model
        self._codes = {number: one.code for number, one in encoded.items()}
        self._keys = {number: one.key for number, one in encoded.items() if one.key is not None}
        self._mu: dict[int, float] = {}
        if mu:
            for some in _batches(list(encoded)):
                values = mean_scores(model, self._adapters(some))
                self._mu.update(
                    {number: value for number, value in zip(some, values, strict=True) if value is not None}
                )

    @torch.inference_mode()
    def case(self, statement: Statement, budget: int = BUDGET) -> Case:
        """Scores of at most `budget` segments: by the learned keys, where the model has them; all segments if not."""
        vlm, bias = self.model.vlm, self.model.hypernet.bias
        movie = statement.movie
        likeness = self._likeness(statement)
        chosen = list(range(len(movie)))
        if likeness is not None and len(movie) > budget:
            best = likeness.topk(min(FIRST_LOOK, budget)).indices.tolist()
            rest = sorted(set(chosen).difference(best))
            chosen = sorted([*best, *spread(rest, budget - len(best))])
        alone = vlm.score([statement.text], bias)[0, 0]
        own = [vlm.score([statement.text], self._adapters([movie[i] for i in some]))[:, 0] for some in _batches(chosen)]
        mu = torch.tensor([self._mu[movie[i]] for i in chosen]) if self._mu else None
        right = None if statement.right not in chosen else chosen.index(statement.right)
        return Case(
            nats=torch.cat(own).cpu() - alone.cpu(),
            tokens=vlm.count_tokens(statement.text),
            segments=len(movie),
            right=right,
            present=statement.right is not None,
            keys=None if likeness is None else likeness[chosen],
            mu=mu,
        )

    def _likeness(self, statement: Statement) -> Tensor | None:
        """Cosine of each segment's learned key and the statement's: [N], or None where the model has no keys."""
        if self.model.keys is None or not self._keys:
            return None
        vlm: Any = self.model.vlm
        states = vlm.statement_states([statement.text], self.model.hypernet.bias)
        query: Tensor = self.model.keys.of_states(states)[0].cpu()
        return torch.stack([self._keys[number] for number in statement.movie]) @ query

    def _adapters(self, numbers: Sequence[int]) -> Adapter:
        hypernet = self.model.hypernet
        codes = torch.stack([self._codes[number].float() for number in numbers])
        return concat([expand(hypernet, codes)], bias=hypernet.bias)


def _batches(numbers: Sequence[int], size: int = 48) -> Iterator[Sequence[int]]:
    return (numbers[begin : begin + size] for begin in range(0, len(numbers), size))
