"""ECE, Brier score and the trade-off, against cases worked by hand."""

from __future__ import annotations

import math
import random

import pytest

from evaluation.benchmarks.reliability import Bin, bins, brier, calibration_error, separation, trade_off


def test_bins_of_equal_width_by_hand() -> None:
    found = bins([0.0, 0.05, 0.1, 0.95, 1.0], [False, True, False, True, True], count=10)
    assert found == [Bin(2, 0.025, 0.5), Bin(1, 0.1, 0.0), Bin(2, 0.975, 1.0)]
    assert calibration_error(found) == pytest.approx((2 * 0.475 + 1 * 0.1 + 2 * 0.025) / 5)


def test_bins_of_equal_mass_by_hand() -> None:
    found = bins([0.4, 0.1, 0.3, 0.2], [True, False, True, False], count=2, equal="mass")
    assert [(one.count, one.right) for one in found] == [(2, 0.0), (2, 1.0)]
    assert calibration_error(found) == pytest.approx((0.15 + 0.65) / 2)
    with pytest.raises(ValueError, match="width or mass"):
        bins([0.5], [True], equal="size")


def test_honest_probabilities_have_no_error_and_boasts_have_theirs() -> None:
    rng = random.Random(0)
    said = [rng.random() for _ in range(20_000)]
    right = [rng.random() < p for p in said]
    assert calibration_error(bins(said, right)) < 0.02
    boasted = [min(1.0, p + 0.2) for p in said]
    assert calibration_error(bins(boasted, right)) == pytest.approx(0.18, abs=0.02)


def test_brier_by_hand() -> None:
    assert brier([1.0, 0.0, 0.5], [True, True, False]) == pytest.approx((0 + 1 + 0.25) / 3)


def test_the_trade_off_goes_from_all_missed_to_all_alarms() -> None:
    points = trade_off([0.1, 0.4, 0.6, 0.9], [True, False, True, False])
    assert (points[0].threshold, points[0].false_alarms, points[0].misses) == (-math.inf, 0.0, 1.0)
    assert (points[-1].false_alarms, points[-1].misses) == (1.0, 0.0)
    middle = next(point for point in points if point.threshold == 0.4)
    assert (middle.false_alarms, middle.misses) == (0.5, 0.5)
    assert [point.false_alarms for point in points] == sorted(point.false_alarms for point in points)
    assert [point.misses for point in points] == sorted((point.misses for point in points), reverse=True)
    with pytest.raises(ValueError, match="both"):
        trade_off([0.1, 0.2], [True, True])


def test_separation_is_the_share_of_pairs_in_order() -> None:
    doubt, present = [0.1, 0.4, 0.6, 0.9, 0.6], [True, False, True, False, False]
    pairs = [
        (a, b) for a, p in zip(doubt, present, strict=True) if p for b, q in zip(doubt, present, strict=True) if not q
    ]
    assert separation(doubt, present) == pytest.approx(sum((b > a) + (b == a) / 2 for a, b in pairs) / len(pairs))
