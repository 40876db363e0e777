"""Compute vision features of photographs and videos once, keep them on the GPU, and draw clips from them.

Every photograph is filmed a few times (`Motion`), its keyframes go through the vision tower once, and what the
connector needs is kept in half precision (docs/measurements.md#features-of-photographs). A clip of F frames then costs
a gather instead of F vision passes. Of an interval of a video the keyframes are its own, as many as `mini` looks at.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Dinov2Model

from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write
from chunkv2l.models.mini.connector import SIZE, VisionFeatures, see, to_tensor
from chunkv2l.models.mini.efficientnet import EfficientNetLite2, classify
from chunkv2l.models.mini.tags import choose_tags
from chunkv2l.models.mini.vlm import sample_times, shrink
from chunkv2l.train.core import distributed
from chunkv2l.train.data.images import ImageSet, Motion, decode, film
from chunkv2l.train.data.videos import VideoInterval, VideoSet
from chunkv2l.video.frame_sampling import FrameSampling


@dataclass(frozen=True)
class FeatureBank:
    """The vision features of all keyframes; keyframe `first[i] + t · keyframes + k` is moment k of take t of image
    i."""

    grid: Tensor  # [keyframes in all, GRID, GRID, C]
    cls: Tensor  # [keyframes in all, C]
    first: Tensor  # [images], int64
    takes: Tensor  # [images], int64
    keyframes: Tensor  # [images], int64
    directed: Tensor | None = None  # [images], bool: never played backwards; None: none of them
    members: Tensor | None = None  # [items, parts], images that an item is cut from, -1 where it has fewer
    names: Tensor | None = None  # [keyframes in all, classes], a classifier's probabilities

    def __len__(self) -> int:
        return self.first.shape[0]

    def clips(self, images: Tensor, frames: int, generator: torch.Generator | None = None) -> VisionFeatures:
        """Return a clip of `frames` frames for each image [B]: one take, or two in a row from 6 frames on.

        Without a generator it is the first take every time. With `members` the images are items of that table.
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
        return VisionFeatures(self.grid[index], self.cls[index], None if self.names is None else self.names[index])

    def tags(self) -> list[list[tuple[str, ...]]]:
        """Return each image's tags, by take: what the classifier takes the keyframes of a take for, on average.

        Raises:
            InputError: the bank has no probabilities.
        """
        keyframes = self.keyframes.repeat_interleave(self.takes)
        chosen = iter(choose_tags(self._mean_probabilities(keyframes)))
        return [[next(chosen) for _ in range(count)] for count in self.takes.tolist()]

    def surest_tags(self, least: float = 0.6) -> list[tuple[str, ...]]:
        """Return each image's tags of at least the probability `least`, on average over all its keyframes.

        Raises:
            InputError: the bank has no probabilities.
        """
        return choose_tags(self._mean_probabilities(self.takes * self.keyframes), least)

    def _mean_probabilities(self, counts: Tensor) -> Tensor:
        """Return the means [n, classes] over keyframes that follow each other, `counts` [n] of them each."""
        if self.names is None:
            raise InputError("The classifier hasn't looked at these pictures: there are no tags.")
        owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        means = torch.zeros(len(counts), self.names.shape[1], device=counts.device)
        for begin in range(0, len(owner), 65536):
            rows = owner[begin : begin + 65536]
            means.index_add_(0, rows, self.names[begin : begin + 65536].float())
        return means / counts[:, None]


