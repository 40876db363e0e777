"""Hypernetwork files of our own and bare ones: written, read, refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork, save_hypernetwork
from tests.helpers import frames2lora

SMALL = HypernetConfig(
    num_layers=3,
    hidden_size=12,
    intermediate_size=20,
    latent_size=8,
    rank=2,
    num_blocks=2,
    num_queries=5,
    num_heads=6,
    num_kv_heads=2,
    head_dim=4,
    scaling=3.5,
    base_model="mini",
)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    hypernet = Hypernetwork(SMALL)
    save_hypernetwork(hypernet, tmp_path / "mine.safetensors")
    again = load_hypernetwork(str(tmp_path / "mine.safetensors"))
    assert again.config == SMALL and again.scaling == 3.5
    for (name, mine), (other, theirs) in zip(hypernet.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and torch.equal(mine, theirs) and theirs.requires_grad and theirs.is_leaf
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    hypernet = Hypernetwork(SMALL)
    save_hypernetwork(hypernet, tmp_path / "mine.safetensors")
    rewrite(tmp_path / "mine.safetensors", lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()}))
    again = load_hypernetwork(tmp_path / "mine.safetensors")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "chunkv2l.hypernet", "config": SMALL.to_text()})


HEAD, LATENTS = "head.weight", "aggregator.perceiver.encoder.latents_q"
LAYER = "aggregator.perceiver.encoder.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop(HEAD), "head.weight missing"),
        (lambda t: t.update(more=torch.zeros(1)), "no hypernetwork has: more"),
        (lambda t: t.update({HEAD: torch.zeros(3, 8, 31)}), r"head.weight should be \[3, 8, 32\], not \[3, 8, 31\]"),
        (lambda t: t.update({HEAD: torch.zeros(3, 8, 32, dtype=torch.int32)}), "floating-point"),
        (lambda t: t.update({LATENTS: torch.full((5, 8), float("nan"))}), "aren't finite"),
        (lambda t: [t.pop(key) for key in list(t) if ".encoder.layers.1." in key], "1 of 2 encoder layers"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], says: str) -> None:
    path = tmp_path / "mine.safetensors"
    save_hypernetwork(Hypernetwork(SMALL), path)
    rewrite(path, change)
    with pytest.raises(InputError, match=says):
        load_hypernetwork(path)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "configuration can't be read"),
        ("[1]", "configuration can't be read"),
        (json.dumps({"num_layers": 3}), "incomplete"),
        (json.dumps({**json.loads(SMALL.to_text()), "depth": 3}), "no setting called depth"),
        (json.dumps({**json.loads(SMALL.to_text()), "rank": "2"}), "rank must be a positive whole number"),
        (json.dumps({**json.loads(SMALL.to_text()), "rank": True}), "rank must be a positive whole number"),
        (json.dumps({**json.loads(SMALL.to_text()), "scaling": -1}), "scaling must be a positive number"),
        (json.dumps({**json.loads(SMALL.to_text()), "base_model": 1}), "base_model must be a name"),
        (json.dumps({**json.loads(SMALL.to_text()), "num_blocks": 10**9}), "2 of 1000000000 encoder layers"),
        (json.dumps({**json.loads(SMALL.to_text()), "num_layers": 10**12, "hidden_size": 10**12}), "damaged"),
        (json.dumps({**json.loads(SMALL.to_text()), "num_layers": 2**65}), "damaged"),
        (json.dumps({**json.loads(SMALL.to_text()), "latent_size": 2**65}), "damaged"),
        (json.dumps({**json.loads(SMALL.to_text()), "\u202emore\n": 1}), "no setting called ?more?"),
        (json.dumps({**json.loads(SMALL.to_text()), "rank": "x" * 999}), "x …$"),
        (json.dumps({**json.loads(SMALL.to_text()), "num_kv_heads": 4}), "equally"),
    ],
)
def test_wrong_configurations_are_refused(tmp_path: Path, config: str, says: str) -> None:
    path = tmp_path / "mine.safetensors"
    save_hypernetwork(Hypernetwork(SMALL), path)
    save_file(load_file(path), path, metadata={"format": "chunkv2l.hypernet", "config": config})
    with pytest.raises(InputError, match=re.escape(says) if "?" in says else says) as caught:
        load_hypernetwork(path)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


def test_a_bare_file_with_other_heads_is_refused(tmp_path: Path) -> None:
    save_file(Hypernetwork(SMALL).state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="number of heads can't be known"):
        load_hypernetwork(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("missing", ["bias_A.down_proj", LATENTS])
def test_a_bare_file_that_is_something_else_is_refused(tmp_path: Path, missing: str) -> None:
    path = frames2lora.hypernet_file(tmp_path)
    tensors = load_file(path)
    del tensors[missing]
    save_file(tensors, path)
    with pytest.raises(InputError, match=f"isn't a hypernetwork's checkpoint: {missing} is missing"):
        load_hypernetwork(path)


def test_a_bare_file_with_an_empty_tensor_is_refused(tmp_path: Path) -> None:
    """Found by fuzzing: the sentence didn't name the file."""
    path = frames2lora.hypernet_file(tmp_path)
    save_file(load_file(path) | {LATENTS: torch.zeros(8, 0)}, path)
    with pytest.raises(InputError, match="is damaged: A hypernetwork's latent_size") as caught:
        load_hypernetwork(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = frames2lora.hypernet_file(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="can't be read as a safetensors file"):
        load_hypernetwork(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no hypernetwork file"):
        load_hypernetwork(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="no hypernetwork file"):
        load_hypernetwork(tmp_path)
