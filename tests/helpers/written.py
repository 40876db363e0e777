"""Indexes written directly, with codes of the caller's choice: no movie, no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.helpers import indexes
from tests.helpers.fake_vlm import LATENT, LAYERS, RANK, fake_model

CAPTIONS = ("a dog runs", "the cat sits", "two men on grass", "a red house", "a dog catches the ball", "water")


def random_codes(count: int, seed: int = 0) -> Tensor:
    """Codes [count, L, r, d], each rank embedding of length 1."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(count, LAYERS, RANK, LATENT, generator=generator)
    return torch.nn.functional.normalize(codes, dim=-1)


def write_index(
    path: Path,
    codes: Tensor,
    captions: Sequence[str] = CAPTIONS,
    *,
    model: Any = None,
    seconds: float = 4.0,
    **options: Any,
) -> Path:
    """An index with one segment of `seconds` for each code; captions are repeated as needed."""
    model = model or fake_model()
    meta = {
        "movie": {
            "name": "movie.mp4",
            "size": 1,
            "sha256": "0" * 64,
            "duration": seconds * len(codes),
            "fps": 10.0,
            "width": 8,
            "height": 8,
        },
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {"detector": "fixed:4", "codes": "fp32", "captions": True},
        "code_shape": list(codes.shape[1:]),
    }
    told = [captions[i % len(captions)] if captions else "" for i in range(len(codes))]
    return indexes.write_index(path, told, codes=codes, kind="fp32", meta=meta, seconds=seconds, **options)
