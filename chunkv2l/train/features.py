"""Vision features of filmed photographs, computed once and kept on the card; clips are drawn from them.

Every image is filmed a few times (`Motion`), its keyframes go through the vision tower once, and what the connector
needs is kept in half precision: 100 KB a keyframe. A clip of F frames then costs a gather instead of F vision passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Dinov2Model

from chunkv2l.train.images import ImageSet, Motion, decode, film
from chunkv2l.vlm.mini_parts import SIZE, Seen, see


@dataclass(frozen=True)
class FeatureBank:
    """Features of all keyframes; keyframe `first[i] + t · keyframes + k` is moment k of take t of image i."""

    grid: Tensor  # [keyframes in all, GRID, GRID, C]
    cls: Tensor  # [keyframes in all, C]
    first: Tensor  # [images], int64
    takes: Tensor  # [images], int64
    keyframes: Tensor  # [images], int64

    def __len__(self) -> int:
        return self.first.shape[0]

    def clips(self, images: Tensor, frames: int, generator: torch.Generator | None = None) -> Seen:
        """A clip of `frames` frames of each image [B]: one take, or two after each other where there are 6 or more.

        Without a generator: the first take, the same every time.
        """
        count, device = images.shape[0], self.first.device
        images = images.to(device)
        moment = torch.linspace(0, 1, frames, device=device)[None]  # [1, F]
        takes, keyframes = self.takes[images][:, None], self.keyframes[images][:, None]
        if generator is None:
            take = torch.zeros(count, frames, dtype=torch.long, device=device)
        else:
            first, second = (torch.rand(2, count, 1, device=device, generator=generator) * takes).long()
            both = (torch.rand(count, 1, device=device, generator=generator) < 0.5) & (frames >= 6)
            take = torch.where(both & (moment > 0.5), second, first)
            moment = torch.where(both, (moment * 2) % 1.0001, moment)
            backwards = torch.rand(count, 1, device=device, generator=generator) < 0.5
            moment = torch.where(backwards, 1 - moment, moment)
        step = (moment * (keyframes - 1)).round().long()
        index = self.first[images][:, None] + take * keyframes + step
        return Seen(self.grid[index], self.cls[index])


@torch.no_grad()
def build_bank(
    vision: Dinov2Model,
    sets: Sequence[tuple[ImageSet, int, Motion]],
    *,
    seed: int = 0,
    batch: int = 64,
    dtype: torch.dtype = torch.bfloat16,
) -> FeatureBank:
    """Film every image of every set `takes` times and look at all keyframes.

    Args:
        sets: (images, takes, motion); images are numbered through in this order.
    """
    device = vision.embeddings.cls_token.device
    generator = torch.Generator(device).manual_seed(seed)
    grids, classes, firsts, takes_of, keyframes_of = [], [], [], [], []
    total = 0
    for images, takes, motion in sets:
        keyframes = 1 if motion.still >= 1 else motion.keyframes
        motion = Motion(motion.least, motion.mirror, keyframes, motion.still)
        for begin in range(0, len(images), batch):
            pixels = torch.from_numpy(decode(images.jpegs[begin : begin + batch], SIZE)).to(device).permute(0, 3, 1, 2)
            filmed = torch.stack([film(pixels, motion, generator) for _ in range(takes)], dim=1)  # [n, T, K, 3, H, W]
            seen = see(vision, filmed.flatten(0, 2))
            grids.append(seen.grid.to(dtype))
            classes.append(seen.cls.to(dtype))
            count = pixels.shape[0]
            firsts.append(total + torch.arange(count) * takes * keyframes)
            takes_of.append(torch.full((count,), takes))
            keyframes_of.append(torch.full((count,), keyframes))
            total += count * takes * keyframes
    return FeatureBank(
        torch.cat(grids),
        torch.cat(classes),
        torch.cat(firsts).to(device),
        torch.cat(takes_of).to(device),
        torch.cat(keyframes_of).to(device),
    )
