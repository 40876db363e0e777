"""Hypernetwork files: our own `.safetensors` and bare ones with the reference's key names.

Nothing is ever unpickled here; the released `.pt` layout is read by `released`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.model import Hypernetwork

FORMAT = "chunkv2l.hypernet"
RELEASED_HEADS = (16, 4, 128)  # query heads, key/value heads, width: fixed in the reference, nowhere in its files


def load_hypernetwork(path: str | os.PathLike[str]) -> Hypernetwork:
    """Read a hypernetwork, on the CPU, in float32.

    Args:
        path: a `.safetensors` of `save_hypernetwork`, or one with the released checkpoints' key names (all sizes
            follow from the shapes; its heads must be the released 16 × 128 with 4 key/value heads).

    Raises:
        InputError: no such file, unreadable, or keys and shapes that aren't a hypernetwork's.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    if metadata.get("format") == FORMAT:
        config = _own_config(path, metadata)
    else:
        config = config_from_shapes({key: tuple(value.shape) for key, value in tensors.items()}, path)
    return build(config, tensors, path)


def save_hypernetwork(hypernet: Hypernetwork, path: str | os.PathLike[str]) -> None:
    """Write a hypernetwork as `.safetensors`, its configuration in the metadata; atomic (a rename at the end)."""
    path = Path(path)
    state = {key: value.detach().float().cpu().contiguous() for key, value in hypernet.state_dict().items()}
    part = path.with_name(f"{path.name}.part")
    save_file(state, part, metadata={"format": FORMAT, "config": hypernet.config.to_json()})
    part.replace(path)


def build(config: HypernetConfig, tensors: Mapping[str, Tensor], path: Path) -> Hypernetwork:
    """The hypernetwork of these sizes with these weights, names and shapes checked.

    Raises:
        InputError: a key is missing, unknown, or of another shape.
    """
    with torch.device("meta"):
        hypernet = Hypernetwork(config)
    expected = {key: tuple(value.shape) for key, value in hypernet.state_dict().items()}
    if missing := sorted(set(expected) - set(tensors)):
        raise InputError(f"{path} isn't a complete hypernetwork: {_some(missing)} missing.")
    if unknown := sorted(set(tensors) - set(expected)):
        raise InputError(f"{path} has tensors that no hypernetwork has: {_some(unknown)}.")
    for key, shape in expected.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape:
            raise InputError(f"{path}: {key} should be {list(shape)}, not {list(tensor.shape)}.")
        if not tensor.is_floating_point():
            raise InputError(f"{path}: {key} should hold floating-point numbers, not {tensor.dtype}.")
    hypernet.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True, assign=True)
    for parameter in hypernet.parameters():
        parameter.requires_grad_(True)
    return hypernet


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], path: Path) -> HypernetConfig:
    """The configuration that a released checkpoint's shapes imply.

    Raises:
        InputError: keys that decide a size are missing, or the heads aren't the released layout's.
    """
    encoder, decoder = "aggregator.perceiver.encoder", "aggregator.perceiver.decoder"
    needed = {
        "bias_A.down_proj": 3,
        "bias_B.down_proj": 3,
        f"{encoder}.latents_q": 2,
        f"{decoder}.layers.0.self_attn.q_proj.weight": 2,
        f"{decoder}.layers.0.self_attn.k_proj.weight": 2,
    }
    for key, dimensions in needed.items():
        if key not in shapes:
            raise InputError(f"{path} isn't a hypernetwork's checkpoint: {key} is missing.")
        if len(shapes[key]) != dimensions:
            raise InputError(f"{path}: {key} should have {dimensions} dimensions, not {len(shapes[key])}.")
    layers, rank, intermediate = shapes["bias_A.down_proj"]
    queries, latent = shapes[f"{encoder}.latents_q"]
    heads, kv_heads, head_dim = RELEASED_HEADS
    q, k = (shapes[f"{decoder}.layers.0.self_attn.{name}_proj.weight"][0] for name in "qk")
    if (q, k) != (heads * head_dim, kv_heads * head_dim):
        raise InputError(
            f"{path}: attention widths of {q} and {k} aren't the released {heads * head_dim} and "
            f"{kv_heads * head_dim}, so the number of heads can't be known: "
            "save it with chunkv2l's save_hypernetwork, which keeps the sizes."
        )
    blocks = {key.split(".")[4] for key in shapes if key.startswith(f"{encoder}.layers.")}
    return HypernetConfig(
        num_layers=layers,
        hidden_size=shapes["bias_B.down_proj"][-1],
        intermediate_size=intermediate,
        latent_size=latent,
        rank=rank,
        num_blocks=len(blocks),
        num_queries=queries,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise InputError(f"There is no hypernetwork file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as a safetensors file ({error}): fetch it again.") from None


def _own_config(path: Path, metadata: Mapping[str, str]) -> HypernetConfig:
    try:
        values = json.loads(metadata.get("config", ""))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged: its configuration can't be read.")
    return HypernetConfig.from_dict(values)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
