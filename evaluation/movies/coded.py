"""Photographs as codes and keys, from which movies of any photographs are asked without an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chunkv2l.graph import Node, segment_graph
from chunkv2l.models import Model
from chunkv2l.query.query import Limits
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import Budget, Scoring
from evaluation.movies.photographs import Encoder, Take

_AT_ONCE = 32
"""Photographs whose frames are in memory at a time."""


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
        encoded = []
        for begin in range(0, len(jpegs), _AT_ONCE):
            clips = [encoder.film(Take(jpeg)) for jpeg in jpegs[begin : begin + _AT_ONCE]]
            encoded += encoder.encode(clips, captions=False)
        keys = [clip.key for clip in encoded if clip.key is not None]
        return cls(
            encoder.model, torch.stack([clip.code.float() for clip in encoded]), torch.stack(keys) if keys else None
        )

    def movie(self, numbers: Sequence[int]) -> CodedMovie:
        """Return a movie of these photographs, a segment each."""
        rows = list(numbers)
        codes, keys = self.codes[rows], None if self.keys is None else self.keys[rows]

        def read(nodes: Sequence[Node]) -> Tensor:
            return codes[[int(node) for node in nodes]]

        return CodedMovie(Router(self.model, read, [None] * len(rows), lambda: keys), codes)


@dataclass(frozen=True)
class CodedMovie:
    """A movie of photographs: its router, and its codes [N, L, r, d]."""

    router: Router
    codes: Tensor

    def read(self, nodes: Sequence[Node]) -> Tensor:
        """Return the codes of segments."""
        return self.codes[[int(node) for node in nodes]]

    def scoring(self, statement: str, excluded: str = "", limits: Limits = Limits()) -> Scoring:  # noqa: B008
        """Return the scores of a statement; no full-text search."""
        graph = segment_graph(_Piece(4.0 * i, 4.0 * i + 4.0) for i in range(len(self.codes)))
        return Scoring(self.router, statement, Budget(limits), lambda _: [], graph, excluded=excluded)
