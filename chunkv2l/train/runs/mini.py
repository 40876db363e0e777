"""Train `mini` in two stages: connector and LoRA, then the hypernetwork. `any_vlm.py` trains for any other VLM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.models.mini import classifier
from chunkv2l.models.mini import frozen as mini_frozen
from chunkv2l.models.mini.prompts import Prompts
from chunkv2l.models.mini.tags import GROUPS, MOST, class_names
from chunkv2l.models.sentence import minilm
from chunkv2l.models.sentence.minilm import EncodeWords, Sentences
from chunkv2l.train.clips.bank import FeatureBank, build_bank
from chunkv2l.train.clips.base import BankClips, Sight
from chunkv2l.train.clips.self_captions import caption_untold_images, sample_captions
from chunkv2l.train.clips.sentences import CachedSentences
from chunkv2l.train.core import distributed
from chunkv2l.train.core.decoder import Decoder, Runner, compiled, from_llama, run_block
from chunkv2l.train.core.trainer import Trainer
from chunkv2l.train.data.batches import Tagging, loader
from chunkv2l.train.data.images import STILL, ImageSet
from chunkv2l.train.data.material import Material, load_material, load_named_sets
from chunkv2l.train.data.naming import is_naming, name_label
from chunkv2l.train.data.questions import DESCRIBE
from chunkv2l.train.runs.checkpoints import (
    load_keys,
    load_reader,
    load_trained,
    make_untrained,
    save_reader,
    save_trained,
)
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.runs.hypernet import HypernetRun, compile_projection
from chunkv2l.train.stages.hypernet_stage import HypernetStage, Trained
from chunkv2l.train.stages.key_teachers import KeyTeachers
from chunkv2l.train.stages.stage_subject import StageSubject, context_figures
from chunkv2l.train.stages.vlm_stage import REHEARSED, VisualReader, VlmStage, rehearsal


@dataclass(frozen=True)
class MiniRun:
    """The frozen parts, the images as `mini` sees them, and their texts, for both stages."""

    config: RunConfig
    rank: int
    device: torch.device
    tokenizer: Any
    prompts: Prompts
    decoder: Decoder
    runner: Runner
    material: Material
    bank: FeatureBank
    dev_bank: FeatureBank
    sentences: Sentences
    encode_words: EncodeWords
    tags: list[list[tuple[str, ...]]] | None = None
    """Each image's tags, by take, where clips are read with such."""
    named: tuple[tuple[ImageSet, FeatureBank], ...] = ()
    """Sets with labels, not trained on, whose names are measured at the end."""

    @property
    def leads(self) -> bool:
        """Return True in the process that logs, measures and saves."""
        return self.rank == 0

    def generator(self, salt: int = 0) -> torch.Generator:
        """Return this process's random numbers for one purpose."""
        return torch.Generator(self.device).manual_seed(self.config.seed * 1000 + self.rank * 10 + salt)

    @property
    def tagging(self) -> Tagging | None:
        """Return the tags of the training images; None where clips are read without."""
        if self.tags is None:
            return None
        takes = list(self.tags)
        for source, numbers in zip(self.material.sources, self.material.pools, strict=True):
            if not source.tagged:
                takes[numbers.start : numbers.stop] = [[()]] * len(numbers)
        tags = self.config.tags
        surest = self.bank.surest_tags() if tags.sure else []
        return Tagging(
            takes, self.prompts, tags.dropped, tags.corrupted, tags.borrowed, self._lent(), tags.sure, surest
        )

    def _lent(self) -> list[str]:
        """Return the classifier's names, without those that only measured sets have."""
        known = {name for image in self.material.described for name in image.names}
        spared = {name for images, _ in self.named for image in images.described for name in image.names} - known
        return [name for name in dict.fromkeys((*class_names(), *GROUPS)) if name not in spared]

    def vocabulary(self) -> Tensor | None:
        """Return sentence embeddings of the classifier's names [classes, D]; None where keys read none."""
        if not self.config.tags.used:
            return None
        return self.sentences([name_label(name) for name in class_names()])

    def say(self, text: str) -> None:
        """Print in the first process only."""
        if self.leads:
            print(text, flush=True)


