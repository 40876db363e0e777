"""What both stages of `mini`'s training work with: its frozen parts, and the photographs and videos as it sees them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.models.mini import frozen as mini_frozen
from chunkv2l.models.mini.prompts import Prompts
from chunkv2l.models.sentence.minilm import Sentences
from chunkv2l.train.clips.bank import FeatureBank, build_bank
from chunkv2l.train.clips.base import BankClips
from chunkv2l.train.clips.sentences import sentence_encoder
from chunkv2l.train.core import distributed as several
from chunkv2l.train.core.decoder import Decoder, Runner, compiled, from_llama, run_block
from chunkv2l.train.data.batches import Batches
from chunkv2l.train.data.images import Motion
from chunkv2l.train.data.material import Material, batches_of, load_material
from chunkv2l.train.data.questions import Described
from chunkv2l.train.runs.checkpoints import load_keys
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.stages.hypernet_stage import HypernetStage, Trained
from chunkv2l.train.stages.key_teachers import KeyTeachers
from chunkv2l.train.stages.measure import Measure
from chunkv2l.train.stages.vlm_stage import REHEARSED, Reader, Sight, VlmStage, rehearsal

_STILL = Motion(least=0.85, mirror=False)


@dataclass(frozen=True)
class Bench:
    """Everything that both stages work with."""

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

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def generator(self, salt: int = 0) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.config.seed * 1000 + self.rank * 10 + salt)

    def say(self, text: str) -> None:
        if self.leads:
            print(text, flush=True)

    def batches(
        self, start: int, *, described: tuple[Described, ...] | None = None, skip_taught: bool = False
    ) -> Batches:
        """The run's batches from number `start` on, for this process."""
        return batches_of(
            self.material,
            self.config,
            self.prompts,
            described=described,
            skip_taught=skip_taught,
            start=start,
            rank=self.rank,
        )


def prepare(config: RunConfig) -> Bench:
    """Load the frozen parts, film all photographs, look at them once."""
    rank, _, device = several.start()
    began = time.monotonic()
    material = load_material(config)
    frozen = mini_frozen.load(mini_frozen.fetch())
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    decoder = from_llama(frozen.language.to(device), dtype)
    runner: Runner = compiled() if config.compile else run_block
    vision = frozen.vision.to(device, dtype)
    sets = [(one, src.takes, src.motion) for one, src in zip(material.sets, material.sources, strict=True)]
    bank = build_bank(vision, sets, dtype=dtype, cuts=[cut.members for cut in material.cuts])
    dev_bank = build_bank(vision, [(material.dev, 1, _STILL)], seed=1, dtype=dtype)
    bench = Bench(
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
        sentence_encoder(device),
    )
    bench.say(f"{len(bank)} images, {bank.grid.shape[0]} keyframes, {time.monotonic() - began:.0f} s")
    return bench


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


def bank_clips(bench: Bench, reader: Reader, bank: FeatureBank, decoder: Decoder) -> BankClips:
    """The bank's clips as the reader shows them to its decoder."""
    return BankClips(decoder, bank, _sight(bench, reader, decoder), _tail(bench))


def stage_two(bench: Bench, trained: Trained, source: BankClips) -> HypernetStage:
    config = bench.config
    return HypernetStage(
        trained,
        source.decoder,
        source,
        bench.generator(2),
        bench.runner,
        bench.sentences,
        config.weights,
        _teachers(bench),
    )


def _teachers(bench: Bench) -> KeyTeachers | None:
    """The run's keys that teach, with the images that nothing is written about."""
    if not bench.config.teachers:
        return None
    silent = [i for i, one in enumerate(bench.material.described) if not (one.captions or one.labels)]
    if not silent:
        raise InputError("Teachers are asked about images without texts, and all sources of this run have some.")
    keys = tuple(load_keys(path).to(bench.device) for path in bench.config.teachers)
    sharp = KeyTeachers.sharp if len(keys) > 1 else 1.0
    return KeyTeachers(keys, torch.tensor(silent, device=bench.device), sharp)


def measure_on_dev(bench: Bench, trained: Trained, reader: Reader, decoder: Decoder) -> Measure:
    """What measures the run on the images that are kept aside."""
    stage = stage_two(bench, trained, bank_clips(bench, reader, bench.dev_bank, decoder))
    return Measure(stage, bench.material.dev.described, bench.material.negatives, bench.prompts)
