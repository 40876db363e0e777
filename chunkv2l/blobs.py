"""Tensors as an index stores them: safetensors bytes from anywhere, bounded and checked. Nothing is unpickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from chunkv2l.index import tensors as packing
from chunkv2l.index.meta import Malformed

MAX_KEY: Final = 1 << 16  # numbers in one learned key
HEADER_ROOM: Final = 1 << 12  # bytes of a safetensors header


class CodeForm:
    """The form that every code of an index has: its shape (L, r, d), packed as "fp32", "fp16" or "int8".

    Attributes:
        bytes: how many bytes its numbers take.
    """

    def __init__(self, shape: tuple[int, int, int], kind: str) -> None:
        self.shape, self.kind = shape, kind
        self._layout = _layout(packing.pack(torch.ones(shape), kind))
        self.bytes = sum(number.itemsize * math.prod(size) for number, size in self._layout.values())

    def read(self, blob: bytes, what: str) -> Tensor:
        """A code, float32 [L, r, d]; its numbers may still be infinite or none.

        Args:
            what: what it is, for the sentence.

        Raises:
            Malformed: no code of this form.
        """
        tensors = _load(blob, what)
        if _layout(tensors) != self._layout:
            raise Malformed(f"{what} isn't {self.kind} {list(self.shape)}")
        return packing.unpack(tensors)


def key_to_bytes(key: Tensor) -> bytes:
    """A learned key [K] as it is stored, float32."""
    return safetensors.torch.save({"key": key.detach().float().cpu().contiguous()})


def read_key(blob: bytes, what: str) -> Tensor:
    """A learned key, float32 [K], all finite.

    Raises:
        Malformed: no such key.
    """
    tensors = _load(blob, what)
    key = tensors.get("key")
    if key is None or len(tensors) != 1 or key.dim() != 1 or key.dtype not in (torch.float32, torch.float16):
        raise Malformed(f"{what} isn't a vector")
    if not bool(torch.isfinite(key).all()):
        raise Malformed(f"{what} has values that aren't numbers")
    return key.float()


def _load(blob: bytes, what: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(blob)
    except (SafetensorError, KeyError, ValueError) as error:
        raise Malformed(f"{what} can't be read ({error})") from error
    return tensors


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
