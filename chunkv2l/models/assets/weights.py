"""Pack weights small enough to ship: int8 with float16 scales, in safetensors.

A matrix is kept as int8 with one float16 scale per row, or per column where that loses less; the scales are a tensor of
the same name with `.scale` behind it, and a number is value · scale. Vectors and small matrices are kept in float16.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import atomic_write, check_safetensors
from chunkv2l.sanitize import quoted

Module = TypeVar("Module", bound=nn.Module)
SCALE = ".scale"
MAX_FILE: Final = 512 << 20
"""Bytes of a file of weights that `read` takes; the shipped ones have 28 MB."""
_SHORTEST = 64
"""Numbers that share a scale, at least; a matrix whose sides are both shorter is kept in float16."""


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in the form in which it is shipped, on the CPU.

    Args:
        state: floating-point tensors; leading dimensions of a matrix count matrices.

    Raises:
        InputError: a tensor that doesn't hold floating-point numbers, or numbers that aren't finite or too large.
    """
    out = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            raise InputError(f"{name} holds {tensor.dtype}: only floating-point weights can be packed.")
        tensor = tensor.detach().float().cpu()
        if axes := _axes(tensor.shape):
            out[name], scale = _quantised(tensor, axes)
            out[name + SCALE] = scale
        else:
            scale = out[name] = tensor.half().contiguous()
        if not bool(torch.isfinite(scale).all()):
            raise InputError(f"{name} can't be packed: it holds numbers that aren't finite, or too large for float16.")
    if len(out) != len(state) + sum(tensor.dtype == torch.int8 for tensor in out.values()):
        raise InputError(f"Weights can't be packed under names that others have with {SCALE} behind them.")
    return out


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the float32 weights of what `pack` returned, or from unpacked ones in any floating-point precision.

    Raises:
        InputError: scales that don't go with their values, or tensors that are neither.
    """
    out = {}
    packed = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in packed:
            continue
        if tensor.is_floating_point():
            out[name] = tensor.float()
            continue
        scale = tensors.get(name + SCALE)
        if tensor.dtype != torch.int8 or scale is None:
            raise InputError(f"{name} ({tensor.dtype}) isn't a weight: its scales are missing, or its type is wrong.")
        if scale.dtype != torch.float16 or tensor.ndim < 2 or scale.shape not in _scale_shapes(tensor.shape):
            raise InputError(f"{name} {list(tensor.shape)} doesn't go with scales {list(scale.shape)} {scale.dtype}.")
        if not bool(torch.isfinite(scale).all()):
            raise InputError(f"{name} has scales that aren't finite numbers.")
        out[name] = tensor.float().mul_(scale.float())
    return out


def loss(state: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the relative error of packing each tensor: ‖packed − given‖ / ‖given‖, 0 for a tensor of zeros."""
    back = unpack(pack(state))
    out = {}
    for name, tensor in state.items():
        given = tensor.detach().float().cpu()
        size = given.square().sum().sqrt()
        out[name] = float((back[name] - given).square().sum().sqrt() / size) if size else 0.0
    return out


def write(path: str | os.PathLike[str], state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Pack a state dict into a file, atomically.

    Raises:
        InputError: as `pack`.
        ChunkV2LError: it can't be written.
    """
    path = Path(path)
    tensors = pack(state)
    try:
        with atomic_write(path) as part:
            part.write_bytes(save(tensors, metadata=dict(metadata)))
    except OSError as error:
        raise ChunkV2LError(f"{path} can't be written ({error.strerror}).") from error


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's weights in float32 on the CPU, packed or not, and its metadata.

    Raises:
        InputError: no such file, it can't be read, or it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file of weights {path}.")
    check_safetensors(path, MAX_FILE)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as a safetensors file ({quoted(error)}): fetch it again.") from None
    try:
        return unpack(tensors), metadata
    except InputError as error:
        raise InputError(f"{path} is damaged: {quoted(error)}") from None


def _axes(shape: torch.Size) -> list[int]:
    """Return the dimensions along which a tensor's numbers may share a scale; none for what is kept in float16."""
    if len(shape) < 2 or min(shape[-2:]) < 2:
        return []
    return [axis for axis in (-1, -2) if shape[axis] >= _SHORTEST]


def _quantised(tensor: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return int8 values, and float16 scales along the axis that loses least, kept with size 1."""
    best, least = None, float("inf")
    for axis in axes:
        scale = (tensor.abs().amax(dim=axis, keepdim=True) / 127).half()
        steps = scale.float().clamp(min=2.0**-24)  # float16's smallest number
        values = (tensor / steps).round().clamp(-127, 127)
        lost = float((values * scale.float() - tensor).square().sum())
        if best is None or lost < least:
            best, least = (values.to(torch.int8), scale), lost
    assert best is not None
    return best


def _scale_shapes(shape: torch.Size) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of one scale per row, and of one per column."""
    return (*shape[:-1], 1), (*shape[:-2], 1, shape[-1])


def fill(module: Module, state: Mapping[str, Tensor]) -> Module:
    """Fill a module on the meta device with these tensors, which aren't copied; return it.

    Raises:
        InputError: other names or shapes than the module's; the first complaint.
    """
    try:
        module.load_state_dict(dict(state), assign=True)
    except RuntimeError as error:
        raise InputError(f"{str(error).splitlines()[1].strip().rstrip('.')}.") from None
    return module


def find_unusable(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of a tensor that holds values that aren't finite numbers; None where all are."""
    return next((name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())), None)
