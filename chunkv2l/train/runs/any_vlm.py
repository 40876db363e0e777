"""Train a hypernetwork for any VLM that the toolkit runs. `mini.py` has `mini`'s own two stages.

The VLM is frozen. It encodes every clip once (`clips/encoded.py`); the losses are those of `mini`'s second stage
(`stages/hypernet_stage.py`).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chunkv2l.errors import InputError
from chunkv2l.hypernet import Hypernetwork, save_hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models import ModelSpec, load_model
from chunkv2l.models.family import Family, require_family
from chunkv2l.models.model import Loader
from chunkv2l.models.registry import find_loader
from chunkv2l.models.sentence.minilm import Sentences
from chunkv2l.sanitize import canonical_json
from chunkv2l.train.clips.encoded import EncodedClips, Encoder
from chunkv2l.train.clips.prompts import FamilyPrompts
from chunkv2l.train.clips.self_captions import caption_untold_images
from chunkv2l.train.clips.sentences import sentence_encoder
from chunkv2l.train.clips.shots import Shot, scenes_of, shots_of
from chunkv2l.train.core import distributed
from chunkv2l.train.core.decoder import Decoder, Runner, compiled, from_text, run_block
from chunkv2l.train.data.images import STILL
from chunkv2l.train.data.material import Material, load_material
from chunkv2l.train.data.questions import Described
from chunkv2l.train.runs.checkpoints import save_trained
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.runs.hypernet import HypernetRun, compile_projection
from chunkv2l.train.stages.hypernet_stage import HypernetStage, Trained
from chunkv2l.train.stages.stage_subject import StageSubject

_DEV_SECONDS = 4
_CAPTIONED_AT_ONCE = 8
"""Clips that the VLM captions together."""


@dataclass(frozen=True)
class AnyVlmRun:
    """The frozen VLM, the clips that it has encoded, and their texts.

    Attributes:
        clips: the training clips.
        dev: the clips that the run is measured on.
    """

    config: RunConfig
    rank: int
    device: torch.device
    loaded: Loaded
    prompts: FamilyPrompts
    decoder: Decoder
    runner: Runner
    material: Material
    described: tuple[Described, ...]
    clips: EncodedClips
    dev: EncodedClips
    sentences: Sentences

    def stage(self, clips: EncodedClips) -> HypernetStage:
        """Return the losses over these clips."""
        generator = torch.Generator(self.device).manual_seed(self.config.seed * 1000 + self.rank * 10 + 2)
        return HypernetStage(
            self.loaded.trained, self.decoder, clips, generator, self.runner, self.sentences, self.config.weights
        )

    def dev_subject(self) -> StageSubject:
        """Return the dev clips to measure the run on."""
        return StageSubject(self.stage(self.dev), self.material.dev.described, self.prompts, _DEV_SECONDS)


def prepare(config: RunConfig) -> AnyVlmRun:
    """Load the VLM and encode all clips that aren't on disk yet.

    Raises:
        InputError: the VLM, a set or a video can't be used.
        ChunkV2LError: the clips don't fit on the disk.
    """
    rank, count, device = distributed.start()

    def say(text: str) -> None:
        if rank == 0:
            print(text, flush=True)

    if config.teachers:
        raise InputError("Only mini's own keys can have teachers: leave them out of the configuration.")
    material = load_material(config.data_settings)
    torch.manual_seed(config.seed + 1)
    loaded = load(config, device)
    prompts = FamilyPrompts(loaded.vlm)
    decoder = from_text(loaded.vlm.decoder, torch.bfloat16 if device.type == "cuda" else torch.float32)
    runner: Runner = compiled() if config.compile else run_block
    encoder = Encoder(
        loaded.vlm,
        loaded.identity,
        config.cache or config.out / "clips",
        prompts.behind_frames("") if config.weights.distil else None,
        config.tokens,
    )
    encoder.folder.mkdir(parents=True, exist_ok=True)
    shots = shots_of(material)
    seconds = sorted(set(config.mix.frames))
    clips = encoder.encode(decoder, shots, seconds, rank=rank, count=count, say=say)
    dev_shots = [Shot((scene,), 1) for scene in scenes_of(material.dev, STILL)]
    dev = encoder.encode(decoder, dev_shots, [_DEV_SECONDS], rank=rank, count=count, say=say)

    def caption(numbers: Sequence[int]) -> list[str]:
        texts: list[str] = []
        for begin in range(0, len(numbers), _CAPTIONED_AT_ONCE):
            chosen = [shots[i] for i in numbers[begin : begin + _CAPTIONED_AT_ONCE]]
            shown = [shot.clip(loaded.vlm, 0, shot.length(0, seconds)) for shot in chosen]
            texts += loaded.vlm.generate_from_frames(shown, "", max_new_tokens=config.mix.longest)
        return texts

    described = caption_untold_images(material, caption, config.out, rank=rank, say=say)
    say(f"{material.images} images, {len(material.cuts)} cuts, {sum(map(len, clips.takes))} clips")
    sentences = sentence_encoder(device)
    return AnyVlmRun(config, rank, device, loaded, prompts, decoder, runner, material, described, clips, dev, sentences)


def train(config: RunConfig) -> Path:
    """Train a hypernetwork for the VLM that the configuration names. Writes `hypernet.safetensors`.

    Returns:
        the file: `chunkv2l build --model MODEL --hypernet FILE` uses it.

    Raises:
        InputError: as `prepare`.
        ChunkV2LError: as `prepare`.
    """
    run = prepare(config)
    if config.compile:
        compile_projection(run.loaded.trained)
    dev, stage = run.dev_subject(), run.stage(run.clips)
    hypernet_run = HypernetRun(config, run.rank, run.material, run.prompts, run.described, stage, dev)
    return hypernet_run.train(lambda path: save(run.loaded, path))


def save(loaded: Loaded, path: Path) -> None:
    """Write the trained parts: with keys as `mini`'s loader reads them, or the hypernetwork alone for another VLM."""
    if loaded.has_keys:
        save_trained(loaded.trained, path)
    else:
        save_hypernetwork(loaded.trained.hypernet, path)


