"""Indexes written directly, with codes of the caller's choice: no movie, no encoder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from chunkv2l.codes import to_bytes
from chunkv2l.store import NewSegment, Writer
from tests.fake_vlm import LATENT, LAYERS, RANK, fake_model

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
) -> Path:
    """An index with one segment of `seconds` for each code; captions are repeated as needed."""
    model = model or fake_model()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, format="JPEG")
    rows = [
        NewSegment(
            start=seconds * i,
            end=seconds * (i + 1),
            caption=captions[i % len(captions)] if captions else "",
            code=to_bytes(code, "fp32"),
            thumbnail=picture.getvalue(),
        )
        for i, code in enumerate(codes)
    ]
    meta = {
        "movie": {
            "name": "movie.mp4",
            "size": 1,
            "sha256": "0" * 64,
            "duration": seconds * len(rows),
            "fps": 10.0,
            "width": 8,
            "height": 8,
        },
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {"detector": "fixed:4", "codes": "fp32", "captions": True},
        "code_shape": list(codes.shape[1:]),
    }
    with Writer(path) as writer:
        writer.write(0, rows, meta)
        writer.finish()
    return path
