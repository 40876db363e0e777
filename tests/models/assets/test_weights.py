"""Weights as int8: what they lose, and that nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets import weights

State = dict[str, Tensor]


def state(scale: float = 0.02) -> State:
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=random)

    return {
        "head.weight": normal(3, 256, 320),
        "up": normal(3, 320, 8),
        "down": normal(3, 8, 320),
        "square": normal(64, 64),
        "small": normal(32, 48),
        "position": normal(8, 1, 96),
        "bias": normal(320),
        "log_scale": torch.tensor(2.3),
    }


def test_matrices_become_int8_with_a_scale_a_row_or_column() -> None:
    packed = weights.pack(state())
    assert {name for name, tensor in packed.items() if tensor.dtype == torch.int8} == {
        "head.weight",
        "up",
        "down",
        "square",
    }
    assert packed["head.weight.scale"].shape in ((3, 256, 1), (3, 1, 320))
    assert packed["up.scale"].shape == (3, 1, 8)  # rows of 8 would need a scale for every 8 numbers
    assert packed["down.scale"].shape == (3, 8, 1)
    assert all(tensor.dtype == torch.float16 for name, tensor in packed.items() if tensor.dtype != torch.int8)


def test_what_is_lost_is_below_one_percent_and_half_a_step() -> None:
    given = state()
    packed = weights.pack(given)
    back = weights.unpack(packed)
    assert {name: tensor.shape for name, tensor in back.items()} == {name: t.shape for name, t in given.items()}
    assert all(tensor.dtype == torch.float32 for tensor in back.values())
    for name in ("head.weight", "up", "down", "square"):
        steps = packed[name + weights.SCALE].float()
        assert float(((back[name] - given[name]).abs() / steps).max()) < 0.57  # the largest may be cut by a little
    lost = weights.loss(given)
    assert set(lost) == set(given)
    assert max(lost.values()) < 0.01
    assert max(lost[name] for name in ("small", "position", "bias", "log_scale")) < 5e-4


def test_a_product_with_packed_weights_is_as_good_as_with_the_given_ones() -> None:
    random = torch.Generator().manual_seed(1)
    weight, x = torch.randn(512, 256, generator=random) / 16, torch.randn(1000, 256, generator=random)
    back = weights.unpack(weights.pack({"weight": weight}))["weight"]
    assert float((x @ back.T - x @ weight.T).norm() / (x @ weight.T).norm()) < 0.01


def test_columns_of_unlike_size_get_a_scale_each() -> None:
    weight = torch.randn(256, 200, generator=torch.Generator().manual_seed(2))
    weight[:, 150:] *= 100
    assert weights.pack({"weight": weight})["weight.scale"].shape == (1, 200)
    assert weights.pack({"weight": weight.T.contiguous()})["weight.scale"].shape == (200, 1)
    assert weights.loss({"weight": weight})["weight"] < 0.01


def test_zeros_and_tiny_numbers_stay_what_they_are() -> None:
    weight = torch.zeros(80, 80)
    weight[3] = 1e-6
    back = weights.unpack(weights.pack({"weight": weight, "zero": torch.zeros(5)}))
    assert torch.isfinite(back["weight"]).all()
    assert float((back["weight"] - weight).abs().max()) <= 1e-6
    assert not back["weight"][:3].any()
    assert weights.loss({"zero": torch.zeros(5)}) == {"zero": 0.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_unpacked_files_are_read_too(dtype: torch.dtype, tmp_path: Path) -> None:
    given = {name: tensor.to(dtype) for name, tensor in state().items()}
    save_file(given, tmp_path / "w.safetensors")
    read, metadata = weights.read(tmp_path / "w.safetensors")
    assert metadata == {}
    assert all(torch.equal(read[name], tensor.float()) for name, tensor in given.items())


def test_a_file_is_what_was_packed_and_a_quarter_of_the_size(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights.write(path, state(), {"config": "{}"})
    read, metadata = weights.read(path)
    assert metadata == {"config": "{}"}
    expected = weights.unpack(weights.pack(state()))
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())
    assert path.stat().st_size < 0.27 * sum(tensor.nbytes for tensor in state().values())
    assert list(tmp_path.iterdir()) == [path]


def test_packing_what_was_packed_changes_next_to_nothing() -> None:
    once = weights.unpack(weights.pack(state()))
    assert max(weights.loss(once).values()) < 5e-4


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"count": torch.tensor([1, 2])}, "count holds torch.int64"),
        ({"w": torch.full((80, 80), float("nan"))}, "w can't be packed"),
        ({"w": torch.full((80, 80), float("inf"))}, "w can't be packed"),
        ({"b": torch.tensor([1e6])}, "b can't be packed"),
        ({"w": torch.ones(80, 80), "w.scale": torch.ones(80)}, "names that others have"),
    ],
)
def test_what_cannot_be_packed_is_refused(bad: State, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        weights.pack(bad)


def no_scale(packed: State) -> None:
    del packed["head.weight.scale"]


def other_shape(packed: State) -> None:
    packed["head.weight.scale"] = packed["head.weight.scale"].flatten().contiguous()


def other_type(packed: State) -> None:
    packed["square.scale"] = packed["square.scale"].float()


def not_finite(packed: State) -> None:
    packed["up.scale"][0, 0, 0] = float("nan")


def whole_numbers(packed: State) -> None:
    packed["bias"] = packed["bias"].to(torch.int32)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_scale, r"is damaged: head.weight .*scales are missing"),
        (other_shape, r"head.weight \[3, 256, 320\] doesn't go with scales"),
        (other_type, "square .*doesn't go with scales .*float32"),
        (not_finite, "up has scales that aren't finite"),
        (whole_numbers, "bias .*isn't a weight"),
    ],
)
def test_a_spoilt_file_is_refused(spoil: Callable[[State], None], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights.write(path, state(), {})
    packed = load_file(path)
    spoil(packed)
    save_file(packed, path)
    with pytest.raises(InputError, match=sentence):
        weights.read(path)


def test_no_file_a_cut_one_and_no_place_to_write(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="no file of weights"):
        weights.read(path)
    weights.write(path, state(), {})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="can't be read as a safetensors file"):
        weights.read(path)
    with pytest.raises(ChunkV2LError, match="can't be written"):
        weights.write(tmp_path / "nowhere" / "w.safetensors", state(), {})
