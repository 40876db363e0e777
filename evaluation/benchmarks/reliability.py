"""Measure the reliability of probabilities: expected calibration error, Brier score, false alarms against misses.

Pure functions of plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Claims of similar probability: their number, mean probability, and the share that was right."""

    count: int
    said: float
    right: float


def bins(said: Sequence[float], right: Sequence[bool], count: int = BINS, equal: str = "width") -> list[Bin]:
    """Sort claims into bins; empty bins are left out.

    Args:
        said: the probability of each claim, in [0, 1].
        right: True for each claim that was right.
        equal: "width": [0, 1/count), [1/count, 2/count) …, 1 in the last; "mass": about equally many claims in each,
            by rising probability.
    """
    if equal not in ("width", "mass"):
        raise ValueError(f"bins are of equal width or mass, not {equal!r}")
    pairs = sorted(zip(said, right, strict=True), key=lambda pair: pair[0])
    sorted_in: list[list[tuple[float, bool]]] = [[] for _ in range(count)]
    for rank, (p, is_right) in enumerate(pairs):
        number = min(int(p * count), count - 1) if equal == "width" else rank * count // len(pairs)
        sorted_in[number].append((p, is_right))
    return [
        Bin(len(claims), sum(p for p, _ in claims) / len(claims), sum(r for _, r in claims) / len(claims))
        for claims in sorted_in
        if claims
    ]


def calibration_error(sorted_in: Sequence[Bin]) -> float:
    """Return ECE: the mean over claims of |share right − mean probability| of their bin."""
    total = sum(bin_.count for bin_ in sorted_in)
    return sum(bin_.count * abs(bin_.right - bin_.said) for bin_ in sorted_in) / total


def brier(said: Sequence[float], right: Sequence[bool]) -> float:
    """Return the mean of (probability − right)², right being 0 or 1: 0 is perfect, .25 is always saying one half."""
    return sum((p - r) ** 2 for p, r in zip(said, right, strict=True)) / len(said)


@dataclass(frozen=True)
class Point:
    """Shares of false alarms (absent, said to be there) and of misses (present, said not to be there) at a
    threshold."""

    threshold: float
    false_alarms: float
    misses: float


def trade_off(doubt: Sequence[float], present: Sequence[bool]) -> list[Point]:
    """Return false alarms and misses at every threshold, in rising order; "not there" is said if doubt > threshold.

    Raises:
        ValueError: there are no present queries, or no absent ones.
    """
    there = [d for d, p in zip(doubt, present, strict=True) if p]
    gone = [d for d, p in zip(doubt, present, strict=True) if not p]
    if not there or not gone:
        raise ValueError("both present and absent queries are needed")
    thresholds = [float("-inf"), *sorted(set(doubt))]
    return [at_threshold(there, gone, t) for t in thresholds]


def at_threshold(there: Sequence[float], gone: Sequence[float], threshold: float) -> Point:
    """Return the point of a threshold, from the doubts of present and of absent queries."""
    alarms = sum(d <= threshold for d in gone) / len(gone)
    return Point(threshold, alarms, sum(d > threshold for d in there) / len(there))


def separation(doubt: Sequence[float], present: Sequence[bool]) -> float:
    """Return the area under the ROC curve: the share of pairs in which the absent query is doubted more than the
    present one; ties count half."""
    points = trade_off(doubt, present)
    area = 0.0
    for a, b in pairwise(points):
        area += (b.false_alarms - a.false_alarms) * (a.misses + b.misses) / 2
    return 1.0 - area
