"""Segments and chapters with nothing but times and captions, for graphs without an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """What the graph needs of a segment."""

    start: float
    end: float
    caption: str = ""
    speech: str = ""


@dataclass(frozen=True)
class Stretch:
    """What the graph needs of a chapter: its first and last segment."""

    first: int
    last: int


def pieces(count: int, seconds: float = 4.0, captions: Sequence[str] = ()) -> list[Piece]:
    """Segments of so many seconds, one after the other."""
    told = [captions[i % len(captions)] if captions else f"caption {i}" for i in range(count)]
    return [Piece(seconds * i, seconds * (i + 1), told[i]) for i in range(count)]


def chapters(count: int, each: int) -> list[Stretch]:
    """Chapters of `each` segments; the last has what is left."""
    return [Stretch(first, min(first + each, count) - 1) for first in range(0, count, each)]
