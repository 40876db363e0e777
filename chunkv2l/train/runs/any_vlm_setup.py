"""A VLM to train for, and the hypernetwork for it: fresh, or an earlier one to go on from."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork, save_hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models import load_model
from chunkv2l.models.assets import hub
from chunkv2l.models.family import Family, require_family
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.mini.vlm import MiniVLM
from chunkv2l.models.smolvlm import load as smolvlm
from chunkv2l.sanitize import to_json
from chunkv2l.train.runs.checkpoints import MINI
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.stages.hypernet_stage import Trained


@dataclass(frozen=True)
class Loaded:
    """A frozen VLM and what a run trains for it.

    Attributes:
        identity: of the VLM, whatever its hypernetwork.
    """

    vlm: Family
    trained: Trained
    identity: str

    @property
    def keys_ride_along(self) -> bool:
        """Whether learned keys are written with the hypernetwork: `mini`'s loader knows them."""
        return isinstance(self.vlm, MiniVLM)


def load(config: RunConfig, device: torch.device) -> Loaded:
    """The VLM that a run names, and what the run trains.

    Raises:
        InputError: no such VLM, or a hypernetwork to start from that isn't for it.
        ChunkV2LError: fetching failed.
    """
    network, keys = _start(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hypernet.safetensors"
        save_hypernetwork(network, path)
        model = load_model(config.model, hypernet=str(path), device=str(device))
    vlm = require_family(model.vlm)
    trained = Trained(network, vlm.channels, config.key_dropout)
    if keys is not None:
        _take(trained, keys)
    frozen = {name: value for name, value in model.identity.items() if name != "hypernet"}
    identity = hashlib.sha256(to_json(frozen).encode()).hexdigest()
    return Loaded(vlm, trained.to(device).train(), identity)


def _start(config: RunConfig) -> tuple[Hypernetwork, Keys | None]:
    """The hypernetwork before training, and keys that came with it."""
    sizes: dict[str, Any] = dict(config.hypernet)
    mini = config.model == "mini" or mini_model.is_folder(Path(config.model))
    if config.start is None:
        base = MINI if mini else sizes_of(config.model)
        try:
            return Hypernetwork(replace(base, **sizes)), None
        except TypeError as error:
            raise InputError(f"The configuration's \"hypernet\" can't be used: {error}.") from None
    if mini:
        network, keys, _ = mini_model.read_hypernet(config.start)
    else:
        network, keys = load_hypernetwork(config.start), None
    if differing := [name for name, size in sizes.items() if getattr(network.config, name, None) != size]:
        raise InputError(f"{config.start} has another {differing[0]} than the configuration: leave it out there.")
    return network.requires_grad_(True), keys


def _take(trained: Trained, keys: Keys) -> None:
    """Keys of an earlier run, if they are of this size."""
    state = keys.state_dict()
    if {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in trained.keys.state_dict().items()}:
        trained.keys.load_state_dict(state)


def sizes_of(model: str) -> HypernetConfig:
    """A hypernetwork's sizes for a SmolVLM2: L, D and I are the VLM's, the rest is the released ones'.

    Raises:
        InputError: no such model, or another kind of model.
        ChunkV2LError: fetching failed.
    """
    known = smolvlm.PUBLISHED.get(model) or smolvlm.by_repository(model)
    if Path(model).is_dir():
        folder, base = Path(model), ""
    elif known is not None:
        return replace(known.hypernet, base_model=known.repository)
    elif hub.is_repository(model):
        folder, base = hub.folder(model, ("*.json", "*.safetensors", "*.txt", "*.jinja"), smolvlm.is_complete), model
    else:
        raise InputError(f"There is no model called {model!r}, and no such folder.")
    text = smolvlm.read_config(folder)["text_config"]
    names = ("num_hidden_layers", "hidden_size", "intermediate_size")
    if not all(isinstance(text.get(name), int) for name in names):
        raise InputError(f"{folder / 'config.json'} doesn't say how large its language model is.")
    layers, hidden, intermediate = (text[name] for name in names)
    return HypernetConfig(layers, hidden, intermediate, base_model=base)