def _cut(members: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Return the image that each frame shows [B, F], and the moment of that image, 0 … 1.

    Every part gets about as many frames, in order; members [B, parts], -1 where there are fewer.
    """
    parts = (members >= 0).sum(1, keepdim=True)  # [B, 1]
    number = torch.arange(frames, device=members.device)[None]
    part = number * parts // frames  # [B, F]
    begin = -(-part * frames // parts)  # the first frame of that part, and of the next one
    length = -(-(part + 1) * frames // parts) - begin
    moment = (number - begin) / (length - 1).clamp(min=1)
    return members.gather(1, part), moment


def build_bank(
    vision: Dinov2Model,
    sets: Sequence[tuple[ImageSet | VideoSet, int, Motion]],
    *,
    seed: int = 0,
    batch: int = 64,
    dtype: torch.dtype = torch.bfloat16,
    cuts: Sequence[Sequence[int]] = (),
    classifier: EfficientNetLite2 | None = None,
    folder: Path | None = None,
) -> FeatureBank:
    """Compute the features of all keyframes of every set.

    Args:
        sets: (photographs, takes, motion), filmed `takes` times; or (videos, takes, motion): the first take is all of
            an interval, others a part of it, at least `motion.least` of it long. They are numbered through in this
            order.
        cuts: items behind the images: the images that each is cut from.
        classifier: of keyframes; the bank has its probabilities then.
        folder: where each set's features are kept, and read from if they are there; of several processes each looks at
            some of the sets. The folder belongs to these sets and settings: that isn't checked.
    """
    looker = _Looker(vision, classifier, dtype, batch)
    device = looker.device
    rows: list[tuple[int, int, bool]] = []  # takes, keyframes, directed
    for images, takes, motion in sets:
        if isinstance(images, ImageSet):
            rows += [(takes, 1 if motion.still >= 1 else motion.keyframes, False)] * len(images)
        else:
            rows += [(takes, len(sample_times(interval.seconds)), True) for interval in images.intervals]
    if folder is None:
        parts = [looker.look(*filmed_set, seed * 1000 + number) for number, filmed_set in enumerate(sets)]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{images.name}-{takes}-{seed}.safetensors" for images, takes, _ in sets]
        for number, (file, filmed_set) in enumerate(zip(files, sets, strict=True)):
            if number % distributed.count() == distributed.rank() and not file.exists():
                with atomic_write(file) as part:
                    save_file(looker.look(*filmed_set, seed * 1000 + number), part)
        distributed.wait()
        parts = [load_file(file, str(device)) for file in files]
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    takes_of, keyframes_of, directed = (torch.tensor(column, device=device) for column in zip(*rows, strict=True))
    sizes = takes_of * keyframes_of
    members = _members(len(rows), cuts).to(device) if cuts else None
    return FeatureBank(
        columns["grid"],
        columns["cls"],
        sizes.cumsum(0) - sizes,
        takes_of,
        keyframes_of,
        directed,
        members,
        columns.get("names"),
    )


@dataclass(frozen=True)
class _Looker:
    """The networks that look at keyframes, and the precision in which features are kept."""

    vision: Dinov2Model
    classifier: EfficientNetLite2 | None
    dtype: torch.dtype
    batch: int

    @property
    def device(self) -> torch.device:
        return self.vision.embeddings.cls_token.device

    @torch.no_grad()
    def look(self, images: ImageSet | VideoSet, takes: int, motion: Motion, seed: int) -> dict[str, Tensor]:
        """Return features of all keyframes of a set, under `FeatureBank`'s names."""
        if isinstance(images, ImageSet):
            keyframes = 1 if motion.still >= 1 else motion.keyframes
            generator = torch.Generator(self.device).manual_seed(seed)
            shots = _filmed(images, takes, replace(motion, keyframes=keyframes), generator, self.batch)
        else:
            shots = (_video_keyframes(interval, takes, motion, seed).to(self.device) for interval in images.intervals)
        parts = [self._features(pixels) for pixels in shots]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return features of pictures uint8 [N, 3, SIZE, SIZE]."""
        features = see(self.vision, pixels)
        columns = {"grid": features.grid.to(self.dtype), "cls": features.cls.to(self.dtype)}
        if self.classifier is not None:
            columns["names"] = classify(self.classifier, pixels).half()
        return columns


def _members(images: int, cuts: Sequence[Sequence[int]]) -> Tensor:
    """Return the table of all items: each image by itself, then the cuts."""
    width = max(len(cut) for cut in cuts)
    table = torch.full((images + len(cuts), width), -1)
    table[:images, 0] = torch.arange(images)
    for number, cut in enumerate(cuts, start=images):
        table[number, : len(cut)] = torch.tensor(cut)
    return table


def _filmed(images: ImageSet, takes: int, motion: Motion, generator: torch.Generator, batch: int) -> Iterator[Tensor]:
    """Yield photographs in motion, a batch at a time: [n · takes · keyframes, 3, SIZE, SIZE]."""
    for begin in range(0, len(images), batch):
        pixels = to_tensor(decode(images.jpegs[begin : begin + batch], SIZE), generator.device)
        yield torch.stack([film(pixels, motion, generator) for _ in range(takes)], dim=1).flatten(0, 2)


def _video_keyframes(interval: VideoInterval, takes: int, motion: Motion, seed: int) -> Tensor:
    """Return an interval's keyframes, [takes · keyframes, 3, SIZE, SIZE]; a take has as many as the whole interval."""
    moments = sample_times(interval.seconds)
    rng = random.Random(f"{seed}/{interval.path.name}/{interval.start}/{interval.end}")
    pictures = []
    for take in range(takes):
        part = interval.part(motion.least, rng) if take else interval
        share = part.seconds / interval.seconds
        times = [share * moment for moment in moments]
        clip = part.clip(FrameSampling(lambda duration, fps, times=times: times, shrink))  # type: ignore[misc]
        pictures += [clip.frames[min(i, len(clip.frames) - 1)] for i in range(len(moments))]
    return to_tensor(np.stack(pictures), torch.device("cpu"))
