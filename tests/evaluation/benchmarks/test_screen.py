"""Texts are drawn as they are asked for, and letters that were read are counted."""

from __future__ import annotations

import random

import numpy as np
import pytest

from evaluation.benchmarks.screen import SIZE, count_read, draw_text, make_grounds


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("Costs 41 %", "COSTS 41%", (7, 7)),
        ("Costs 41 %", "Csts 47 %", (5, 7)),
        ("Costs", "", (0, 5)),
        ("abc", "cba", (1, 3)),
        ("abc", "xaxbxcx", (3, 3)),
    ],
)
def test_letters_are_counted_in_order(text: str, read: str, expected: tuple[int, int]) -> None:
    assert count_read(text, read) == expected


def test_texts_are_drawn_the_same_for_a_seed() -> None:
    pictures = []
    for _ in range(2):
        generator = random.Random(1)
        ground = make_grounds(None, generator)[2]
        pictures.append(draw_text(ground, ["Agenda", "Results"], 16, generator))
    assert np.array_equal(pictures[0], pictures[1]) and pictures[0].shape == (SIZE[1], SIZE[0], 3)
    assert not np.array_equal(pictures[0], make_grounds(None, random.Random(1))[2])
