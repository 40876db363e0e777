"""Chapters against exhaustive search, similar pairs against a plain restatement, and pooling against the codes."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from chunkv2l.indexing.chapters import LONGEST, SHORTEST, Vectors, find_chapters, pool_code, similar_pairs


def runs_of(lengths: list[int], noise: float, seed: int = 0, width: int = 16) -> Vectors:
    """Pooled codes of a movie whose chapters have these lengths."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((len(lengths), width))
    return np.concatenate(
        [centre + noise * rng.standard_normal((n, width)) for centre, n in zip(centres, lengths, strict=True)]
    )


def scatter(x: Vectors) -> float:
    return float(((x - x.mean(axis=0)) ** 2).sum())


def cheapest(x: Vectors, penalty: float) -> float:
    """The least scatter plus penalties of all ways to cut: by plain recursion."""
    cost = penalty * float(np.median(((x[1:] - x[:-1]) ** 2).sum(axis=1))) / 2

    @cache
    def best(end: int) -> float:
        if end == 0:
            return 0.0
        starts = range(max(0, end - LONGEST), end - SHORTEST + 1)
        return min((best(start) + scatter(x[start:end]) + cost for start in starts), default=np.inf)

    return best(len(x))


@pytest.mark.parametrize("n", [8, 9, 23, 25, 26, 47, 60])
@pytest.mark.parametrize("penalty", [0.3, 2.0])
def test_no_other_cut_is_cheaper(n: int, penalty: float) -> None:
    x = np.random.default_rng(n).standard_normal((n, 5)).cumsum(axis=0)
    found = find_chapters(x, penalty)
    cost = penalty * float(np.median(((x[1:] - x[:-1]) ** 2).sum(axis=1))) / 2
    total = sum(scatter(x[first : last + 1]) + cost for first, last in found)
    assert total == pytest.approx(cheapest(x, penalty), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 24, 25, 100, 301])
def test_chapters_cover_the_movie_and_keep_to_their_lengths(n: int) -> None:
    found = find_chapters(np.random.default_rng(n).standard_normal((n, 6)))
    assert found[0][0] == 0 and found[-1][1] == n - 1
    assert all(one[1] + 1 == other[0] for one, other in pairwise(found))
    lengths = [last - first + 1 for first, last in found]
    assert lengths == [n] if n < 8 else all(SHORTEST <= length <= LONGEST for length in lengths)


def test_chapters_end_where_the_pictures_change() -> None:
    lengths = [6, 12, 4, 9, 20, 7]
    found = find_chapters(runs_of(lengths, noise=0.3))
    assert [last - first + 1 for first, last in found] == lengths


def test_a_movie_that_never_changes_has_as_few_chapters_as_there_can_be() -> None:
    still = np.tile(np.random.default_rng(0).standard_normal(8), (50, 1))
    assert len(find_chapters(still)) == 3
    assert similar_pairs(still) == []


def plainly_similar(x: Vectors, k: int) -> set[tuple[int, int]]:
    rest = x - x.mean(axis=0)
    units = rest / np.linalg.norm(rest, axis=1, keepdims=True)
    cosines = units @ units.T
    near = [set(sorted((j for j in range(len(x)) if j != i), key=lambda j: -cosines[i, j])[:k]) for i in range(len(x))]
    return {(i, j) for i in range(len(x)) for j in near[i] if i < j and i in near[j] and cosines[i, j] > 0}


@pytest.mark.parametrize("n", [2, 5, 40, 700])
def test_similar_pairs_are_mutual_and_near(n: int) -> None:
    x = np.random.default_rng(n).standard_normal((n, 12)) + 3.0
    pairs = similar_pairs(x, 4)
    assert {(a, b) for a, b, _ in pairs} == plainly_similar(x, 4)
    rest = x - x.mean(axis=0)
    for a, b, cosine in pairs[:50]:
        wanted = rest[a] @ rest[b] / np.linalg.norm(rest[a]) / np.linalg.norm(rest[b])
        assert cosine == pytest.approx(wanted, abs=1e-6)
    assert pairs == sorted(pairs)


def test_one_segment_has_no_like() -> None:
    assert similar_pairs(np.ones((1, 4))) == [] and find_chapters(np.ones((1, 4))) == [(0, 0)]


def some_codes(n: int, layers: int) -> NDArray[np.float64]:
    """Codes [n, L, r, d] of which every block tells something of its own, as trained ones do."""
    return np.random.default_rng(0).standard_normal((n, layers, 1, 256)) + 0.1 * np.ones((n, layers, 3, 256))


def test_pooled_codes_are_as_similar_as_the_codes() -> None:
    codes = some_codes(30, 16)
    blends = 0.5 * codes[:15] + 0.5 * codes[15:]  # each is like two of the others
    everything = np.concatenate([codes, blends])
    flat = everything.mean(axis=2).reshape(len(everything), -1)
    small = np.stack([pool_code(code) for code in everything])
    assert small.shape == (45, 256)

    def cosines(x: NDArray[np.float64]) -> NDArray[np.float64]:
        rest = x - x.mean(axis=0)
        units = rest / np.linalg.norm(rest, axis=1, keepdims=True)
        return np.asarray(units @ units.T)

    other = ~np.eye(45, dtype=bool)
    assert np.corrcoef(cosines(flat)[other], cosines(small)[other])[0, 1] > 0.8
    # Where blocks cancel each other out, plain means would see nothing.
    code = np.concatenate([codes[0][:1], -codes[0][:1]])
    assert np.linalg.norm(code.mean(axis=(0, 1))) < 1e-12 < 0.1 < np.linalg.norm(pool_code(code))
