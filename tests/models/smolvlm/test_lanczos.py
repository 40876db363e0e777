"""Resampling against Pillow itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from chunkv2l.models.smolvlm.lanczos import resize

SIZES = [
    ((216, 384), (512, 512)),  # 720p, shrunk, to the published models' tile
    ((384, 216), (512, 512)),
    ((512, 384), (512, 512)),  # one side stays
    ((720, 1280), (216, 384)),
    ((288, 384), (384, 384)),
    ((1, 384), (32, 32)),
    ((5, 7), (30, 200)),
    ((50, 70), (3, 20)),
    ((5, 70), (8, 9)),
    ((40, 30), (40, 30)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_every_pixel_is_pillows(old: tuple[int, int], new: tuple[int, int]) -> None:
    random = np.random.default_rng(sum(old))
    noise = random.integers(0, 256, (2, *old, 3), dtype=np.uint8)
    edges = (random.random((1, *old, 3)) < 0.5).astype(np.uint8) * 255  # rings beyond 0 and 255 are cut off
    pictures = np.concatenate([noise, edges])
    expected = np.stack(
        [np.asarray(Image.fromarray(one).resize((new[1], new[0]), Image.Resampling.LANCZOS)) for one in pictures]
    )
    assert np.array_equal(resize(torch.from_numpy(pictures), *new).numpy(), expected)
