"""Photographs as codes and keys, from which movies of any photographs are asked without an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from chunkv2l.graph import Node, segment_graph
from chunkv2l.models import Model
from chunkv2l.query.query import Limits
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import Budget, Scoring
from evaluation.movies.photographs import SECONDS, Encoder, Take


@dataclass(frozen=True)
class _Piece:
    start: float
    end: float
    caption: str = ""


@dataclass(frozen=True)
class Coded:
    """Photographs by number.

    Attributes:
        codes: as an index stores them, [n, L, r, d].
        keys: [n, K]; None where the model has none.
    """

    model: Model
    codes: Tensor
    keys: Tensor | None

    @classmethod
    def of(cls, encoder: Encoder, jpegs: Sequence[bytes]) -> Coded:
        """Film and encode photographs; no captions are written."""
        encoded = encoder.takes([Take(jpeg) for jpeg in jpegs], captions=False)
        keys = [clip.key for clip in encoded if clip.key is not None]
        return cls(
            encoder.model, torch.stack([clip.code.float() for clip in encoded]), torch.stack(keys) if keys else None
        )

    def movie(self, numbers: Sequence[int]) -> CodedMovie:
        """Return a movie of these photographs, a segment each."""
        rows = list(numbers)
        return CodedMovie(self.model, self.codes[rows], None if self.keys is None else self.keys[rows])


@dataclass(frozen=True)
class CodedMovie:
    """A movie of photographs, of a length each: their codes [N, L, r, d], and keys [N, K] where the model has some."""

    model: Model
    codes: Tensor
    keys: Tensor | None

    @cached_property
    def router(self) -> Router:
        """The router over its segments, without μ."""
        return Router(self.model, self.read, [None] * len(self.codes), lambda: self.keys)

    def read(self, nodes: Sequence[Node]) -> Tensor:
        """Return the codes of segments."""
        return self.codes[[int(node) for node in nodes]]

    def scoring(
        self,
        statement: str,
        excluded: str = "",
        limits: Limits = Limits(),  # noqa: B008
        similar: Sequence[tuple[int, int, float]] = (),
    ) -> Scoring:
        """Return the scores of a statement; no full-text search.

        Args:
            similar: pairs of similar segments and their cosines.
        """
        rows = [_Piece(SECONDS * i, SECONDS * (i + 1)) for i in range(len(self.codes))]
        graph = segment_graph(rows, similar)
        return Scoring(self.router, statement, Budget(limits), lambda _: [], graph, excluded=excluded)
