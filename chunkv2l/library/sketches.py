"""Small copies of vectors: signs of their components to find the nearest of millions, and bytes to compare those."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
Sketches: TypeAlias = NDArray[np.uint64]
"""Signs of vectors' components, 64 to a number: [n, ⌈D / 64⌉]."""


def make_sketches(vectors: Vectors) -> Sketches:
    """Return the sketches of vectors [n, D]."""
    bits = np.packbits(vectors > 0, axis=1)
    padded = np.zeros((len(vectors), count_words(vectors.shape[1]) * 8), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.uint64)


def count_words(width: int) -> int:
    """Return the numbers of a sketch of a vector with so many components."""
    return -(-width // 64)


def count_differences(sketches: Sketches, sketch: Sketches) -> NDArray[np.uint16]:
    """Return how many signs of each sketch [n, W] differ from those of one [W]: the fewer, the nearer are the vectors.

    The angle between two vectors is about π times the share of differing signs.
    """
    differing = np.zeros(len(sketches), np.uint16)
    for column in range(sketches.shape[1]):
        differing += np.bitwise_count(sketches[:, column] ^ sketch[column])
    return differing


def to_bytes(vectors: Vectors) -> NDArray[np.int8]:
    """Return vectors [n, D] as whole numbers from -127 to 127: directions alone, each by its largest component."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    rounded: NDArray[np.int8] = np.rint(127 * vectors / np.maximum(largest, 1e-12)).astype(np.int8)
    return rounded


def cosines(rows: NDArray[np.int8], vector: NDArray[Any]) -> Vectors:
    """Return the cosines of what `to_bytes` made [n, D] and a vector [D] of length 1."""
    values = rows.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))
    products: Vectors = (values @ vector.astype(np.float32)) / np.maximum(lengths, 1e-12)
    return products
