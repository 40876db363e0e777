"""Pack codes as float32, float16, or int8 with one float16 scale per rank vector, and unpack them.

A code [..., L, r, d] holds rank vectors of length 1. Every format changes Bᵀ A by at most 2 %; float32 is exact
(docs/algorithm.md, step 15; docs/measurements.md#code-formats).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from chunkv2l.defaults import CODE_FORMATS
from chunkv2l.errors import InputError
from chunkv2l.index.schema import Malformed

MAX_KEY: Final = 1 << 12  # numbers in one learned key; mini's has 128
MAX_VALUE: Final = 1e3
"""Largest number in a code or a key: their vectors have length 1."""
MAX_COMPONENT: Final = 1.01
"""Largest number in a sentence's vector, whose length is 1 but for rounding."""
HEADER_ROOM: Final = 1 << 12  # bytes of a safetensors header
_STORED: Final = {torch.float32: "<f4", torch.float16: "<f2", torch.int8: "i1"}


def pack(codes: Tensor, dtype: str = "fp16") -> dict[str, Tensor]:
    """Pack codes into the form in which they are stored.

    Args:
        codes: floating point [..., d].
        dtype: "fp32", "fp16" or "int8".

    Returns:
        {"codes": float32 or float16 [..., d]}, or {"codes": int8 [..., d], "scales": float16 [...]}: the number is
        code · scale. On the codes' device.

    Raises:
        InputError: no such format.
    """
    codes = codes.detach().float()
    if dtype == "fp32":
        return {"codes": codes.contiguous()}
    if dtype == "fp16":
        return {"codes": codes.half().contiguous()}
    if dtype == "int8":
        scales = (codes.abs().amax(dim=-1) / 127).half()
        steps = scales.float().clamp(min=torch.finfo(torch.float16).tiny)[..., None]
        return {"codes": (codes / steps).round().clamp(-127, 127).to(torch.int8), "scales": scales}
    raise InputError(f"Codes are stored as {', '.join(CODE_FORMATS)}, not as {dtype!r}.")


def unpack(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return codes from what `pack` gave: float32 [..., d], on the same device.

    Raises:
        InputError: these tensors aren't packed codes.
    """
    packed = tensors.get("codes")
    if packed is None:
        raise InputError("These tensors are no packed codes: there is none called codes.")
    names = {"codes", "scales"} if packed.dtype == torch.int8 else {"codes"}
    if set(tensors) != names or packed.dtype not in (torch.float32, torch.float16, torch.int8):
        raise InputError(f"These tensors are no packed codes: {', '.join(sorted(tensors))}, {packed.dtype}.")
    if packed.dtype != torch.int8:
        return packed.float()
    scales = tensors["scales"]
    if scales.dtype != torch.float16 or scales.shape != packed.shape[:-1]:
        raise InputError(f"Packed codes {list(packed.shape)} don't go with scales {list(scales.shape)} {scales.dtype}.")
    return packed.float() * scales.float()[..., None]


def to_bytes(codes: Tensor, dtype: str = "fp16") -> bytes:
    """Return packed codes as the bytes of a safetensors file; the same codes give the same bytes."""
    return save({name: tensor.cpu() for name, tensor in pack(codes, dtype).items()})


def from_bytes(data: bytes, device: torch.device | str = "cpu") -> Tensor:
    """Return codes from `to_bytes`: float32 [..., d], the same numbers on any device.

    Raises:
        InputError: the bytes aren't packed codes.
    """
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"A stored code can't be read ({error}): build the index anew.") from None
    return unpack({name: tensor.to(device) for name, tensor in tensors.items()})


class CodeForm:
    """The form that every code of an index has: its shape (L, r, d), packed as "fp32", "fp16" or "int8".

    Attributes:
        bytes: how many bytes its numbers take.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: str) -> None:
        self.shape, self.dtype = shape, dtype
        self._layout = _layout(pack(torch.ones(shape), dtype))
        self.bytes = sum(number.itemsize * math.prod(size) for number, size in self._layout.values())
        self._known: tuple[bytes, int, dict[str, int]] | None = None  # a header, a code's bytes, where tensors begin

    def read(self, blob: bytes, subject: str) -> Tensor:
        """Return a code, float32 [L, r, d]; its numbers may still be infinite or NaN (`is_within`).

        Args:
            subject: names the code in the error's sentence.

        Raises:
            Malformed: no code of this form.
        """
        known = self._known  # all codes of a build have the same header: parsing it takes longest
        if known is not None and len(blob) == known[1] and blob.startswith(known[0]):
            numbers = self._numbers(blob, "codes", known[2])
            if self.dtype == "int8":
                numbers *= self._numbers(blob, "scales", known[2])[..., None]
            return torch.from_numpy(numbers)
        tensors = _load(blob, subject)
        if _layout(tensors) != self._layout:
            raise Malformed(f"{subject} isn't {self.dtype} {list(self.shape)}")
        header = blob[: 8 + int.from_bytes(blob[:8], "little")]
        begins = {name: len(header) + json.loads(header[8:])[name]["data_offsets"][0] for name in self._layout}
        self._known = header, len(blob), begins
        return unpack(tensors)

    def _numbers(self, blob: bytes, name: str, begins: Mapping[str, int]) -> NDArray[np.float32]:
        dtype, shape = self._layout[name]
        stored = np.frombuffer(blob, _STORED[dtype], math.prod(shape), begins[name])
        return stored.astype(np.float32).reshape(shape)


