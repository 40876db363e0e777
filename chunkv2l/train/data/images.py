"""Read photographs, and film them: panning and zooming over a photograph makes a clip.

A set is two files. `STEM.npz`: `jpeg`, all JPEG bytes one after the other (uint8), and `offsets` (int64): image i is
`jpeg[offsets[i]:offsets[i + 1]]`. `STEM.jsonl`: row i describes image i, `{"file": …, "captions": […]}` or
`{"file": …, "labels": […]}` or neither. Nothing is unpickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from chunkv2l.errors import InputError
from chunkv2l.train.data.questions import Described, clean


@dataclass(frozen=True)
class ImageSet:
    """Photographs as JPEG bytes, and the texts of each."""

    name: str
    jpegs: tuple[bytes, ...]
    described: tuple[Described, ...]

    def __len__(self) -> int:
        return len(self.jpegs)


def load_images(stem: Path, limit: int | None = None) -> ImageSet:
    """Read a set, whose two files the module's docstring describes.

    Raises:
        InputError: a file is missing, or the two don't describe the same images.
    """
    arrays, rows = stem.with_suffix(".npz"), stem.with_suffix(".jsonl")
    if not arrays.exists() or not rows.exists():
        raise InputError(f"No image set at {stem}: both {arrays.name} and {rows.name} are needed.")
    with np.load(arrays, allow_pickle=False) as file:
        data, offsets = file["jpeg"], file["offsets"]
    described = [describe(json.loads(line)) for line in rows.read_text().splitlines() if line.strip()]
    if len(described) != len(offsets) - 1:
        raise InputError(f"{rows.name} has {len(described)} rows, but {arrays.name} has {len(offsets) - 1} images.")
    count = min(len(described), limit or len(described))
    jpegs = tuple(data[offsets[i] : offsets[i + 1]].tobytes() for i in range(count))
    return ImageSet(stem.name, jpegs, tuple(described[:count]))


def describe(row: dict[str, object]) -> Described:
    """Return the texts of one row of a `.jsonl`; of several class names the first, most common one."""
    captions, labels = row.get("captions") or [], row.get("labels") or []
    assert isinstance(captions, list) and isinstance(labels, list)
    return Described(tuple(text for c in captions if (text := clean(str(c)))), tuple(str(x) for x in labels[:1]))


def decode(jpegs: Sequence[bytes], size: int, threads: int = 16) -> NDArray[np.uint8]:
    """Return RGB pixels, resized to [N, size, size, 3] whatever their proportions."""

    def decode_one(jpeg: bytes) -> NDArray[np.uint8]:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        return np.asarray(image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(decode_one, jpegs)))


@dataclass(frozen=True)
class Motion:
    """The way a photograph is filmed: crops of at least `least` of its side, perhaps mirrored, at `keyframes`
    moments."""

    least: float = 0.6
    mirror: bool = True
    keyframes: int = 4
    still: float = 0.15
    """share of clips without motion"""


STILL = Motion(least=0.85, mirror=False)
"""Of images that a run is measured on: little motion, never mirrored."""


def film(images: Tensor, motion: Motion, generator: torch.Generator) -> Tensor:
    """Pan and zoom over photographs: from one random box to another, uint8 [N, 3, H, W] → uint8 [N, K, 3, H, W].

    Boxes keep the proportions within ± 15 %, because frames of other formats are resized to squares too.
    """
    count, keyframes, device = images.shape[0], motion.keyframes, images.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    def box() -> Tensor:
        side = motion.least + (1 - motion.least) * uniform(count, 1)
        sides = (side * (1 + 0.3 * (uniform(count, 2) - 0.5))).clamp(max=1.0)
        return torch.cat([sides, (2 * uniform(count, 2) - 1) * (1 - sides)], dim=1)  # width, height, x, y in [-1, 1]

    start, end = box(), box()
    end = torch.where(uniform(count, 1) < motion.still, start, end)
    moment = torch.linspace(0, 1, keyframes, device=device)[None, :, None]
    boxes = start[:, None] * (1 - moment) + end[:, None] * moment  # [N, K, 4]
    theta = boxes.new_zeros(count, keyframes, 2, 3)
    flip = torch.where(uniform(count, 1) < 0.5, -1.0, 1.0) if motion.mirror else boxes.new_ones(count, 1)
    theta[..., 0, 0], theta[..., 0, 2] = boxes[..., 0] * flip, boxes[..., 2]
    theta[..., 1, 1], theta[..., 1, 2] = boxes[..., 1], boxes[..., 3]
    shape = (count * keyframes, 3, *images.shape[-2:])
    grid = F.affine_grid(theta.flatten(0, 1), list(shape), align_corners=False)
    source = images.float().repeat_interleave(keyframes, 0)
    frames = F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    return frames.round().clamp(0, 255).to(torch.uint8).view(count, keyframes, *frames.shape[1:])
