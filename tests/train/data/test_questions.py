"""Questions about scenes: their noun is in the captions of one image of a group alone."""

from __future__ import annotations

import random

import pytest

from chunkv2l.train.data.questions import Described, scene_row_among, scene_row_apart
from chunkv2l.train.stages.measure import SceneQuestion

IMAGES = [Described((text,)) for text in ("A dog runs.", "A dog and a cat.", "A red car.", "It is nice.")]


def test_the_noun_is_of_one_image_of_the_group_alone() -> None:
    rng = random.Random(0)
    assert scene_row_among(IMAGES[:2], 1, rng) == ("What happens in the scene with the cat?", "A dog and a cat.")
    assert scene_row_among(IMAGES[:2], 0, rng) is None  # its dog is in both
    made = SceneQuestion.about(IMAGES, [2, 0], 1, rng)
    assert made == SceneQuestion((2, 0), 1, "What happens in the scene with the dog?", "A dog runs.")
    assert SceneQuestion.about(IMAGES, [0, 1], 0, rng) is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0, ("dog", [2, 3])), (2, ("car", [0, 1, 3])), (3, None)],
)
def test_images_without_the_noun_are_apart(target: int, expected: tuple[str, list[int]] | None) -> None:
    apart = scene_row_apart(IMAGES, target, range(4), random.Random(0))
    if expected is None:
        assert apart is None
    else:
        (question, answer), others = apart or (("", ""), [])
        assert (question, others) == (f"What happens in the scene with the {expected[0]}?", expected[1])
        assert answer == IMAGES[target].captions[0]
