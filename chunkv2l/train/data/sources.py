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
        taught: the VLM captions the set before a hypernetwork is trained; stage 1 leaves out what has no text of its
            own.
        notes: names of files beside the set's, with further knowledge about its photographs (`notes`).
        labels: how often each label of a photograph is drawn, in their order; further ones aren't.
        tagged: its clips may have tags; they have none where the classifier is unusually right about them.
    """

    stem: str
    weight: float = 1.0
    takes: int = 3
    motion: Motion = field(default_factory=Motion)
    taught: bool = False
    notes: tuple[str, ...] = ()
    labels: tuple[float, ...] = (1.0,)
    tagged: bool = True


@dataclass(frozen=True)
class Tags:
    """Tags behind the visual tokens of reading prompts, in training.

    Attributes:
        used: without, clips are read as before.
        dropped: share of clips that go without.
        corrupted: share of clips that have another image's.
        borrowed: share of clips that have names drawn at random, which their rows then repeat: a hypernetwork learns to
            carry any name that is read to it.
        sure: share of the rows in which a clip's surest tag is said to be what it shows.
    """

    used: bool = False
    dropped: float = 0.15
    corrupted: float = 0.08
    borrowed: float = 0.0
    sure: float = 0.0


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
