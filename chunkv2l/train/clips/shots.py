"""Make clips for any VLM: film photographs, read intervals of videos, cut several of them together."""

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
from chunkv2l.train.data.videos import VideoInterval
from chunkv2l.video.clip import Clip

SIDE = 384
"""Pixels of a filmed frame's side."""
FPS = 25.0


@dataclass(frozen=True)
class Scene:
    """One photograph (JPEG bytes) and how it is filmed, or one interval of a video."""

    source: bytes | VideoInterval
    motion: Motion

    def key(self) -> str:
        """Return a text that differs for different scenes; for a video from its file's name, size and date."""
        if isinstance(self.source, bytes):
            return f"{hashlib.sha256(self.source).hexdigest()} {self.motion}"
        video = self.source
        file = video.path.stat()
        return f"{video.path.name} {file.st_size} {file.st_mtime_ns} {video.start} {video.end} {self.motion.least}"

    def clip(self, vlm: VLM, take: int, seconds: float, seed: str, share: float = 1.0) -> Clip:
        """Return a take of the scene.

        Args:
            seconds: how long a photograph is filmed.
            share: share of that time, or of an interval of a video (its middle), that the clip has.

        Raises:
            InputError: a video that can't be read.
        """
        if isinstance(self.source, bytes):
            return _filmed(self.source, self.motion, vlm, max(1.0, seconds * share), seed)
        interval = self.source if share == 1.0 else self.source.middle(share)
        if take:
            interval = interval.part(self.motion.least, random.Random(seed))
        return interval.clip(vlm.sampling)


@dataclass(frozen=True)
class Shot:
    """A scene, or two or three that are cut together; each of its takes is another clip."""

    scenes: tuple[Scene, ...]
    takes: int

    def key(self, take: int, seconds: float) -> str:
        """Return a hash that differs for different takes."""
        scenes = "\n".join(scene.key() for scene in self.scenes)
        return hashlib.sha256(f"{scenes}\n{take} {seconds}".encode()).hexdigest()[:32]

    def clip(self, vlm: VLM, take: int, seconds: float) -> Clip:
        """Return a take, the same one every time."""
        share = 1 / len(self.scenes)
        seeds = [f"{self.key(take, seconds)}/{number}" for number in range(len(self.scenes))]
        parts = [scene.clip(vlm, take, seconds, seed, share) for scene, seed in zip(self.scenes, seeds, strict=True)]
        return parts[0] if len(parts) == 1 else join(parts, vlm)

    def length(self, take: int, seconds: Sequence[int]) -> float:
        """Return how long photographs in it are filmed: `seconds` in turn by take, the longest for cuts; 0 for
        videos."""
        if not any(isinstance(scene.source, bytes) for scene in self.scenes):
            return 0.0
        return float(seconds[take % len(seconds)] if len(self.scenes) == 1 else max(seconds))


def join(clips: Sequence[Clip], vlm: VLM) -> Clip:
    """Return clips one after the other as one, with at most as many frames as the VLM takes of so long a clip."""
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
    """Return the photographs or the video intervals of a set."""
    return [Scene(source, motion) for source in (images.jpegs if isinstance(images, ImageSet) else images.intervals)]


def shots_of(material: Material) -> list[Shot]:
    """Return all images of a run in their order, then the cuts, which have a take each."""
    shots: list[Shot] = []
    for images, source in zip(material.sets, material.sources, strict=True):
        shots += [Shot((scene,), _takes(source)) for scene in scenes_of(images, source.motion)]
    singles = [shot.scenes[0] for shot in shots]
    return shots + [Shot(tuple(singles[i] for i in cut.members), 1) for cut in material.cuts]


def _takes(source: Source) -> int:
    return max(1, source.takes)
