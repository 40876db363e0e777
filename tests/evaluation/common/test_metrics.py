"""The metrics against cases worked by hand, and against a second computation that shares no formula with them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from fractions import Fraction

import pytest

from evaluation.common import metrics
from evaluation.common.metrics import AP_THRESHOLDS, Scored, Window


def test_iou_by_hand() -> None:
    assert metrics.iou((0, 10), (0, 10)) == 1
    assert metrics.iou((0, 10), (5, 15)) == pytest.approx(1 / 3)
    assert metrics.iou((0, 10), (2, 7)) == pytest.approx(0.5)
    assert metrics.iou((0, 10), (10, 20)) == 0  # they touch: half-open
    assert metrics.iou((0, 10), (12, 20)) == 0  # never the negative of a gap
    assert metrics.iou((5, 5), (5, 5)) == 0  # no length, no overlap, no division by 0
    assert metrics.iou((9, 3), (0, 10)) == 0


def test_recall_takes_the_true_window_that_fits_best_and_only_the_first_k() -> None:
    truths: list[list[Window]] = [[(0, 4), (20, 30)], [(0, 10)], [(50, 60)], [(0, 1)]]
    predictions = [[(20.0, 28.0)], [(90.0, 99.0), (0.0, 10.0)], [(10.0, 20.0)] * 5 + [(50.0, 60.0)], []]
    assert metrics.recall(predictions, truths, k=1, threshold=0.5) == 0.25  # only the first: .8 with its second window
    assert metrics.recall(predictions, truths, k=1, threshold=0.8) == 0.25  # "at least", not "more than"
    assert metrics.recall(predictions, truths, k=1, threshold=0.81) == 0
    assert metrics.recall(predictions, truths, k=5, threshold=0.5) == 0.5  # the third's window is the sixth
    assert metrics.recall(predictions, truths, k=6, threshold=0.5) == 0.75
    assert metrics.mean_iou(predictions, truths) == pytest.approx((0.8 + 0 + 0 + 0) / 4)


def test_average_precision_by_hand() -> None:
    truths: list[Window] = [(0, 10), (20, 30)]
    # right, wrong, right: precision 1/1 at recall 1/2, 2/3 at recall 1.
    predicted: list[Scored] = [(0, 10, 0.9), (50, 60, 0.8), (20, 30, 0.7)]
    assert metrics.average_precision(predicted, truths, 0.5) == pytest.approx((1 + 2 / 3) / 2)
    # The same window twice: the second one is a false positive.
    assert metrics.average_precision([(0, 10, 0.9), (0, 10, 0.8)], truths, 0.5) == pytest.approx(0.5)
    # wrong, right, right: precision 1/2, 2/3; interpolated, the first recall also has 2/3.
    predicted = [(50, 60, 0.9), (0, 10, 0.8), (20, 30, 0.7)]
    assert metrics.average_precision(predicted, truths, 0.5) == pytest.approx(2 / 3)
    # The order in which they are given doesn't matter, the scores do.
    assert metrics.average_precision(predicted[::-1], truths, 0.5) == pytest.approx(2 / 3)
    # A second choice is taken where the first is gone: (4, 14) fits (0, 10) and (6, 16) at .43 and .67.
    near: list[Window] = [(0, 10), (6, 16)]
    assert metrics.average_precision([(6, 16, 0.9), (4, 14, 0.8)], near, 0.4) == 1
    assert metrics.average_precision([(6, 16, 0.9), (4, 14, 0.8)], near, 0.5) == pytest.approx(0.5)
    assert metrics.average_precision([], truths, 0.5) == 0


def test_map_averages_over_thresholds_and_takes_ten_windows() -> None:
    right: Scored = (0, 10, 1.0)
    assert metrics.mean_average_precision([[(0, 7, 1.0)]], [[(0, 10)]], AP_THRESHOLDS) == pytest.approx(0.5)  # IoU .7
    wrong: Scored = (90, 95, 2.0)
    assert metrics.mean_average_precision([[wrong] * 9 + [right]], [[(0, 10)]], [0.5]) == pytest.approx(0.1)
    assert metrics.mean_average_precision([[wrong] * 10 + [right]], [[(0, 10)]], [0.5]) == 0


def test_map_of_lengths_takes_the_true_windows_of_those_lengths_and_the_queries_that_have_any() -> None:
    truths: list[list[Window]] = [[(0, 10), (20, 50)], [(0, 5)], [(0, 40)]]
    predictions: list[list[Scored]] = [[(20, 50, 2.0), (0, 10, 1.0)], [(0, 5, 1.0)], [(0, 40, 1.0)]]
    # Up to 10 s: the first query's (0, 10), found at rank 2, and the second's; more than 10 s: (20, 50) and (0, 40).
    assert metrics.mean_average_precision_of_lengths(predictions, truths, 0, 10) == pytest.approx((0.5 + 1) / 2)
    assert metrics.mean_average_precision_of_lengths(predictions, truths, 10, 30) == pytest.approx(1)
    assert metrics.mean_average_precision_of_lengths(predictions, truths, 30, 40) == pytest.approx(1)
    assert metrics.mean_average_precision_of_lengths(predictions, truths, 40, 99) is None


def test_ceiling_is_that_of_single_segments() -> None:
    segments: list[Window] = [(0, 10), (10, 20), (20, 40)]
    truths: list[list[Window]] = [[(0, 9)], [(5, 15)], [(0, 2), (25, 40)], [(10, 40)]]
    # (5, 15) is cut in two thirds of nothing: IoU 1/3 with either; (10, 40) fits (20, 40) at 2/3.
    assert metrics.ceiling([segments] * 4, truths) == 0.75
    assert metrics.ceiling([segments] * 4, truths, threshold=0.7) == 0.5


# A second computation. Windows are sets of the pieces between all borders, in exact fractions; AP is the definition
# itself: the mean over m of the best precision among the prefixes that have found at least m of the true windows.


def exact_ious(predicted: Sequence[Sequence[float]], truths: Sequence[Window]) -> list[list[Fraction]]:
    borders = sorted({x for w in (*predicted, *truths) for x in w[:2]})
    width = [Fraction(y) - Fraction(x) for x, y in itertools.pairwise(borders)]

    def pieces(w: Sequence[float]) -> set[int]:
        return {i for i, x in enumerate(borders) if w[0] <= x < w[1]}

    def length(which: set[int]) -> Fraction:
        return sum((width[i] for i in which), Fraction(0))

    return [[length(pieces(p) & pieces(t)) / length(pieces(p) | pieces(t)) for t in truths] for p in predicted]


def exact_ap(table: Sequence[Sequence[Fraction]], scores: Sequence[float], truths: int, threshold: float) -> Fraction:
    taken: set[int] = set()
    found: list[int] = []  # true windows found in the first 1, 2, … predictions
    for p in sorted(range(len(scores)), key=lambda p: scores[p], reverse=True):
        fits = [(table[p][t], -t) for t in range(truths) if t not in taken and float(table[p][t]) >= threshold]
        if fits:
            taken.add(-max(fits)[1])
        found.append(len(taken))
    best = [
        max((Fraction(have, rank) for rank, have in enumerate(found, start=1) if have >= m), default=Fraction(0))
        for m in range(1, truths + 1)
    ]
    return sum(best, Fraction(0)) / truths


@pytest.mark.parametrize("grid", [None, 2], ids=["any times", "2-second clips"])
def test_second_computation_agrees_on_a_thousand_random_predictions(grid: int | None) -> None:
    rng = random.Random(f"moments {grid}")

    def window() -> Window:
        if grid:
            start = rng.randrange(0, 74)
            return float(grid * start), float(grid * rng.randrange(start + 1, 76))
        start_at = rng.uniform(0, 149)
        return start_at, rng.uniform(start_at, 150)

    truths = [[window() for _ in range(rng.randint(1, 4))] for _ in range(1000)]
    predictions: list[list[Scored]] = []
    for true in truths:
        near = [(s + rng.choice([0, 0, 2, 5]), e + rng.choice([0, 2, 9])) for s, e in true if rng.random() < 0.8]
        windows = [*near, *(window() for _ in range(rng.randint(0, 6)))]
        rng.shuffle(windows)
        predictions.append([(s, e, rng.random()) for s, e in windows])

    tables = [exact_ious(p, t) for p, t in zip(predictions, truths, strict=True)]
    for k, threshold in ((1, 0.3), (1, 0.5), (1, 0.7), (5, 0.5)):
        hits = sum(any(float(x) >= threshold for row in table[:k] for x in row) for table in tables)
        assert metrics.recall(predictions, truths, k, threshold) == pytest.approx(hits / 1000, abs=1e-9)
        assert 0 < hits < 1000
    firsts = [max(table[0], default=Fraction(0)) if table else Fraction(0) for table in tables]
    assert metrics.mean_iou(predictions, truths) == pytest.approx(float(sum(firsts) / 1000), abs=1e-9)
    for threshold in AP_THRESHOLDS:
        expected = sum(
            exact_ap(table[:10], [w[2] for w in p[:10]], len(t), threshold)
            for table, p, t in zip(tables, predictions, truths, strict=True)
        )
        found = metrics.mean_average_precision(predictions, truths, [threshold])
        assert found == pytest.approx(float(expected / 1000), abs=1e-9)
