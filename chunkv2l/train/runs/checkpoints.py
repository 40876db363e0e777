"""Read and write the files of `mini`'s two stages."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.hypernet import Hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models.assets import weights
from chunkv2l.models.mini.connector import CHANNELS
from chunkv2l.models.mini.load import HYPERNET_CONFIG, TAGS, check_keys, read_hypernet
from chunkv2l.train.runs.config import RunConfig
from chunkv2l.train.stages.hypernet_stage import Trained
from chunkv2l.train.stages.vlm_stage import VisualReader

_NAMES = ("keys.vocabulary", "keys.names.weight", "keys.named.weight")


def make_untrained(config: RunConfig, vocabulary: Tensor | None = None) -> Trained:
    """Return an untrained hypernetwork of the run's sizes, with keys.

    Args:
        vocabulary: as `Keys` has it.
    """
    sizes: dict[str, Any] = dict(config.hypernet)
    return Trained(Hypernetwork(replace(HYPERNET_CONFIG, **sizes)), CHANNELS, config.key_dropout, vocabulary)


def save_reader(reader: VisualReader, path: Path, tagged: bool = False) -> None:
    """Write connector and LoRA.

    Args:
        tagged: they were trained with tags.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in reader.state_dict().items()}
    save_file(tensors, path, {TAGS: "true"} if tagged else {})


def load_reader(reader: VisualReader, path: Path) -> None:
    """Read connector and LoRA.

    Raises:
        InputError: the file isn't a reader of these sizes.
    """
    try:
        reader.load_state_dict(_read(path))
    except RuntimeError as error:
        raise InputError(f"{path} isn't a reader of this run's sizes: {_last_line(error)}") from None


def load_trained(trained: Trained, path: Path) -> None:
    """Read the weights of an earlier run; keys of another shape stay untrained.

    Raises:
        InputError: the file isn't a hypernetwork of this run's sizes.
    """
    state = {"log_temperature": trained.log_temperature.detach(), **_read(path)}  # the shipped weights lack it
    if trained.keys.has_names and "keys.norm.weight" in state:  # keys that read no names get them as they begin
        state = {name: value for name, value in trained.state_dict().items() if name in _NAMES} | state
    shapes = {name: value.shape for name, value in trained.state_dict().items()}
    if {name: value.shape for name, value in state.items() if name.startswith("keys.")} != {
        name: shape for name, shape in shapes.items() if name.startswith("keys.")
    }:
        state = {name: value for name, value in state.items() if not name.startswith("keys.")}
        state |= {name: value for name, value in trained.state_dict().items() if name.startswith("keys.")}
    try:
        trained.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} isn't a hypernetwork of this run's sizes: {_last_line(error)}") from None


def load_keys(path: Path) -> Keys:
    """Read the learned keys of an earlier run, frozen.

    Raises:
        InputError: the file isn't a hypernetwork of `mini`'s, or its keys can't be used.
    """
    _, keys, _ = read_hypernet(path)
    if keys is None:
        raise InputError(f"{path} has no keys that could teach.")
    check_keys(keys, CHANNELS, path)
    return keys.eval().requires_grad_(False)


def save_trained(trained: Trained, path: Path) -> None:
    """Write hypernetwork, keys and temperature, under the prefixes that `mini`'s loader reads."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in trained.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(asdict(trained.hypernet.config))})


def _read(path: Path) -> dict[str, Tensor]:
    return weights.read(path)[0]


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
