"""Train a selector of rank slots for a hypernetwork that stays as it is."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from chunkv2l.hypernet.selector import Selector
from chunkv2l.models.assets.cache import sha256
from chunkv2l.models.selector_file import SELECTOR, write_selector
from chunkv2l.train.core.trainer import Trainer
from chunkv2l.train.data.batches import loader
from chunkv2l.train.runs.checkpoints import load_trained, make_untrained
from chunkv2l.train.runs.mini import MiniRun, bank_clips, hypernet_stage
from chunkv2l.train.stages.code_bank import CodeBank, build_code_bank, load_code_bank
from chunkv2l.train.stages.hypernet_stage import HypernetStage
from chunkv2l.train.stages.selector_measure import SelectorSubject
from chunkv2l.train.stages.selector_stage import SelectorStage, TrainedSelector, WordEncoder
from chunkv2l.train.stages.vlm_stage import VisualReader


def train_selector(run: MiniRun, reader: VisualReader, hypernet: Path) -> Path:
    """Train to the end of the schedule and return the path of `selector.safetensors`.

    Args:
        reader: stage 1's, frozen here.
        hypernet: stage 2's file, which the selector belongs to.
    """
    config, device, settings = run.config, run.device, run.config.selector
    reader.requires_grad_(False)
    with torch.no_grad():
        decoder = reader.lora.apply_to(run.decoder)
    trained = make_untrained(config, run.vocabulary()).to(device)
    load_trained(trained, hypernet)
    trained.eval().requires_grad_(False)
    began = time.monotonic()
    stage = hypernet_stage(run, trained, bank_clips(run, reader, run.bank, decoder))
    dev_stage = hypernet_stage(run, trained, bank_clips(run, reader, run.dev_bank, decoder))
    digest = sha256(hypernet)
    kept = None if config.bank is None else config.bank / f"codes-{digest[:12]}-{settings.takes}.safetensors"
    bank = _code_bank(stage, run.material.images, settings.takes, kept)
    dev_bank = build_code_bank(dev_stage, len(run.material.dev), 1)
    run.say(f"codes of {run.material.images} images, {settings.takes} takes, {time.monotonic() - began:.0f} s")
    torch.manual_seed(config.seed + 2)
    selector = TrainedSelector(Selector(trained.hypernet.config, settings.size, settings.dropout)).to(device)
    words = WordEncoder(run.encode_words)
    selector_stage = SelectorStage(selector, stage, bank, words, run.generator(3), settings, run.material.names)
    subject = SelectorSubject(selector_stage, dev_bank, run.material.dev.described, run.prompts)
    trainer = Trainer(
        selector,
        selector_stage.loss,
        config.schedule,
        config.out,
        "selector",
        subject.figures,
        config.every,
        leads=run.leads,
    )
    batches = run.material.batches(run.prompts, tagging=run.tagging, start=trainer.step, rank=run.rank)
    trainer.run(loader(batches, config.workers))
    path = config.out / SELECTOR
    if not settings.gated:
        selector.selector.reset_gates()
    if run.leads:
        write_selector(path, selector.selector.cpu(), digest)
    return path


def _code_bank(stage: HypernetStage, images: int, takes: int, file: Path | None) -> CodeBank:
    """Return the codes of the training images: those in a file if it is there, else computed and kept in it."""
    if file is not None and file.exists():
        return load_code_bank(file, stage.source.device)
    bank = build_code_bank(stage, images, takes)
    if file is not None:
        bank.save(file)
    return bank
