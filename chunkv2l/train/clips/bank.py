"""Compute vision features of photographs and videos once, keep them on the GPU, and draw clips from them.

Every photograph is filmed a few times (`Motion`), its keyframes go through the vision tower once, and what the
connector needs is kept in half precision (docs/measurements.md#features-of-photographs). A clip of F frames then costs
a gather instead of F vision passes. Of a stretch of a video the keyframes are its own, as many as `mini` looks at.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import Dinov2Model

from chunkv2l.models.mini.connector import SIZE, VisionFeatures, see, to_tensor
from chunkv2l.models.mini.vlm import sample_times, shrink
from chunkv2l.train.data.images import ImageSet, Motion, decode, film
from chunkv2l.train.data.videos import Stretch, VideoSet
from chunkv2l.video.frame_sampling import FrameSampling


@dataclass(frozen=True)
class FeatureBank:
    """Features of all keyframes; keyframe `first[i] + t · keyframes + k` is moment k of take t of image i."""

    grid: Tensor  # [keyframes in all, GRID, GRID, C]
    cls: Tensor  # [keyframes in all, C]
    first: Tensor  # [images], int64
    takes: Tensor  # [images], int64
    keyframes: Tensor  # [images], int64
    directed: Tensor | None = None  # [images], bool: never played backwards; None: none of them
    members: Tensor | None = None  # [items, parts], images that an item is cut from, -1 where it has fewer

    def __len__(self) -> int:
        return self.first.shape[0]

    def clips(self, images: Tensor, frames: int, generator: torch.Generator | None = None) -> VisionFeatures:
        """A clip of `frames` frames of each image [B]: one take, or two after each other where there are 6 or more.

        Without a generator: the first take, the same every time. With `members` the images are items of that table.
        """
        count, device = images.shape[0], self.first.device
        images = images.to(device)[:, None]
        moment = torch.linspace(0, 1, frames, device=device)[None]  # [1, F]
        if self.members is not None:
            images, moment = _cut(self.members[images[:, 0]], frames)  # [B, F] both
        takes, keyframes = self.takes[images], self.keyframes[images]  # [B, 1 or F]
        if generator is None:
            take = torch.zeros(count, frames, dtype=torch.long, device=device)
        else:
            first, second = (torch.rand(2, count, 1, device=device, generator=generator) * takes).long()
            both = (torch.rand(count, 1, device=device, generator=generator) < 0.5) & (frames >= 6)
            take = torch.where(both & (moment > 0.5), second, first)
            moment = torch.where(both, (moment * 2) % 1.0001, moment)
            backwards = torch.rand(count, 1, device=device, generator=generator) < 0.5
            if self.directed is not None:
                backwards = backwards & ~self.directed[images]
            moment = torch.where(backwards, 1 - moment, moment)
        step = (moment * (keyframes - 1)).round().long()
        index = self.first[images] + take * keyframes + step
        return VisionFeatures(self.grid[index], self.cls[index])


def _cut(members: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Which image each frame shows [B, F], and at which moment of it; members [B, parts], -1 where there are fewer.

    Every part gets about as many frames, in order.
    """
    parts = (members >= 0).sum(1, keepdim=True)  # [B, 1]
    number = torch.arange(frames, device=members.device)[None]
    place = number * parts // frames  # [B, F]
    begin = -(-place * frames // parts)  # the first frame of that part, and of the next one
    length = -(-(place + 1) * frames // parts) - begin
    moment = (number - begin) / (length - 1).clamp(min=1)
    return members.gather(1, place), moment


@torch.no_grad()
def build_bank(
    vision: Dinov2Model,
    sets: Sequence[tuple[ImageSet | VideoSet, int, Motion]],
    *,
    seed: int = 0,
    batch: int = 64,
    dtype: torch.dtype = torch.bfloat16,
    cuts: Sequence[Sequence[int]] = (),
) -> FeatureBank:
    """Look at all keyframes of every set.

    Args:
        sets: (photographs, takes, motion), filmed `takes` times; or (videos, takes, motion): the first take is all of a
            stretch, others a part of it, at least `motion.least` of it long. They are numbered through in this order.
        cuts: items behind the images: the images that each is cut from.
    """
    device = vision.embeddings.cls_token.device
    generator = torch.Generator(device).manual_seed(seed)
    grids, classes = [], []
    rows: list[tuple[int, int, bool]] = []  # takes, keyframes, directed
    for images, takes, motion in sets:
        if isinstance(images, ImageSet):
            keyframes = 1 if motion.still >= 1 else motion.keyframes
            shots = _filmed(images, takes, replace(motion, keyframes=keyframes), generator, batch)
            rows += [(takes, keyframes, False)] * len(images)
        else:
            shots = (_watched(stretch, takes, motion, seed).to(device) for stretch in images.stretches)
            rows += [(takes, len(sample_times(stretch.seconds)), True) for stretch in images.stretches]
        for pixels in shots:
            seen = see(vision, pixels)
            grids.append(seen.grid.to(dtype))
            classes.append(seen.cls.to(dtype))
    takes_of, keyframes_of, directed = (torch.tensor(column, device=device) for column in zip(*rows, strict=True))
    sizes = takes_of * keyframes_of
    members = _members(len(rows), cuts).to(device) if cuts else None
    return FeatureBank(
        torch.cat(grids), torch.cat(classes), sizes.cumsum(0) - sizes, takes_of, keyframes_of, directed, members
    )


def _members(images: int, cuts: Sequence[Sequence[int]]) -> Tensor:
    """The table of all items: each image by itself, then the cuts."""
    width = max(len(cut) for cut in cuts)
    table = torch.full((images + len(cuts), width), -1)
    table[:images, 0] = torch.arange(images)
    for number, cut in enumerate(cuts, start=images):
        table[number, : len(cut)] = torch.tensor(cut)
    return table


def _filmed(images: ImageSet, takes: int, motion: Motion, generator: torch.Generator, batch: int) -> Iterator[Tensor]:
    """Photographs in motion, some at a time: [n · takes · keyframes, 3, SIZE, SIZE]."""
    for begin in range(0, len(images), batch):
        pixels = to_tensor(decode(images.jpegs[begin : begin + batch], SIZE), generator.device)
        yield torch.stack([film(pixels, motion, generator) for _ in range(takes)], dim=1).flatten(0, 2)


def _watched(stretch: Stretch, takes: int, motion: Motion, seed: int) -> Tensor:
    """A stretch's keyframes, [takes · keyframes, 3, SIZE, SIZE]; a take has as many as the whole stretch."""
    moments = sample_times(stretch.seconds)
    rng = random.Random(f"{seed}/{stretch.path.name}/{stretch.start}/{stretch.end}")
    pictures = []
    for take in range(takes):
        part = stretch.part(motion.least, rng) if take else stretch
        share = part.seconds / stretch.seconds
        times = [share * moment for moment in moments]
        clip = part.clip(FrameSampling(lambda duration, fps, times=times: times, shrink))  # type: ignore[misc]
        pictures += [clip.frames[min(i, len(clip.frames) - 1)] for i in range(len(moments))]
    return to_tensor(np.stack(pictures), torch.device("cpu"))