def prepare(config: RunConfig) -> MiniRun:
    """Load the frozen parts, film all photographs, and compute their vision features."""
    rank, _, device = distributed.start()
    began = time.monotonic()
    material = load_material(config.data_settings)
    frozen = mini_frozen.load(mini_frozen.fetch())
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    decoder = from_llama(frozen.language.to(device), dtype)
    runner: Runner = compiled() if config.compile else run_block
    vision = frozen.vision.to(device, dtype)
    sets = [
        (images, source.takes, source.motion) for images, source in zip(material.sets, material.sources, strict=True)
    ]
    network = classifier.load(classifier.fetch()).to(device, dtype) if config.tags.used else None
    cuts = [cut.members for cut in material.cuts]
    bank = build_bank(vision, sets, dtype=dtype, cuts=cuts, classifier=network, folder=config.bank)
    kept = [material.dev, *load_named_sets(config.data, config.named, config.limit)]
    dev_bank, *named = (build_bank(vision, [(one, 1, STILL)], seed=1, dtype=dtype, classifier=network) for one in kept)
    encoder = minilm.MiniLM(minilm.fetch(), device)
    run = MiniRun(
        config,
        rank,
        device,
        frozen.tokenizer,
        Prompts(frozen.tokenizer),
        decoder,
        runner,
        material,
        bank,
        dev_bank,
        CachedSentences(encoder),
        encoder.words,
        bank.tags() if config.tags.used else None,
        tuple((one, of_one) for one, of_one in zip(kept[1:], named, strict=True) if isinstance(one, ImageSet)),
    )
    run.say(f"{len(bank)} images, {bank.grid.shape[0]} keyframes, {time.monotonic() - began:.0f} s")
    return run


def train_vlm(run: MiniRun) -> VisualReader:
    """Run stage 1 and write `reader.safetensors`: connector and LoRA."""
    config, device = run.config, run.device
    torch.manual_seed(config.seed)
    reader = VisualReader(run.decoder, config.lora_rank).to(device)
    if config.start is not None:
        load_reader(reader, config.start)
    stage = vlm_stage(run, reader)
    unused = make_untrained(config, run.vocabulary()).to(device)

    def evaluate() -> dict[str, float]:
        with torch.no_grad():
            decoder = reader.lora.apply_to(run.decoder)
        return context_figures(dev_subject(run, unused, reader, decoder), run.material.negatives)

    trainer = Trainer(reader, stage.loss, config.schedule, config.out, "vlm", evaluate, config.every, leads=run.leads)
    batches = run.material.batches(run.prompts, tagging=run.tagging, start=trainer.step, rank=run.rank)
    trainer.run(loader(batches, config.workers))
    if run.leads:
        save_reader(reader, config.out / "reader.safetensors", config.tags.used)
    return reader


def train_hypernet(run: MiniRun, reader: VisualReader) -> Trained:
    """Run stage 2 and write `hypernet.safetensors`: hypernetwork, keys, temperature."""
    config, device = run.config, run.device
    reader.requires_grad_(False)
    with torch.no_grad():
        decoder = reader.lora.apply_to(run.decoder)
    torch.manual_seed(config.seed + 1)
    trained = make_untrained(config, run.vocabulary()).to(device)
    if config.start is not None:
        load_trained(trained, config.start)
    if config.compile:
        compile_projection(trained)
    source = bank_clips(run, reader, run.bank, decoder)
    stage = hypernet_stage(run, trained, source)

    def caption(numbers: Sequence[int]) -> list[str]:
        return caption_images(run, source, numbers, stage.generator)

    described = caption_untold_images(run.material, caption, config.out, rank=run.rank, say=run.say)
    dev = dev_subject(run, trained, reader, decoder)
    named = {
        images.name: StageSubject(
            hypernet_stage(run, trained, bank_clips(run, reader, bank, decoder)), images.described, run.prompts
        )
        for images, bank in run.named
    }
    hypernet_run = HypernetRun(config, run.rank, run.material, run.prompts, described, stage, dev, run.tagging, named)
    hypernet_run.train(lambda path: save_trained(trained, path))
    return trained


