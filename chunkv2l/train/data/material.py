"""What a run trains on: its sets of photographs and videos, numbered through, and what is known of each image."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from chunkv2l.errors import InputError
from chunkv2l.train.data.batches import Batches, Written
from chunkv2l.train.data.cuts import Cut, draw_cuts
from chunkv2l.train.data.images import ImageSet, load_images
from chunkv2l.train.data.questions import Described, NegativeNouns
from chunkv2l.train.data.videos import VideoSet, load_videos
from chunkv2l.train.runs.config import RunConfig, Source

AnySet = ImageSet | VideoSet


@dataclass(frozen=True)
class Material:
    """Images of all sources in a row, then the cuts that are made of them; and those kept aside.

    Attributes:
        pools: the numbers of each source's images.
        described: what is known of each image, and then of each cut.
    """

    sources: tuple[Source, ...]
    sets: tuple[AnySet, ...]
    pools: tuple[range, ...]
    cuts: tuple[Cut, ...]
    described: tuple[Described, ...]
    negatives: NegativeNouns
    dev: AnySet

    @property
    def images(self) -> int:
        """How many there are without the cuts."""
        return sum(len(one) for one in self.sets)


def load_set(path: Path, limit: int | None = None) -> AnySet:
    """The photographs at a stem, or the videos of a folder.

    Raises:
        InputError: neither is there, or it can't be read.
    """
    return load_videos(path, limit) if path.is_dir() else load_images(path, limit)


def load_material(config: RunConfig) -> Material:
    """Read all sets of a run; the pictures themselves are decoded later.

    Raises:
        InputError: a set can't be read, or there is nothing to train on.
    """
    sources = tuple(source for source in config.sources if source.weight > 0)
    sets = tuple(load_set(config.data / source.stem, config.limit) for source in sources)
    ends = list(itertools.accumulate(len(images) for images in sets))
    described = [one for images in sets for one in images.described]
    if not any(one.captions or one.labels for one in described):
        raise InputError("There is nothing to train on: no image of the run's sources has a caption or a label.")
    dev = load_set(config.data / config.dev, config.dev_images)
    if not all(one.captions for one in dev.described):
        raise InputError(f"Every image of {config.dev}, on which the run is measured, needs a caption.")
    cuts = draw_cuts(described, config.seed) if config.mix.cut else ()
    return Material(
        sources,
        sets,
        tuple(range(end - len(images), end) for end, images in zip(ends, sets, strict=True)),
        cuts,
        (*described, *(cut.described for cut in cuts)),
        NegativeNouns.count([one for one in described if one.captions]),
        dev,
    )


def batches_of(
    material: Material,
    config: RunConfig,
    prompts: Written,
    *,
    described: tuple[Described, ...] | None = None,
    skip_taught: bool = False,
    start: int = 0,
    rank: int = 0,
) -> Batches:
    """The run's stream of batches.

    Args:
        described: what is known of each image by now, if more than at first.
        skip_taught: leave out images that have no text of their own.
        start: number of the first batch.
    """
    described = described or material.described
    pools: list[tuple[list[int], float]] = []
    for source, numbers in zip(material.sources, material.pools, strict=True):
        usable = [i for i in numbers if described[i].captions or described[i].labels]
        if usable and not (skip_taught and source.taught):
            pools.append((usable, source.weight))
    members = {material.images + i: cut.members for i, cut in enumerate(material.cuts)}
    if members:
        share = config.mix.cut
        pools.append((list(members), sum(weight for _, weight in pools) * share / (1 - share)))
    return Batches(
        described,
        pools,
        material.negatives,
        prompts,
        config.mix,
        seed=config.seed,
        start=start,
        rank=rank,
        members=members,
    )
