"""A hypernetwork for any VLM that the toolkit runs, readable top to bottom. `run.py` has `mini`'s own two stages.

The VLM is frozen. It encodes every clip once (`encoded.py`); what is trained, and by which losses, is what `mini`'s
second stage trains (`hypernet_stage.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from chunkv2l.errors import InputError
from chunkv2l.hypernet import save_hypernetwork
from chunkv2l.models.sentence.minilm import Sentences
from chunkv2l.train.clips.encoded import EncodedClips, Encoder
from chunkv2l.train.clips.prompts import Words
from chunkv2l.train.clips.sentences import sentence_encoder
from chunkv2l.train.clips.shots import Shot, scenes_of, shots_of
from chunkv2l.train.core import distributed as several
from chunkv2l.train.core.decoder import Decoder, Runner, compiled, from_text, run_block
from chunkv2l.train.core.trainer import Trainer
from chunkv2l.train.data.batches import loader
from chunkv2l.train.data.images import Motion
from chunkv2l.train.data.material import Material, batches_of, load_material
from chunkv2l.train.data.questions import Described, clean
from chunkv2l.train.runs.any_vlm_setup import Loaded, load
from chunkv2l.train.runs.checkpoints import save_trained
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.runs.mini import compile_projection, measured, shown
from chunkv2l.train.stages.hypernet_stage import HypernetStage
from chunkv2l.train.stages.measure import Measure

_STILL = Motion(least=0.85, mirror=False)
_DEV_SECONDS = 4


@dataclass(frozen=True)
class AnyBench:
    """Everything that a run for any VLM works with."""

    config: RunConfig
    rank: int
    device: torch.device
    loaded: Loaded
    words: Words
    decoder: Decoder
    runner: Runner
    material: Material
    described: tuple[Described, ...]
    clips: EncodedClips
    dev: EncodedClips
    sentences: Sentences

    def stage(self, clips: EncodedClips) -> HypernetStage:
        """The losses over these clips."""
        generator = torch.Generator(self.device).manual_seed(self.config.seed * 1000 + self.rank * 10 + 2)
        return HypernetStage(
            self.loaded.trained, self.decoder, clips, generator, self.runner, self.sentences, self.config.weights
        )


def prepare(config: RunConfig) -> AnyBench:
    """Load the VLM and encode all clips that aren't on disk yet.

    Raises:
        InputError: the VLM, a set or a video can't be used.
        ChunkV2LError: the clips don't fit on the disk.
    """
    rank, count, device = several.start()

    def say(text: str) -> None:
        if rank == 0:
            print(text, flush=True)

    if config.teachers:
        raise InputError("Only mini's own keys can have teachers: leave them out of the configuration.")
    material = load_material(config)
    torch.manual_seed(config.seed + 1)
    loaded = load(config, device)
    words = Words(loaded.vlm)
    decoder = from_text(loaded.vlm.decoder, torch.bfloat16 if device.type == "cuda" else torch.float32)
    runner: Runner = compiled() if config.compile else run_block
    encoder = Encoder(
        loaded.vlm,
        loaded.identity,
        config.cache or config.out / "clips",
        words.behind_frames("") if config.weights.distil else None,
        config.tokens,
    )
    encoder.folder.mkdir(parents=True, exist_ok=True)
    shots = shots_of(material)
    clips = encoder.encode(decoder, shots, sorted(set(config.mix.frames)), rank=rank, count=count, say=say)
    kept_aside = [Shot((scene,), 1) for scene in scenes_of(material.dev, _STILL)]
    dev = encoder.encode(decoder, kept_aside, [_DEV_SECONDS], rank=rank, count=count, say=say)
    described = _taught(config, material, loaded, shots, rank, say)
    say(f"{material.images} images, {len(material.cuts)} cuts, {sum(map(len, clips.takes))} clips")
    sentences = sentence_encoder(device)
    return AnyBench(config, rank, device, loaded, words, decoder, runner, material, described, clips, dev, sentences)


def train(config: RunConfig) -> Path:
    """Train a hypernetwork for the VLM that the configuration names. Writes `hypernet.safetensors`.

    Returns:
        the file: `chunkv2l build --model MODEL --hypernet FILE` uses it.

    Raises:
        InputError: as `prepare`.
        ChunkV2LError: as `prepare`.
    """
    bench = prepare(config)
    trained = bench.loaded.trained
    if config.compile:
        compile_projection(trained)
    measure = Measure(
        bench.stage(bench.dev), bench.material.dev.described, bench.material.negatives, bench.words, _DEV_SECONDS
    )
    trainer = Trainer(
        trained,
        bench.stage(bench.clips).loss,
        config.schedule,
        config.out,
        "hypernet",
        lambda: measured(trained, measure),
        config.every,
        leads=bench.rank == 0,
    )
    batches = batches_of(
        bench.material, config, bench.words, described=bench.described, start=trainer.step, rank=bench.rank
    )
    trainer.run(loader(batches, config.workers))
    path = config.out / "hypernet.safetensors"
    if bench.rank == 0:
        save(bench.loaded, path)
        for text in shown(measure):
            print(text, flush=True)
    return path


def save(loaded: Loaded, path: Path) -> None:
    """Write what was trained: as `mini` is loaded from, keys included; for another VLM the hypernetwork alone."""
    if loaded.keys_ride_along:
        save_trained(loaded.trained, path)
    else:
        save_hypernetwork(loaded.trained.hypernet, path)


def _taught(
    config: RunConfig,
    material: Material,
    loaded: Loaded,
    shots: list[Shot],
    rank: int,
    say: Callable[[str], None],
) -> tuple[Described, ...]:
    """What is known of every image; those without text get what the VLM itself says of them, kept beside the run."""
    described = list(material.described)
    seconds = sorted(set(config.mix.frames))
    for source, numbers in zip(material.sources, material.pools, strict=True):
        if not source.taught:
            continue
        kept = config.out / f"taught-{source.stem.replace('/', '-')}.json"
        if rank == 0 and not kept.exists():
            texts = []
            for begin in range(0, len(numbers), 8):
                some = [shots[i] for i in numbers[begin : begin + 8]]
                clips = [shot.clip(loaded.vlm, 0, shot.length(0, seconds)) for shot in some]
                texts += loaded.vlm.generate_from_frames(clips, "", max_new_tokens=config.mix.longest)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(texts))
        several.wait()
        texts = json.loads(kept.read_text())
        if len(texts) != len(numbers):
            raise InputError(f"{kept} is of another run: remove it.")
        say(f"taught: {texts[:4]}")
        for number, text in zip(numbers, texts, strict=True):
            described[number] = replace(described[number], captions=(clean(text),) if clean(text) else ())
    return tuple(described)
