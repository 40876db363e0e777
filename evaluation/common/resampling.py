"""Estimate intervals by the bootstrap, paired where two systems answered the same questions. Pure functions.

Two systems are compared question by question: their differences are drawn anew with replacement, as many as there are,
a fixed number of times, and the interval is that of the draws' means. The same seed gives the same intervals. Where
questions come in clusters (many about one movie), whole clusters are drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10_000
_AT_ONCE = 1 << 22
"""Random numbers drawn at a time."""


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same questions.

    Attributes:
        first, second: the systems' means.
        difference: second − first.
        low, high: the difference's 95 % interval (2.5th and 97.5th percentile).
        low_90, high_90: its 90 % interval, for two one-sided tests at 5 %.
        n, clusters: numbers of questions and of clusters.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    low_90: float
    high_90: float
    n: int
    clusters: int

    def is_not_inferior(self, margin: float) -> bool:
        """Return True if the second is worse than the first by less than the margin.

        The 95 % interval's lower end is then above −margin: a one-sided test at 2.5 %.
        """
        return self.low > -margin

    def is_equivalent(self, margin: float) -> bool:
        """Return True if the 90 % interval lies within ±margin: two one-sided tests at 5 %."""
        return -margin < self.low_90 and self.high_90 < margin


def means(
    values: Sequence[float], rounds: int, seed: int, clusters: Sequence[Hashable] | None = None
) -> NDArray[np.float64]:
    """Return bootstrapped means, [rounds] float64.

    Args:
        values: one a question; at least one.
        clusters: the cluster of each question; the questions of a cluster are drawn together. None: one each.
    """
    names = range(len(values)) if clusters is None else clusters
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    sums, counts = np.zeros(len(numbers)), np.zeros(len(numbers))
    for name, value in zip(names, np.asarray(values, dtype=np.float64), strict=True):
        sums[numbers[name]] += value
        counts[numbers[name]] += 1
    return ratios(sums, counts, rounds, seed)


def ratios(
    over: Sequence[float] | NDArray[np.float64], under: Sequence[float] | NDArray[np.float64], rounds: int, seed: int
) -> NDArray[np.float64]:
    """Return bootstrapped Σ over / Σ under, [rounds] float64: pairs of both are drawn anew, with replacement."""
    sums, counts = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    rng = np.random.default_rng(seed)
    size = len(sums)
    parts = []
    step = max(1, _AT_ONCE // size)
    for first in range(0, rounds, step):
        drawn = rng.integers(0, size, (min(step, rounds - first), size))
        parts.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(parts)


def compare(
    first: Sequence[float],
    second: Sequence[float],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> Comparison:
    """Compare the second system with the first, with intervals.

    Args:
        first, second: scores of the same questions in the same order; at least one.

    Raises:
        ValueError: the scores don't pair.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} scores don't pair")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    drawn = means(differences, rounds, seed, clusters)
    low, low_90, high_90, high = (float(x) for x in np.percentile(drawn, (2.5, 5, 95, 97.5)))
    return Comparison(
        float(np.mean(first)),
        float(np.mean(second)),
        float(np.mean(differences)),
        low,
        high,
        low_90,
        high_90,
        len(first),
        len(first) if clusters is None else len(set(clusters)),
    )


def interval(values: Sequence[float], rounds: int = ROUNDS, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of one system's mean."""
    low, high = np.percentile(means(values, rounds, seed), (2.5, 97.5))
    return float(low), float(high)