def is_within(values: Tensor, most: float = MAX_VALUE) -> bool:
    """Tell whether all numbers are between -most and most, in one pass; NaN isn't."""
    if not values.numel():
        return True
    low, high = torch.aminmax(values)
    return bool(low >= -most) and bool(high <= most)


def find_outside(vectors: Tensor, most: float = MAX_VALUE) -> int | None:
    """Return the number of the first vector [n, D] with a number beyond -most or most, or NaN; None where none has."""
    if is_within(vectors, most):
        return None
    return int((vectors.abs() <= most).all(dim=1).logical_not().nonzero()[0])


def key_to_bytes(key: Tensor) -> bytes:
    """Return a learned key [K] as it is stored, float32."""
    return save({"key": key.detach().float().cpu().contiguous()})


def read_key(blob: bytes, subject: str) -> Tensor:
    """Return a learned key, float32 [K], all its numbers within `MAX_VALUE`.

    Raises:
        Malformed: no such key.
    """
    tensors = _load(blob, subject)
    key = tensors.get("key")
    if key is None or len(tensors) != 1 or key.dim() != 1 or key.dtype not in (torch.float32, torch.float16):
        raise Malformed(f"{subject} isn't a vector")
    if not is_within(key := key.float()):
        raise Malformed(f"{subject} has values that aren't numbers")
    return key


def sentence_vector_to_bytes(vector: Tensor) -> bytes:
    """Return a sentence's vector [D] as it is stored, float16."""
    return save({"vector": vector.detach().half().cpu().contiguous()})


def read_sentence_vector(blob: bytes, subject: str) -> Tensor:
    """Return a sentence's vector, float32 [D], its numbers within [-1, 1] but for rounding.

    Raises:
        Malformed: no such vector.
    """
    tensors = _load(blob, subject)
    vector = tensors.get("vector")
    if vector is None or len(tensors) != 1 or vector.dim() != 1 or vector.dtype != torch.float16:
        raise Malformed(f"{subject} isn't a sentence's")
    if not is_within(vector := vector.float(), MAX_COMPONENT):
        raise Malformed(f"{subject} has values that aren't those of a vector of length 1")
    return vector


def stack_vectors(blobs: Iterable[object], count: int, read: Callable[[object, int], Tensor]) -> Tensor:
    """Return stored vectors as one tensor, float32 [count, D].

    The numbers of a blob with the header of the one before it are copied without parsing that again, which is much
    faster; `find_outside` is left to the caller.

    Args:
        read: returns the vector of a blob and its number, checked.

    Raises:
        Malformed: vectors of different lengths, or fewer; and what `read` raises.
    """
    stacked = np.empty((count, 0), np.float32)
    header, size, form, number = b"", -1, "<f2", -1
    for number, blob in enumerate(blobs):
        if not (isinstance(blob, bytes) and len(blob) == size and blob.startswith(header)):
            vector = read(blob, number)
            if number == 0:
                stacked = np.empty((count, len(vector)), np.float32)
            assert isinstance(blob, bytes)
            header = blob[: 8 + int.from_bytes(blob[:8], "little")]
            size, form = len(blob), "<f2" if len(blob) - len(header) == 2 * len(vector) else "<f4"
            if len(vector) != stacked.shape[1]:
                raise Malformed("vectors of different lengths")
        stacked[number] = np.frombuffer(blob, form, offset=len(header))
    if number + 1 != count:
        raise Malformed("vectors are missing")
    return torch.from_numpy(stacked)


def _load(blob: bytes, subject: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(blob)
    except (SafetensorError, KeyError, ValueError) as error:
        raise Malformed(f"{subject} can't be read ({error})") from error
    return tensors


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
