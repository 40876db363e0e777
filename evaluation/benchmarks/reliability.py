"""How far stated probabilities can be believed: expected calibration error, Brier score, false alarms against misses.

Pure functions on plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Claims whose probabilities lie together: how many, their mean probability, and the share that was right."""

    count: int
    said: float
    right: float


def bins(said: Sequence[float], right: Sequence[bool], count: int = BINS, equal: str = "width") -> list[Bin]:
    """Claims sorted into bins; empty bins are left out.

    Args:
        said: the probability of each claim, in [0, 1].
        right: whether it was right.
        equal: "width": [0, 1/count), [1/count, 2/count) …, 1 in the last; "mass": as many claims in each, as near as
            may be, by rising probability.
    """
    if equal not in ("width", "mass"):
        raise ValueError(f"bins are of equal width or mass, not {equal!r}")
    pairs = sorted(zip(said, right, strict=True), key=lambda pair: pair[0])
    sorted_in: list[list[tuple[float, bool]]] = [[] for _ in range(count)]
    for rank, (p, is_right) in enumerate(pairs):
        place = min(int(p * count), count - 1) if equal == "width" else rank * count // len(pairs)
        sorted_in[place].append((p, is_right))
    return [
        Bin(len(own), sum(p for p, _ in own) / len(own), sum(r for _, r in own) / len(own)) for own in sorted_in if own
    ]


def calibration_error(sorted_in: Sequence[Bin]) -> float:
    """ECE: the mean over claims of |share right − mean probability| of their bin."""
    total = sum(one.count for one in sorted_in)
    return sum(one.count * abs(one.right - one.said) for one in sorted_in) / total


def brier(said: Sequence[float], right: Sequence[bool]) -> float:
    """Mean of (probability − whether it was right)²: 0 is perfect, .25 is always saying one half."""
    return sum((p - r) ** 2 for p, r in zip(said, right, strict=True)) / len(said)


@dataclass(frozen=True)
class Point:
    """At a threshold: the share of absent things said to be there, and of present ones said not to be."""

    threshold: float
    false_alarms: float
    misses: float


def trade_off(doubt: Sequence[float], present: Sequence[bool]) -> list[Point]:
    """Every threshold's false alarms and misses; "not there" is said where doubt > threshold. Thresholds rise.

    Raises ValueError unless there are both present and absent ones.
    """
    there = [d for d, p in zip(doubt, present, strict=True) if p]
    gone = [d for d, p in zip(doubt, present, strict=True) if not p]
    if not there or not gone:
        raise ValueError("both present and absent queries are needed")
    thresholds = [float("-inf"), *sorted(set(doubt))]
    return [at_threshold(there, gone, t) for t in thresholds]


def at_threshold(there: Sequence[float], gone: Sequence[float], threshold: float) -> Point:
    """One point, from the doubts of present and of absent queries."""
    alarms = sum(d <= threshold for d in gone) / len(gone)
    return Point(threshold, alarms, sum(d > threshold for d in there) / len(there))


def separation(doubt: Sequence[float], present: Sequence[bool]) -> float:
    """How often an absent query is doubted more than a present one (the area under the ROC curve); ties count half."""
    points = trade_off(doubt, present)
    area = 0.0
    for a, b in pairwise(points):
        area += (b.false_alarms - a.false_alarms) * (a.misses + b.misses) / 2
    return 1.0 - area
