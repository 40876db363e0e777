"""Read and write hypernetwork files: our own `.safetensors`, bare ones with the reference's key names, released `.pt`.

Files may come from anywhere: nothing in them is executed, and names, shapes and types are checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write, check_file, check_safetensors, parse_json
from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.model import Hypernetwork
from chunkv2l.hypernet.released import MAX_FILE, read_released
from chunkv2l.sandbox.limits import Limits
from chunkv2l.sandbox.parent import run_task
from chunkv2l.sanitize import quoted

FORMAT = "chunkv2l.hypernet"
ENCODER = "aggregator.perceiver.encoder"
_MEMORY = 512 << 20
_SECONDS = 8
_BYTES_A_SECOND = 20 << 20  # at the least, on a slow and busy machine
RELEASED_HEADS = (16, 4, 128)  # query heads, key/value heads, width: fixed in the reference, nowhere in its files


def load_hypernetwork(path: str | os.PathLike[str]) -> Hypernetwork:
    """Read a hypernetwork, on the CPU, in float32.

    Args:
        path: a `.safetensors` of `save_hypernetwork`; or one with the released checkpoints' key names, or a released
            `.pt` (all sizes then follow from the shapes; heads are the released 16 × 128 with 4 key/value heads). The
            format is detected from the content, not the file name.

    Raises:
        InputError: no such file, unreadable, keys and shapes that aren't a hypernetwork's, numbers that aren't finite,
            or a pickle that holds more than the released files do (it isn't executed).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no hypernetwork file {path}.")
    check_file(path, MAX_FILE)
    if _looks_like_safetensors(path):
        tensors, metadata = _read(path)
        if metadata.get("format") == FORMAT:
            return build_hypernetwork(read_config(path, metadata), tensors, path)
        return build_hypernetwork(config_from_shapes(_shapes(tensors), path), tensors, path)
    tensors, base_model = read_released(path)
    return build_hypernetwork(replace(config_from_shapes(_shapes(tensors), path), base_model=base_model), tensors, path)


def try_in_sandbox(path: str | os.PathLike[str]) -> None:
    """Have a stranger's pickled checkpoint read by a sandboxed process first; other files aren't programs.

    torch's reader is no Python: a file that crashes it, or takes more memory or time than a checkpoint of its size may,
    ends that process and not this one.

    Raises:
        InputError: as `load_hypernetwork`, or it took more than it may.
        ChunkV2LError: the process can't be started, or crashed.
    """
    path = Path(path).resolve()
    if path.is_file() and not _looks_like_safetensors(path):
        check_file(path, MAX_FILE)
        status = path.stat()
        _try(path, status.st_size, status.st_mtime_ns)


@cache
def _try(path: Path, size: int, time: int) -> None:
    """Read a file in a sandboxed process; it is read once, for as long as it has this size and time."""
    run_task(
        f"{__name__}:describe_checkpoint",
        path,
        Limits(memory=_MEMORY + 4 * size, seconds=_SECONDS + size // _BYTES_A_SECOND),
    )


def describe_checkpoint(path: str) -> dict[str, object]:
    """Return a hypernetwork's sizes; for the sandbox.

    Raises:
        InputError: as `load_hypernetwork`.
    """
    return asdict(load_hypernetwork(path).config)


def save_hypernetwork(hypernet: Hypernetwork, path: str | os.PathLike[str]) -> None:
    """Write a hypernetwork as `.safetensors`, its configuration in the metadata; atomic (a rename at the end)."""
    path = Path(path)
    state = {key: value.detach().float().cpu().contiguous() for key, value in hypernet.state_dict().items()}
    with atomic_write(path) as part:
        save_file(state, part, metadata={"format": FORMAT, "config": hypernet.config.to_text()})


def build_hypernetwork(config: HypernetConfig, tensors: Mapping[str, Tensor], path: Path) -> Hypernetwork:
    """Return the hypernetwork of these sizes with these weights, names and shapes checked.

    Raises:
        InputError: a key is missing, unknown, or of another shape.
    """
    if (blocks := _count_blocks(tensors)) != config.num_blocks:
        raise InputError(
            f"{path} isn't a complete hypernetwork: it has {blocks} of {config.num_blocks} encoder layers."
        )
    try:
        with torch.device("meta"):
            hypernet = Hypernetwork(config)
    except (RuntimeError, OverflowError, TypeError):
        raise InputError(f"{path} is damaged: its sizes are beyond anything that can be built.") from None
    expected = {key: tuple(value.shape) for key, value in hypernet.state_dict().items()}
    if missing := sorted(set(expected) - set(tensors)):
        raise InputError(f"{path} isn't a complete hypernetwork: {_list_first(missing)} missing.")
    if unknown := sorted(set(tensors) - set(expected)):
        raise InputError(f"{path} has tensors that no hypernetwork has: {_list_first(unknown)}.")
    for key, shape in expected.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape:
            raise InputError(f"{path}: {key} should be {list(shape)}, not {list(tensor.shape)}.")
        if not tensor.is_floating_point():
            raise InputError(f"{path}: {key} should hold floating-point numbers, not {tensor.dtype}.")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path} is damaged: {key} holds values that aren't finite numbers.")
    state = {key: value.float().contiguous() for key, value in tensors.items()}
    hypernet.load_state_dict(state, strict=True, assign=True)
    for parameter in hypernet.parameters():
        parameter.requires_grad_(True)
    return hypernet


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]], path: Path) -> HypernetConfig:
    """Return the configuration that a released checkpoint's shapes imply.

    Raises:
        InputError: keys that decide a size are missing, adapters for other modules, other heads than the released, or
            sizes that can't be.
    """
    targets = {key.removeprefix("bias_A.") for key in shapes if key.startswith("bias_A.")}
    if targets and targets != {"down_proj"}:
        raise InputError(
            f"{path} makes adapters for {quoted(', '.join(sorted(targets)))}, "
            "and chunkv2l applies them to one module only: only down_proj can be used."
        )
    encoder, decoder = ENCODER, "aggregator.perceiver.decoder"
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
    try:
        return HypernetConfig(
            num_layers=layers,
            hidden_size=shapes["bias_B.down_proj"][-1],
            intermediate_size=intermediate,
            latent_size=latent,
            rank=rank,
            num_blocks=_count_blocks(shapes),
            num_queries=queries,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
        )
    except InputError as error:  # a size of 0
        raise InputError(f"{path} is damaged: {quoted(error)}") from None


def _count_blocks(names: Iterable[str]) -> int:
    layers = f"{ENCODER}.layers."
    return len({name.removeprefix(layers).partition(".")[0] for name in names if name.startswith(layers)})


def _looks_like_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: a length in 8 bytes, then the header, which is JSON."""
    try:
        with path.open("rb") as file:
            return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_safetensors(path, MAX_FILE)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as a safetensors file ({quoted(error)}): fetch it again.") from None


def read_config(path: Path, metadata: Mapping[str, str]) -> HypernetConfig:
    """Return the configuration that `save_hypernetwork` puts into a file's metadata.

    Raises:
        InputError: there is none, or it can't be.
    """
    try:
        values = parse_json(metadata.get("config", ""))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged: its configuration can't be read.")
    try:
        return HypernetConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path} is damaged: {quoted(error)}") from None


def _list_first(names: list[str]) -> str:
    """List three names at most, and how many more there are."""
    shown = quoted(", ".join(names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
