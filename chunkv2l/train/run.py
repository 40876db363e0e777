"""The two stages of `mini`'s training, readable top to bottom."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.models import mini_frozen
from chunkv2l.train import several
from chunkv2l.train.batches import Batches, loader
from chunkv2l.train.config import RunConfig, Source
from chunkv2l.train.decoder import Decoder, Runner, compiled, from_llama, run_block
from chunkv2l.train.features import FeatureBank, build_bank
from chunkv2l.train.hypernet_stage import HypernetStage, Trained
from chunkv2l.train.images import ImageSet, Motion, load_images
from chunkv2l.train.measure import Measure
from chunkv2l.train.questions import Described, NegativeNouns
from chunkv2l.train.teacher import sample_captions
from chunkv2l.train.trainer import Trainer
from chunkv2l.train.vlm_stage import REHEARSED, Reader, Sight, VlmStage, rehearsal
from chunkv2l.vlm.mini_text import Prompts

MINI = HypernetConfig(
    num_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    latent_size=256,
    rank=8,
    num_blocks=5,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
)
_STILL = Motion(least=0.85, mirror=False)


@dataclass(frozen=True)
class Bench:
    """Everything that both stages work with."""

    config: RunConfig
    rank: int
    count: int
    device: torch.device
    tokenizer: Any
    prompts: Prompts
    decoder: Decoder
    runner: Runner
    bank: FeatureBank
    described: tuple[Described, ...]
    pools: tuple[range, ...]
    dev_bank: FeatureBank
    dev: tuple[Described, ...]
    negatives: NegativeNouns

    def generator(self, salt: int = 0) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.config.seed * 1000 + self.rank * 10 + salt)

    def say(self, text: str) -> None:
        if self.rank == 0:
            print(text, flush=True)


def prepare(config: RunConfig) -> Bench:
    """Load the frozen parts, film all photographs, look at them once."""
    rank, count, device = several.start()
    began = time.monotonic()
    frozen = mini_frozen.load(mini_frozen.fetch())
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    decoder = from_llama(frozen.language.to(device), dtype)
    runner: Runner = compiled() if config.compile else run_block
    sources = [source for source in config.sources if source.weight > 0]
    sets = [load_images(config.data / source.stem, config.limit) for source in sources]
    vision = frozen.vision.to(device, dtype)
    bank = build_bank(
        vision, [_take(images, source) for images, source in zip(sets, sources, strict=True)], dtype=dtype
    )
    dev = load_images(config.data / config.dev, config.dev_images)
    dev_bank = build_bank(vision, [(dev, 1, _STILL)], seed=1, dtype=dtype)
    ends = list(itertools.accumulate(len(images) for images in sets))
    described = tuple(d for images in sets for d in images.described)
    bench = Bench(
        config,
        rank,
        count,
        device,
        frozen.tokenizer,
        Prompts(frozen.tokenizer),
        decoder,
        runner,
        bank,
        described,
        tuple(range(end - len(images), end) for end, images in zip(ends, sets, strict=True)),
        dev_bank,
        dev.described,
        NegativeNouns.count([d for d in described if d.captions]),
    )
    bench.say(f"{len(bank)} images, {bank.grid.shape[0]} keyframes, {time.monotonic() - began:.0f} s")
    return bench


def _take(images: ImageSet, source: Source) -> tuple[ImageSet, int, Motion]:
    return images, source.takes, source.motion


def batches_of(bench: Bench, described: tuple[Described, ...], skip_taught: bool, start: int) -> Batches:
    sources = [source for source in bench.config.sources if source.weight > 0]
    pools = []
    for source, numbers in zip(sources, bench.pools, strict=True):
        usable = [i for i in numbers if described[i].captions or described[i].labels]
        if usable and not (skip_taught and source.taught):
            pools.append((usable, source.weight))
    return Batches(
        described,
        pools,
        bench.negatives,
        bench.prompts,
        bench.config.mix,
        seed=bench.config.seed,
        start=start,
        rank=bench.rank,
    )


def _sight(bench: Bench, reader: Reader, decoder: Decoder) -> Sight:
    return Sight(decoder, reader.connector, torch.tensor(bench.prompts.opening, device=bench.device))


def _tail(bench: Bench) -> Tensor:
    return torch.tensor(bench.prompts.behind_frames(""), device=bench.device)


def stage_one(bench: Bench, reader: Reader) -> VlmStage:
    config = bench.config
    questions = REHEARSED[: config.rehearsed]
    return VlmStage(
        reader,
        bench.decoder,
        bench.bank,
        _sight(bench, reader, bench.decoder),
        rehearsal(bench.decoder, bench.prompts, bench.device, bench.runner, questions),
        bench.generator(1),
        bench.runner,
        blur=config.blur,
        drop=config.drop,
        short=config.short,
    )


def stage_two(bench: Bench, trained: Trained, reader: Reader, bank: FeatureBank, decoder: Decoder) -> HypernetStage:
    return HypernetStage(
        trained,
        decoder,
        bank,
        _sight(bench, reader, decoder),
        _tail(bench),
        bench.generator(2),
        bench.runner,
        bench.config.weights,
    )


def _measure(bench: Bench, trained: Trained, reader: Reader, decoder: Decoder) -> Measure:
    stage = stage_two(bench, trained, reader, bench.dev_bank, decoder)
    return Measure(stage, bench.dev, bench.negatives, bench.prompts)


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
        return _measure(bench, idle, reader, decoder).context()

    trainer = Trainer(
        reader, stage.loss, config.schedule, config.out, "vlm", evaluate, config.every, leads=bench.rank == 0
    )
    trainer.run(loader(batches_of(bench, bench.described, True, trainer.step), config.workers))
    if bench.rank == 0:
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
    stage = stage_two(bench, trained, reader, bench.bank, decoder)
    described = _taught(bench, stage)
    measure = _measure(bench, trained, reader, decoder)

    def evaluate() -> dict[str, float]:
        trained.eval()
        try:
            return measure.captions() | measure.find((8, 64, 256)) | measure.compose((4, 8, 16))
        finally:
            trained.train()

    trainer = Trainer(
        trained, stage.loss, config.schedule, config.out, "hypernet", evaluate, config.every, leads=bench.rank == 0
    )
    trainer.run(loader(batches_of(bench, described, False, trainer.step), config.workers))
    if bench.rank == 0:
        save_trained(trained, config.out / "hypernet.safetensors")
        for text in _shown(bench, measure):
            bench.say(text)
    return trained


def _taught(bench: Bench, stage: HypernetStage) -> tuple[Described, ...]:
    """What is known of every image, with the VLM's own captions where there were none; kept beside the run."""
    described = list(bench.described)
    bench.config.out.mkdir(parents=True, exist_ok=True)
    sources = [source for source in bench.config.sources if source.weight > 0]
    for source, numbers in zip(sources, bench.pools, strict=True):
        if not source.taught:
            continue
        kept = bench.config.out / f"taught-{source.stem}.{bench.rank}.json"
        if kept.exists():
            texts = [tuple(row) for row in json.loads(kept.read_text())]
        else:
            images = torch.arange(numbers.start, numbers.stop, device=bench.device)
            texts = [d.captions for d in sample_captions(stage, images, bench.tokenizer)]
            kept.write_text(json.dumps(texts))
        bench.say(f"taught: {texts[:4]}")
        for number, captions in zip(numbers, texts, strict=True):
            described[number] = replace(described[number], captions=captions)
    return tuple(described)


