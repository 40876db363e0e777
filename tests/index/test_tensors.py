"""Codes as stored: what they lose, and what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from chunkv2l.defaults import CODE_FORMATS
from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.index import tensors as storing
from chunkv2l.index.schema import Malformed


def random_codes(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


@pytest.mark.parametrize(("dtype", "most"), [("fp32", 0.0), ("fp16", 0.001), ("int8", 0.02)])
@pytest.mark.parametrize("size", [64, 256, 512])
def test_the_change_in_the_adapter_is_bounded(dtype: str, most: float, size: int) -> None:
    torch.manual_seed(0)
    hypernet = Hypernetwork(HypernetConfig(2, 48, 96, size, rank=8, num_blocks=1, num_heads=2, num_kv_heads=1))
    torch.nn.init.ones_(hypernet.scaler_B["down_proj"])
    exact = random_codes(3, 2, 8, size)
    stored = storing.from_bytes(storing.to_bytes(exact, dtype))
    with torch.no_grad():
        updates = [adapter.B.mT @ adapter.A for adapter in (hypernet.expand(exact), hypernet.expand(stored))]
    change = (updates[1] - updates[0]).norm(dim=(-2, -1)) / updates[0].norm(dim=(-2, -1))
    assert float(change.max()) <= most
    assert stored.dtype == torch.float32 and stored.shape == exact.shape
    if dtype != "fp32":
        assert float(change.max()) > 0


def test_sizes() -> None:
    exact = random_codes(30, 8, 256)
    numbers = exact.numel()
    for dtype, expected in (("fp32", 4 * numbers), ("fp16", 2 * numbers), ("int8", numbers + 2 * 30 * 8)):
        assert sum(tensor.nbytes for tensor in storing.pack(exact, dtype).values()) == expected
        assert len(storing.to_bytes(exact, dtype)) <= expected + 512


@pytest.mark.parametrize("dtype", CODE_FORMATS)
def test_the_same_codes_give_the_same_bytes(dtype: str) -> None:
    exact = random_codes(4, 2, 16)
    assert storing.to_bytes(exact, dtype) == storing.to_bytes(exact.clone().requires_grad_(), dtype)


def test_a_vector_of_zeros_stays_one() -> None:
    assert not storing.unpack(storing.pack(torch.zeros(2, 3, 8), "int8")).any()


@pytest.mark.parametrize(
    "packed",
    [
        {},
        {"code": torch.zeros(2)},
        {"codes": torch.zeros(2, 3, dtype=torch.int64)},
        {"codes": torch.zeros(2, 3, dtype=torch.int8)},
        {"codes": torch.zeros(2, 3, dtype=torch.int8), "scales": torch.zeros(3, dtype=torch.float16)},
        {"codes": torch.zeros(2, 3, dtype=torch.int8), "scales": torch.zeros(2)},
        {"codes": torch.zeros(2, 3), "scales": torch.zeros(2, dtype=torch.float16)},
    ],
)
def test_other_tensors_are_refused(packed: dict[str, Tensor]) -> None:
    with pytest.raises(InputError):
        storing.unpack(packed)


@pytest.mark.parametrize("cut", [0, 1, 8, 20, -1])
def test_damaged_bytes_are_refused(cut: int) -> None:
    with pytest.raises(InputError, match="can't be read"):
        storing.from_bytes(storing.to_bytes(random_codes(2, 2, 8))[:cut])


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="int4"):
        storing.pack(torch.zeros(1, 2), "int4")


@pytest.mark.parametrize("dtype", CODE_FORMATS)
def test_codes_are_read_alike_whether_their_header_is_known(dtype: str) -> None:
    form, codes = storing.CodeForm((2, 3, 4), dtype), random_codes(3, 2, 3, 4)
    for code in codes:
        blob = storing.to_bytes(code, dtype)
        assert torch.equal(form.read(blob, "a code"), storing.from_bytes(blob))
    with pytest.raises(Malformed, match="a code can't be read"):
        form.read(blob[:-1], "a code")
    other = blob.replace(b"codes", b"modes")
    with pytest.raises(Malformed, match="a code isn't"):
        form.read(other, "a code")


def test_vectors_are_stacked_whatever_their_headers() -> None:
    """The numbers of a vector don't depend on the spaces behind its header, or on its type."""
    keys = [random_codes(8), random_codes(2, 8)[1], random_codes(3, 8)[2]]
    blobs: list[bytes] = [storing.key_to_bytes(key) for key in keys]
    length = int.from_bytes(blobs[1][:8], "little")
    header, numbers = blobs[1][8 : 8 + length], blobs[1][8 + length :]
    blobs[1] = (length + 8).to_bytes(8, "little") + header + b" " * 8 + numbers
    blobs.append(save({"key": keys[0].half()}))

    def read(blob: object, number: int) -> Tensor:
        assert isinstance(blob, bytes)
        return storing.read_key(blob, str(number))

    stacked = storing.stack_vectors(blobs, 4, read)
    assert torch.equal(stacked[:3], torch.stack(keys)) and torch.equal(stacked[3], keys[0].half().float())
    with pytest.raises(Malformed, match="vectors are missing"):
        storing.stack_vectors(blobs, 5, read)
    with pytest.raises(Malformed, match="of different lengths"):
        storing.stack_vectors([*blobs[:3], storing.key_to_bytes(random_codes(9))], 4, read)


@pytest.mark.parametrize("value", [2000.0, -2000.0, float("nan"), float("inf")])
def test_the_vector_that_is_outside_is_named(value: float) -> None:
    vectors = torch.ones(5, 3)
    assert storing.find_outside(vectors) is None
    vectors[3, 1] = value
    assert storing.find_outside(vectors) == 3
