"""Train a hypernetwork, whatever the VLM: `mini.py` and `any_vlm.py` prepare such a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chunkv2l.train.core.trainer import Trainer
from chunkv2l.train.data.batches import Tagging, Written, loader
from chunkv2l.train.data.material import Material
from chunkv2l.train.data.questions import Described, NegativeNouns
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.stages.hypernet_stage import HypernetStage, Trained
from chunkv2l.train.stages.stage_subject import (
    StageSubject,
    caption_figures,
    composition_figures,
    find_figures,
    name_figures,
)


@dataclass(frozen=True)
class HypernetRun:
    """A hypernetwork, the clips and texts that it is trained on, and what measures it.

    Attributes:
        rank: of this process; the first one logs, measures and saves.
        described: the texts of each image, the VLM's own captions included.
        stage: the losses over the training clips.
        dev: the dev clips, which the run is measured on.
        tagging: the images' tags, where clips are read with such.
        named: sets with labels, whose names are measured too.
    """

    config: RunConfig
    rank: int
    material: Material
    prompts: Written
    described: tuple[Described, ...]
    stage: HypernetStage
    dev: StageSubject
    tagging: Tagging | None = None
    named: Mapping[str, StageSubject] = field(default_factory=dict)

    def train(self, save: Callable[[Path], None]) -> Path:
        """Train to the end of the schedule and return the path of `hypernet.safetensors`, which `save` writes."""
        config, trained = self.config, self.stage.trained
        keys_alone = set(config.mix.kinds) == {"keys"}
        trainer = Trainer(
            trained,
            self.stage.loss,
            config.schedule,
            config.out,
            "hypernet",
            lambda: measure_all(self.dev, self.material.negatives, self.named, keys_alone),
            config.every,
            leads=self.rank == 0,
        )
        batches = self.material.batches(
            self.prompts, described=self.described, tagging=self.tagging, start=trainer.step, rank=self.rank
        )
        trainer.run(loader(batches, config.workers))
        path = config.out / "hypernet.safetensors"
        if self.rank == 0:
            save(path)
            for text in () if keys_alone else caption_examples(self.dev):
                print(text, flush=True)
        return path


def measure_all(
    dev: StageSubject,
    negatives: NegativeNouns,
    named: Mapping[str, StageSubject] | None = None,
    keys_alone: bool = False,
) -> dict[str, float]:
    """Return all figures on the dev clips, and of names on other sets, under the adapters as they are now.

    Args:
        keys_alone: of finding clips only, since the hypernetwork isn't trained.
    """
    subject = replace(dev)
    trained = subject.stage.trained
    trained.eval()
    try:
        figures = find_figures(subject, (8, 64, 256))
        if keys_alone:
            return figures
        figures |= caption_figures(subject, negatives) | composition_figures(subject, (4, 8, 16))
        for stem, images in (named or {}).items():
            figures |= {f"{stem} {name}": value for name, value in name_figures(replace(images)).items()}
        return figures
    finally:
        trained.train()


def caption_examples(dev: StageSubject) -> list[str]:
    """Return a few captions from adapters alone, each beside one that a person wrote."""
    captions = replace(dev).generate(8)
    shown = dev.described[: len(captions)]
    return [f"{text!r} | {image.captions[0]!r}" for text, image in zip(captions, shown, strict=True)]


def compile_projection(trained: Trained) -> None:
    """Compile the projection of every token of every block, which takes most of the hypernetwork's time."""
    perceiver: Any = trained.hypernet.aggregator["perceiver"]
    perceiver.modality_projection.compile(dynamic=True)
