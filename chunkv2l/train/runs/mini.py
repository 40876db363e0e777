"""The two stages of `mini`'s own training, readable top to bottom. `any_vlm.py` trains a hypernetwork for any VLM."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch

from chunkv2l.train.clips.base import BankClips
from chunkv2l.train.clips.self_captions import sample_captions
from chunkv2l.train.core.trainer import Trainer
from chunkv2l.train.data.batches import loader
from chunkv2l.train.data.questions import Described
from chunkv2l.train.runs.checkpoints import fresh, load_reader, load_trained, save_reader, save_trained
from chunkv2l.train.runs.mini_setup import Bench, bank_clips, measure_on_dev, stage_one, stage_two
from chunkv2l.train.stages.hypernet_stage import Trained
from chunkv2l.train.stages.measure import Measure
from chunkv2l.train.stages.vlm_stage import Reader


def train_vlm(bench: Bench) -> Reader:
    """Stage 1. Writes `reader.safetensors`: connector and LoRA."""
    config, device = bench.config, bench.device
    torch.manual_seed(config.seed)
    reader = Reader(bench.decoder, config.lora_rank).to(device)
    if config.start is not None:
        load_reader(reader, config.start)
    stage = stage_one(bench, reader)
    idle = fresh(config).to(device)

    def evaluate() -> dict[str, float]:
        with torch.no_grad():
            decoder = reader.lora.apply_to(bench.decoder)
        return measure_on_dev(bench, idle, reader, decoder).context()

    trainer = Trainer(reader, stage.loss, config.schedule, config.out, "vlm", evaluate, config.every, leads=bench.leads)
    trainer.run(loader(bench.batches(trainer.step, skip_taught=True), config.workers))
    if bench.leads:
        save_reader(reader, config.out / "reader.safetensors")
    return reader


def train_hypernet(bench: Bench, reader: Reader) -> Trained:
    """Stage 2. Writes `hypernet.safetensors`: hypernetwork, keys, temperature."""
    config, device = bench.config, bench.device
    reader.requires_grad_(False)
    with torch.no_grad():
        decoder = reader.lora.apply_to(bench.decoder)
    torch.manual_seed(config.seed + 1)
    trained = fresh(config).to(device)
    if config.start is not None:
        load_trained(trained, config.start)
    if config.compile:
        compile_projection(trained)
    source = bank_clips(bench, reader, bench.bank, decoder)
    stage = stage_two(bench, trained, source)
    described = _taught(bench, source, stage.generator)
    measure = measure_on_dev(bench, trained, reader, decoder)
    trainer = Trainer(
        trained,
        stage.loss,
        config.schedule,
        config.out,
        "hypernet",
        lambda: measured(trained, measure),
        config.every,
        leads=bench.leads,
    )
    trainer.run(loader(bench.batches(trainer.step, described=described), config.workers))
    if bench.leads:
        save_trained(trained, config.out / "hypernet.safetensors")
        for text in shown(measure):
            bench.say(text)
    return trained


def measured(trained: Trained, measure: Measure) -> dict[str, float]:
    """All figures on the images that are kept aside."""
    trained.eval()
    try:
        return measure.captions() | measure.find((8, 64, 256)) | measure.compose((4, 8, 16))
    finally:
        trained.train()


def _taught(bench: Bench, source: BankClips, generator: torch.Generator) -> tuple[Described, ...]:
    """What is known of every image, with the VLM's own captions where there were none; kept beside the run."""
    material = bench.material
    described = list(material.described)
    bench.config.out.mkdir(parents=True, exist_ok=True)
    for origin, numbers in zip(material.sources, material.pools, strict=True):
        if not origin.taught:
            continue
        kept = bench.config.out / f"taught-{origin.stem}.{bench.rank}.json"
        if kept.exists():
            texts = [tuple(row) for row in json.loads(kept.read_text())]
        else:
            images = torch.arange(numbers.start, numbers.stop, device=bench.device)
            made = sample_captions(source, images, bench.tokenizer, generator, bench.runner)
            texts = [one.captions for one in made]
            kept.write_text(json.dumps(texts))
        bench.say(f"taught: {texts[:4]}")
        for number, captions in zip(numbers, texts, strict=True):
            described[number] = replace(described[number], captions=captions)
    return tuple(described)


def shown(measure: Measure) -> list[str]:
    """A few captions from adapters alone, beside what people wrote."""
    captions = measure.generate(8)
    return [f"{made!r} | {d.captions[0]!r}" for made, d in zip(captions, measure.described, strict=False)]


def compile_projection(trained: Trained) -> None:
    """Compile what takes most of the hypernetwork's time: the projection of every token of every block."""
    perceiver: Any = trained.hypernet.aggregator["perceiver"]
    perceiver.modality_projection.compile(dynamic=True)
