"""Read the sets of photographs and videos that a run trains on, and make its stream of batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chunkv2l.errors import InputError
from chunkv2l.train.data.batches import Batches, Tagging, Written
from chunkv2l.train.data.cuts import Cut, draw_cuts
from chunkv2l.train.data.images import ImageSet, load_images
from chunkv2l.train.data.nouns import NOUNS
from chunkv2l.train.data.questions import Described, NegativeNouns
from chunkv2l.train.data.sources import DataSettings, Source
from chunkv2l.train.data.videos import VideoSet, load_videos

AnySet = ImageSet | VideoSet


@dataclass(frozen=True)
class Material:
    """The images of all sources, numbered through; after them the cuts that are made of them; and the dev set.

    Attributes:
        settings: what the material was read by.
        sources: those of the settings with a weight above 0.
        sets: the images of each source.
        pools: the numbers of each source's images.
        described: the texts of each image, and then of each cut.
    """

    settings: DataSettings
    sources: tuple[Source, ...]
    sets: tuple[AnySet, ...]
    pools: tuple[range, ...]
    cuts: tuple[Cut, ...]
    described: tuple[Described, ...]
    negatives: NegativeNouns
    dev: AnySet

    @property
    def images(self) -> int:
        """Return the number of images, cuts left out."""
        return sum(len(images) for images in self.sets)

    def batches(
        self,
        prompts: Written,
        *,
        described: tuple[Described, ...] | None = None,
        tagging: Tagging | None = None,
        start: int = 0,
        rank: int = 0,
    ) -> Batches:
        """Return the run's stream of batches.

        Args:
            described: the texts of each image, where there are more by now than at first.
            tagging: the images' tags, where clips are read with such.
            start: number of the first batch.
            rank: of this process.
        """
        described = described or self.described
        pools: list[tuple[list[int], float]] = []
        for source, numbers in zip(self.sources, self.pools, strict=True):
            usable = [i for i in numbers if described[i].has_text]
            if usable:
                pools.append((usable, source.weight))
        members = {self.images + i: cut.members for i, cut in enumerate(self.cuts)}
        if members:
            share = self.settings.mix.cut
            pools.append((list(members), sum(weight for _, weight in pools) * share / (1 - share)))
        return Batches(
            described,
            pools,
            self.negatives,
            prompts,
            self.settings.mix,
            seed=self.settings.seed,
            start=start,
            rank=rank,
            members=members,
            tagging=tagging,
            names=self.names,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return what keys are to find by name: the lexicon's nouns, and every label and detected thing."""
        return (*NOUNS, *sorted({name for image in self.described for name in image.names} - set(NOUNS)))


def load_set(
    path: Path, limit: int | None = None, notes: Sequence[str] = (), shares: Sequence[float] = (1.0,)
) -> AnySet:
    """Read the photographs at a stem, or the videos of a folder.

    Args:
        notes: of photographs, names of files beside the set's with further knowledge about them.
        shares: how often each label of a photograph counts.

    Raises:
        InputError: neither is there, or it can't be read.
    """
    if path.is_dir():
        return load_videos(path, limit)
    return load_images(path, limit, [path.with_name(f"{name}.jsonl") for name in notes], shares)


def load_named_sets(folder: Path, stems: Sequence[str], limit: int | None = None) -> tuple[ImageSet, ...]:
    """Read sets of photographs whose names are measured.

    Raises:
        InputError: one can't be read, or has a photograph without a label.
    """
    sets = tuple(load_images(folder / stem, limit) for stem in stems)
    for images in sets:
        if not all(image.labels for image in images.described):
            raise InputError(f"Every image of {images.name}, whose names are measured, needs a label.")
    return sets


def load_material(settings: DataSettings) -> Material:
    """Read all sets of a run; the pictures themselves are decoded later.

    Raises:
        InputError: a set can't be read, or there is nothing to train on.
    """
    sources = tuple(source for source in settings.sources if source.weight > 0)
    sets = tuple(
        load_set(settings.folder / source.stem, settings.limit, source.notes, source.labels) for source in sources
    )
    ends = list(itertools.accumulate(len(images) for images in sets))
    described = [image for images in sets for image in images.described]
    if not any(image.has_text for image in described):
        raise InputError("There is nothing to train on: no image of the run's sources has a caption or a label.")
    dev = load_set(settings.folder / settings.dev, settings.dev_images)
    if not all(image.captions for image in dev.described):
        raise InputError(f"Every image of {settings.dev}, on which the run is measured, needs a caption.")
    cuts = draw_cuts(described, settings.seed) if settings.mix.cut else ()
    return Material(
        settings,
        sources,
        sets,
        tuple(range(end - len(images), end) for end, images in zip(ends, sets, strict=True)),
        cuts,
        (*described, *(cut.described for cut in cuts)),
        NegativeNouns.count(described),
        dev,
    )