def _shown(bench: Bench, measure: Measure) -> list[str]:
    """A few captions from adapters alone, beside what people wrote."""
    captions = measure.generate(8)
    return [f"{made!r} | {d.captions[0]!r}" for made, d in zip(captions, bench.dev[: len(captions)], strict=True)]


def compile_projection(trained: Trained) -> None:
    """Compile what takes most of the hypernetwork's time: the projection of every token of every block."""
    perceiver: Any = trained.hypernet.aggregator["perceiver"]
    perceiver.modality_projection.compile(dynamic=True)


def fresh(config: RunConfig) -> Trained:
    """A hypernetwork of the run's sizes, untrained."""
    sizes: dict[str, Any] = dict(config.hypernet)
    return Trained(Hypernetwork(replace(MINI, **sizes)), config.key_dropout)


def save_reader(reader: Reader, path: Path) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in reader.state_dict().items()}, path)


def load_reader(reader: Reader, path: Path) -> None:
    reader.load_state_dict(load_file(path))


def load_trained(trained: Trained, path: Path) -> None:
    """Weights of an earlier run; keys of another shape are left as they are, untrained."""
    state = load_file(path)
    shapes = {name: value.shape for name, value in trained.state_dict().items()}
    if any(shapes.get(name) != value.shape for name, value in state.items() if name.startswith("keys.")):
        state = {name: value for name, value in state.items() if not name.startswith("keys.")}
        state |= {name: value for name, value in trained.state_dict().items() if name.startswith("keys.")}
    trained.load_state_dict(state)


def save_trained(trained: Trained, path: Path) -> None:
    tensors = {k: v.detach().cpu().contiguous() for k, v in trained.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(asdict(trained.hypernet.config))})
