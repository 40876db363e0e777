"""Only frames whose picture changed are read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from chunkv2l.screen_text.changes import HEIGHT, LONGEST_WAIT, WIDTH, ChangeDetector

Picture = NDArray[np.uint8]


def slide(text: str = "", noise: float = 0.0, seed: int = 0) -> Picture:
    """A grey 1280 × 704 slide with a text of about 16 pixels, scaled down as frames are for comparing."""
    image = np.full((4 * HEIGHT, 4 * WIDTH, 3), 200, np.uint8)
    cv2.putText(image, text, (100, 300), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2)
    small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float64)
    small += np.random.default_rng(seed).normal(0, noise, small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)


def chosen(pictures: list[Picture], every: float = 0.5) -> list[int]:
    detector = ChangeDetector()
    return [number for number, picture in enumerate(pictures) if detector.is_new(number * every, picture)]


def test_a_picture_that_stays_is_read_once() -> None:
    assert chosen([slide("Agenda", noise=2.0, seed=seed) for seed in range(20)]) == [0]


def test_a_small_text_that_appears_is_read() -> None:
    pictures = [*[slide()] * 4, *[slide("page 12, see below")] * 4, *[slide()] * 4]
    assert chosen(pictures) == [0, 5, 9]  # once it stands still


@pytest.mark.parametrize("count", [40])
def test_a_picture_that_never_stands_still_is_read_every_few_seconds(count: int) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) // 32 * 32 for _ in range(count)]
    pictures = [np.roll(slide("moving text"), 13 * number, axis=1) for number in range(count)]
    assert chosen(pictures) == list(range(0, count, int(LONGEST_WAIT / 0.5)))
