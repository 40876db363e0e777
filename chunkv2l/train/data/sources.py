"""Settings of the data that a training run draws its clips from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chunkv2l.train.data.batches import Mix
from chunkv2l.train.data.images import Motion


@dataclass(frozen=True)
class Source:
    """A set of photographs or videos to draw clips from.

    Attributes:
        stem: `data / stem` names the set's two files, or a folder of videos.
        weight: how often the set is drawn, relative to the others; 0 leaves it out.
        takes: clips filmed of each photograph; of a video, parts that clips are made of, the first all of it.
        motion: how photographs are filmed; `{"still": 1}` stands for one still frame. Of a video only `least` counts.
        taught: the set has no texts: the VLM captions it before a hypernetwork is trained, and stage 1 leaves it out.
    """

    stem: str
    weight: float = 1.0
    takes: int = 3
    motion: Motion = field(default_factory=Motion)
    taught: bool = False


@dataclass(frozen=True)
class DataSettings:
    """The data of a run, and how batches are drawn from it.

    Attributes:
        folder: where the sources' files are.
        dev: stem of the set that the run is measured on.
        dev_images: images of it, at most.
        limit: images a source, at most; all if None.
    """

    folder: Path
    sources: tuple[Source, ...]
    dev: str
    dev_images: int
    mix: Mix
    seed: int
    limit: int | None
