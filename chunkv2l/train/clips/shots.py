"""Clips for any VLM: photographs filmed, stretches of videos read, several of them cut together."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from chunkv2l.models.base import VLM
from chunkv2l.train.data.images import ImageSet, Motion, decode, film
from chunkv2l.train.data.material import AnySet, Material
from chunkv2l.train.data.sources import Source
from chunkv2l.train.data.videos import Stretch
from chunkv2l.video.clip import Clip

SIDE = 384
"""Pixels of a filmed frame's side."""
FPS = 25.0


@dataclass(frozen=True)
class Scene:
    """One photograph (JPEG bytes) and how it is filmed, or one stretch of a video."""

    what: bytes | Stretch
    motion: Motion

    def key(self) -> str:
        """Tells it from any other; a video by its file's name, size and date."""
        if isinstance(self.what, bytes):
            return f"{hashlib.sha256(self.what).hexdigest()} {self.motion}"
        about = self.what.path.stat()
        where = f"{self.what.path.name} {about.st_size} {about.st_mtime_ns} {self.what.start} {self.what.end}"
        return f"{where} {self.motion.least}"

    def clip(self, vlm: VLM, take: int, seconds: float, seed: str, share: float = 1.0) -> Clip:
        """A take of it.

        Args:
            seconds: how long a photograph is filmed.
            share: how much of that, or of a stretch (its middle), is wanted.

        Raises:
            InputError: a video that can't be read.
        """
        if isinstance(self.what, bytes):
            return _filmed(self.what, self.motion, vlm, max(1.0, seconds * share), seed)
        stretch = self.what if share == 1.0 else self.what.middle(share)
        if take:
            stretch = stretch.part(self.motion.least, random.Random(seed))
        return stretch.clip(vlm.sampling)


@dataclass(frozen=True)
class Shot:
    """What clips are made of: a scene, or two or three that are cut together; each of its takes is another clip."""

    scenes: tuple[Scene, ...]
    takes: int

    def key(self, take: int, seconds: float) -> str:
        """Tells a take from any other."""
        scenes = "\n".join(scene.key() for scene in self.scenes)
        return hashlib.sha256(f"{scenes}\n{take} {seconds}".encode()).hexdigest()[:32]

    def clip(self, vlm: VLM, take: int, seconds: float) -> Clip:
        """A take: always the same."""
        share = 1 / len(self.scenes)
        seeds = [f"{self.key(take, seconds)}/{number}" for number in range(len(self.scenes))]
        parts = [scene.clip(vlm, take, seconds, seed, share) for scene, seed in zip(self.scenes, seeds, strict=True)]
        return parts[0] if len(parts) == 1 else joined(parts, vlm)

    def length(self, take: int, seconds: Sequence[int]) -> float:
        """How long photographs in it are filmed: the takes in turn, cuts as long as any; 0 where there are none."""
        if not any(isinstance(scene.what, bytes) for scene in self.scenes):
            return 0.0
        return float(seconds[take % len(seconds)] if len(self.scenes) == 1 else max(seconds))


def joined(clips: Sequence[Clip], vlm: VLM) -> Clip:
    """Clips one after the other, with no more frames than the VLM takes of so long a clip, and one of each at least."""
    frames: list[NDArray[np.uint8]] = []
    times: list[float] = []
    begin = 0.0
    for clip in clips:
        frames += clip.frames
        times += [begin + time for time in clip.times]
        begin += clip.duration
    most = max(len(clips), len(vlm.sampling.times(begin, clips[0].fps)))
    if len(frames) > most:
        chosen = [int(i * len(frames) / most + 0.5 * len(frames) / most) for i in range(most)]
        frames, times = [frames[i] for i in chosen], [times[i] for i in chosen]
    return Clip(tuple(frames), tuple(times), begin, clips[0].fps)


def _filmed(jpeg: bytes, motion: Motion, vlm: VLM, seconds: float, seed: str) -> Clip:
    times = vlm.sampling.times(seconds, FPS)
    digest = hashlib.sha256(seed.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    picture = torch.from_numpy(decode([jpeg], SIDE, threads=1)).permute(0, 3, 1, 2)
    frames = film(picture, replace(motion, keyframes=len(times)), generator)[0].permute(0, 2, 3, 1).numpy()
    return Clip(tuple(vlm.sampling.shrink(np.ascontiguousarray(frame)) for frame in frames), tuple(times), seconds, FPS)


def scenes_of(images: AnySet, motion: Motion) -> list[Scene]:
    """The photographs or stretches of a set."""
    return [Scene(what, motion) for what in (images.jpegs if isinstance(images, ImageSet) else images.stretches)]


def shots_of(material: Material) -> list[Shot]:
    """All images of a run in their order, then the cuts (a take each)."""
    shots: list[Shot] = []
    for images, source in zip(material.sets, material.sources, strict=True):
        shots += [Shot((scene,), _takes(source)) for scene in scenes_of(images, source.motion)]
    singles = [shot.scenes[0] for shot in shots]
    return shots + [Shot(tuple(singles[i] for i in cut.members), 1) for cut in material.cuts]


def _takes(source: Source) -> int:
    return max(1, source.takes)