def caption_images(run: MiniRun, source: BankClips, numbers: Sequence[int], generator: torch.Generator) -> list[str]:
    """Return a caption of each image, sampled with the frames in context.

    Where it is known what is there, the names are the tags under which the VLM captions an image, and a caption that
    names none of them, or says no more than a name, is left out ("").
    """
    images = torch.tensor(numbers, device=run.device)
    if run.tags is None:
        return sample_captions(source, images, run.tokenizer, generator)
    known = [run.material.described[number] for number in numbers]
    asked = run.prompts.behind_frames(DESCRIBE[0])  # under the caption prompt it has learned to name, too
    words = []
    for number, image in zip(numbers, known, strict=True):
        tags = sorted(image.names)[:MOST] if image.names else run.tags[number][0]
        words.append([*run.prompts.tags(tags), *asked])
    texts = sample_captions(source, images, run.tokenizer, generator, words=words)
    return [text if is_telling(text, image.names) else "" for text, image in zip(texts, known, strict=True)]


def is_telling(caption: str, names: frozenset[str]) -> bool:
    """Return True where a caption names one of the things that are there and says more than that; always without
    names."""
    return not names or (len(caption.split()) > 3 and any(is_naming(caption, name) for name in names))


def _sight(run: MiniRun, reader: VisualReader, decoder: Decoder) -> Sight:
    return Sight(decoder, reader.connector, torch.tensor(run.prompts.opening, device=run.device))


def _tail(run: MiniRun) -> Tensor:
    return torch.tensor(run.prompts.behind_frames(""), device=run.device)


def vlm_stage(run: MiniRun, reader: VisualReader) -> VlmStage:
    """Return the loss of stage 1."""
    config = run.config
    questions = REHEARSED[: config.rehearsed]
    return VlmStage(
        reader,
        run.decoder,
        run.bank,
        _sight(run, reader, run.decoder),
        rehearsal(run.decoder, run.prompts, run.device, run.runner, questions),
        run.generator(1),
        run.runner,
        blur=config.blur,
        drop=config.drop,
        short=config.short,
    )


def bank_clips(run: MiniRun, reader: VisualReader, bank: FeatureBank, decoder: Decoder) -> BankClips:
    """Return the bank's clips as the reader shows them to its decoder: each with its first take's tags, unless a batch
    brings others."""
    tags = None
    if run.config.tags.used:
        takes = run.tags if bank is run.bank and run.tags is not None else bank.tags()
        tags = [run.prompts.tags(of_image[0]) for of_image in takes]
    return BankClips(decoder, bank, _sight(run, reader, decoder), _tail(run), tags)


def hypernet_stage(run: MiniRun, trained: Trained, source: BankClips) -> HypernetStage:
    """Return the losses of stage 2."""
    config = run.config
    return HypernetStage(
        trained,
        source.decoder,
        source,
        run.generator(2),
        run.runner,
        run.sentences,
        config.weights,
        _teachers(run),
        run.material.names,
    )


def _teachers(run: MiniRun) -> KeyTeachers | None:
    """Return the keys that teach, with the images without texts, which they score; None without teachers."""
    if not run.config.teachers:
        return None
    untold = [i for i, image in enumerate(run.material.described) if not (image.captions or image.labels)]
    if not untold:
        raise InputError("Key teachers need images without texts: add a source whose images have no captions.")
    keys = tuple(load_keys(path).to(run.device) for path in run.config.teachers)
    sharp = KeyTeachers.sharp if len(keys) > 1 else 1.0
    return KeyTeachers(keys, torch.tensor(untold, device=run.device), sharp)


def dev_subject(run: MiniRun, trained: Trained, reader: VisualReader, decoder: Decoder) -> StageSubject:
    """Return the dev clips to measure a run on."""
    stage = hypernet_stage(run, trained, bank_clips(run, reader, run.dev_bank, decoder))
    return StageSubject(stage, run.material.dev.described, run.prompts)
