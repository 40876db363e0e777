"""Compute moment retrieval's metrics: intersection over union, recall, mIoU, mAP, and the ceiling. Pure functions.

They are those of QVHighlights' evaluator (`MR-full-R1`, `MR-full-mAP`), as unrounded fractions in [0, 1], with one
difference: a query without a prediction counts as 0 here, and isn't left out of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Window: TypeAlias = tuple[float, float]
"""[start, end) in seconds."""
Scored: TypeAlias = tuple[float, float, float]
"""Start, end and score of a prediction; only the order of the scores counts."""

AP_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
AP_PREDICTIONS = 10


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return seconds in both windows over seconds in either; 0 for a window without length.

    >>> iou((0, 10), (5, 15))
    0.3333333333333333
    """
    if a[1] <= a[0] or b[1] <= b[0]:
        return 0.0
    both = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / ((a[1] - a[0]) + (b[1] - b[0]) - both)


def best_iou(window: Sequence[float], truths: Sequence[Window]) -> float:
    """Return the IoU with the true window that fits best; 0 if there is none."""
    return max((iou(window, truth) for truth in truths), default=0.0)


def recall(
    predictions: Sequence[Sequence[Sequence[float]]], truths: Sequence[Sequence[Window]], k: int, threshold: float
) -> float:
    """Return R{k}@{threshold}: the share of queries with a window of IoU ≥ threshold among the first k predicted.

    Args:
        predictions: for each query its windows, best first; a third number in a window is ignored.
        truths: for each query its true windows, of which the one that fits best counts.
    """
    hits = [
        any(best_iou(window, true) >= threshold for window in predicted[:k])
        for predicted, true in zip(predictions, truths, strict=True)
    ]
    return sum(hits) / len(hits)


def mean_iou(predictions: Sequence[Sequence[Sequence[float]]], truths: Sequence[Sequence[Window]]) -> float:
    """Return mIoU: the mean over queries of the first predicted window's IoU with the best fitting true window."""
    ious = [
        best_iou(predicted[0], true) if predicted else 0.0 for predicted, true in zip(predictions, truths, strict=True)
    ]
    return sum(ious) / len(ious)


def average_precision(predicted: Sequence[Scored], truths: Sequence[Window], threshold: float) -> float:
    """Return a query's AP at an IoU threshold: the interpolated area under precision over recall.

    Predictions are taken by falling score, equal ones in the order given. Each takes the free true window that it fits
    best, if their IoU reaches the threshold, and is a false positive otherwise.
    """
    free = list(truths)
    precisions: list[float] = []  # after each true positive
    for rank, window in enumerate(sorted(predicted, key=lambda w: -w[2]), start=1):
        fit = max(free, key=lambda true: iou(window, true), default=None)
        if fit is not None and iou(window, fit) >= threshold:
            free.remove(fit)
            precisions.append((len(precisions) + 1) / rank)
    area, best = 0.0, 0.0
    for precision in reversed(precisions):  # interpolated: the best precision at this recall or a higher one
        best = max(best, precision)
        area += best
    return area / len(truths) if truths else 0.0


def mean_average_precision(
    predictions: Sequence[Sequence[Scored]], truths: Sequence[Sequence[Window]], thresholds: Sequence[float]
) -> float:
    """Return mAP: AP of each query's first ten windows (in the order given), the mean over queries and thresholds."""
    precisions = [
        average_precision(predicted[:AP_PREDICTIONS], true, threshold)
        for predicted, true in zip(predictions, truths, strict=True)
        for threshold in thresholds
    ]
    return sum(precisions) / len(precisions)


def mean_average_precision_of_lengths(
    predictions: Sequence[Sequence[Scored]], truths: Sequence[Sequence[Window]], least: float, most: float
) -> float | None:
    """Return mAP over true windows longer than `least` and at most `most` seconds, of queries that have such windows.

    All of a query's predictions count, of any length. None if no query has such a window.
    """
    fitting = [[window for window in true if least < window[1] - window[0] <= most] for true in truths]
    kept = [(predicted, true) for predicted, true in zip(predictions, fitting, strict=True) if true]
    if not kept:
        return None
    return mean_average_precision([predicted for predicted, _ in kept], [true for _, true in kept], AP_THRESHOLDS)


def ceiling(segments: Sequence[Sequence[Window]], truths: Sequence[Sequence[Window]], threshold: float = 0.5) -> float:
    """Return R1 of the best single segment: what perfect routing would reach on these segments.

    Args:
        segments: for each query the segments of its movie.
        truths: for each query its true windows.
    """
    hits = [
        any(best_iou(segment, true) >= threshold for segment in movie)
        for movie, true in zip(segments, truths, strict=True)
    ]
    return sum(hits) / len(hits)