@dataclass(frozen=True)
class Loaded:
    """A frozen VLM and the parts that a run trains for it.

    Attributes:
        identity: of the VLM without a hypernetwork.
        has_keys: whether learned keys are written with the hypernetwork.
    """

    vlm: Family
    trained: Trained
    identity: str
    has_keys: bool


def load(config: RunConfig, device: torch.device) -> Loaded:
    """Load the VLM that a run names, and make the parts that the run trains.

    Raises:
        InputError: no such VLM, or the hypernetwork to start from isn't for it.
        ChunkV2LError: fetching failed.
    """
    loader = find_loader(config.model)
    network, keys = _start(config, loader)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hypernet.safetensors"
        save_hypernetwork(network, path)
        model = load_model(ModelSpec(config.model, str(path), str(device)))
    vlm = require_family(model.vlm)
    trained = Trained(network, vlm.channels, config.key_dropout)
    if keys is not None:
        _copy_keys(trained, keys)
    frozen = {name: value for name, value in model.identity.items() if name != "hypernet"}
    identity = hashlib.sha256(canonical_json(frozen).encode()).hexdigest()
    return Loaded(vlm, trained.to(device).train(), identity, loader.keeps_keys)


def _start(config: RunConfig, loader: Loader) -> tuple[Hypernetwork, Keys | None]:
    """Return the hypernetwork before training, and the keys that were saved with it."""
    sizes: dict[str, Any] = dict(config.hypernet)
    if config.start is None:
        base = loader.hypernet_config(config.model)
        try:
            return Hypernetwork(replace(base, **sizes)), None
        except TypeError as error:
            raise InputError(f"The configuration's \"hypernet\" can't be used: {error}.") from None
    network, keys = loader.read_hypernet(config.start)
    if differing := [name for name, size in sizes.items() if getattr(network.config, name, None) != size]:
        raise InputError(f"{config.start} has another {differing[0]} than the configuration: leave it out there.")
    return network.requires_grad_(True), keys


def _copy_keys(trained: Trained, keys: Keys) -> None:
    """Start from the keys of an earlier run, if they have the same sizes."""
    state = keys.state_dict()
    if {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in trained.keys.state_dict().items()}:
        trained.keys.load_state_dict(state)
