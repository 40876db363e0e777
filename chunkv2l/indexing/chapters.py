"""Find which segments look alike, and where chapters end. Pure functions, no torch.

Both compare *pooled* codes: d numbers a segment. Plain means over blocks and rank slots lose much, because what a code
says is spread over the blocks and partly cancels out. So each block's numbers get signs of their own first: row l of a
Walsh matrix, (−1)^(number of bits that l and the channel share). Different blocks' signs are orthogonal, and the cosine
of two pooled codes is near that of the codes themselves, mean-pooled over their rank slots only, at 1/L of the size
(docs/measurements.md#pooled-codes).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

NEAREST: Final = 8
"""A pair is similar if each is among the other's so many nearest."""
SHORTEST, LONGEST = 4, 24
"""Segments that a chapter has at least and at most; a movie of fewer than two of the shortest is one."""
PENALTY: Final = 2.0
"""Cost of a chapter, in units of the variance within chapters: Mallows' Cp."""
_ROWS = 512  # of the similarity matrix at a time
_ZERO = 1e-6  # of the largest pooled code: what is left of a smaller one without the mean is rounding

Vectors = NDArray[np.float64]


def pool_code(code: NDArray[np.floating]) -> Vectors:
    """Pool a code [L, r, d] to d numbers, as the module's text says."""
    layers, _, width = code.shape
    return np.asarray((code.mean(axis=1, dtype=np.float64) * _signs(layers, width)).mean(axis=0))


def _signs(layers: int, width: int) -> Vectors:
    """Return the rows of the Walsh matrix, ±1 [L, d]."""
    bits = np.arange(layers)[:, None] & np.arange(width)[None, :]
    parity = np.zeros_like(bits)
    while bits.any():
        parity ^= bits & 1
        bits >>= 1
    return np.asarray(1.0 - 2.0 * parity)


def similar_pairs(vectors: Vectors, nearest: int = NEAREST) -> list[tuple[int, int, float]]:
    """Return pairs of similar segments: mutually among the `nearest` most similar, with a cosine above 0.

    Args:
        vectors: pooled codes [n, d]; the movie's mean is taken off here.

    Returns:
        (a, b, cosine) with a < b, ascending; cosines to six decimals, so that rounding elsewhere doesn't show.
    """
    n = len(vectors)
    units = _units(vectors)
    k = min(nearest, n - 1)
    if k < 1:
        return []
    one_sided: dict[tuple[int, int], float] = {}
    pairs: list[tuple[int, int, float]] = []
    for begin in range(0, n, _ROWS):
        cosines = units[begin : begin + _ROWS] @ units.T  # [rows, n]
        np.put_along_axis(cosines, np.arange(begin, begin + len(cosines))[:, None], -np.inf, axis=1)
        chosen = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        for i, row in enumerate(chosen, start=begin):
            for j in map(int, row):
                cosine = round(float(cosines[i - begin, j]), 6)
                if cosine > 0 and one_sided.pop((j, i), None) is not None:
                    pairs.append((min(i, j), max(i, j), min(cosine, 1.0)))
                elif cosine > 0:
                    one_sided[i, j] = cosine
    return sorted(pairs)


def _units(vectors: Vectors) -> Vectors:
    """Return the vectors without the movie's mean, of length 1; zeros where nothing is left."""
    centred = vectors - vectors.mean(axis=0)
    sizes = np.linalg.norm(centred, axis=1, keepdims=True)
    enough = sizes > _ZERO * np.linalg.norm(vectors, axis=1).max(initial=0.0)
    return np.asarray(np.where(enough, centred / np.where(enough, sizes, 1.0), 0.0))


def find_chapters(vectors: Vectors, penalty: float = PENALTY) -> list[tuple[int, int]]:
    """Return the chapters: contiguous runs of `SHORTEST` to `LONGEST` segments that look alike and cover the movie.

    Found by change-point dynamic programming, exactly: the runs with the least scatter around their means plus
    `penalty` · σ² a chapter. σ² is the variance within chapters, estimated as the median of half the squared distance
    between neighbours, of which at least three in four lie within a chapter. With a penalty of 2 the number of chapters
    is what Mallows' Cp chooses: one more must save twice what splitting nothing but noise saves on average
    (docs/measurements.md#chapter-penalty). Time and memory: O(n · LONGEST · d) and O(n · d).

    Args:
        vectors: pooled codes [n, d], n ≥ 1.

    Returns:
        (first, last) segment of each, both included, in order.
    """
    n = len(vectors)
    if n < 2 * SHORTEST:
        return [(0, n - 1)]
    centred = vectors - vectors.mean(axis=0)
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), centred.cumsum(axis=0)])
    squares = np.concatenate([[0.0], (centred * centred).sum(axis=1).cumsum()])
    steps = ((vectors[1:] - vectors[:-1]) ** 2).sum(axis=1)
    cost = max(penalty * float(np.median(steps)) / 2, 1e-9 * float((vectors * vectors).sum()))  # never quite nothing
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    begins = np.zeros(n + 1, dtype=np.int64)
    for end in range(SHORTEST, n + 1):
        starts = np.arange(max(0, end - LONGEST), end - SHORTEST + 1)
        within = sums[end] - sums[starts]
        scatter = squares[end] - squares[starts] - (within * within).sum(axis=1) / (end - starts)
        totals = best[starts] + scatter + cost
        choice = int(totals.argmin())
        best[end], begins[end] = totals[choice], starts[choice]
    return _runs(begins)


def _runs(begins: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Runs from where the best run that ends before each segment begins."""
    runs: list[tuple[int, int]] = []
    end = len(begins) - 1
    while end:
        runs.append((int(begins[end]), end - 1))
        end = int(begins[end])
    return runs[::-1]
