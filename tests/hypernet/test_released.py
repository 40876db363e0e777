"""The released `.pt` layout: read with stand-ins, and whatever else such a file may hold refused and not executed."""

from __future__ import annotations

import os
import pickle
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chunkv2l.errors import InputError
from chunkv2l.hypernet import load_hypernetwork
from chunkv2l.hypernet.released import read_released
from tests.helpers import frames2lora

TINY = frames2lora.FOLDER / "checkpoint_tiny.pt"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return read_released(TINY)[0]


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Classes under the names that the released files use, so that files like them can be made."""
    classes = types.SimpleNamespace()
    modules: tuple[tuple[str, list[str]], ...] = (
        ("ctx_to_lora", []),
        ("ctx_to_lora.modeling", []),
        ("ctx_to_lora.modeling.hypernet", ["HypernetConfig"]),
        ("ctx_to_lora.modeling.aggregator", ["AggregatorConfig"]),
        ("ctx_to_lora.configs", ["CtxEncoderArguments", "Other"]),
    )
    for module, names in modules:
        stand_in = types.ModuleType(module)
        for name in names:
            made = type(name, (), {"__module__": module})
            setattr(stand_in, name, made)
            setattr(classes, name, made)
        monkeypatch.setitem(sys.modules, module, stand_in)
    return classes


def filled(cls: type, **values: object) -> object:
    made = cls()
    vars(made).update(values)
    return made


def refused(path: Path, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_hypernetwork(path)
    assert "\n" not in str(caught.value)


def test_nothing_that_it_names_is_imported() -> None:
    load_hypernetwork(TINY)
    assert not any(name.split(".")[0] == "ctx_to_lora" for name in sys.modules)


def test_names_from_a_compiled_model_are_known(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save({f"_orig_mod.{key}": value for key, value in tensors.items()}, tmp_path / "compiled.pt")
    again = load_hypernetwork(tmp_path / "compiled.pt")
    assert torch.equal(again.head.weight, tensors["head.weight"]) and again.config.base_model == ""


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    data = TINY.read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "cut short")


def test_a_file_without_its_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hollow.pt"
    with zipfile.ZipFile(TINY) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if not name.endswith("/data/0"):
                target.writestr(name, source.read(name))
    refused(path, "damaged")


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(TINY) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, bytes(1 << 24) if name.endswith("/data/0") else source.read(name))
    refused(path, "it is compressed")


@pytest.mark.parametrize(
    ("key", "shape", "says"),
    [
        ("head.weight", (4, 16, 7), "head.weight should be"),
        ("bias_A.down_proj", (4, 160), "3 dimensions"),
        ("bias_A.down_proj", (5, 4, 160), "should be"),
        ("aggregator.perceiver.decoder.layers.0.self_attn.q_proj.weight", (64, 16), "number of heads can't be known"),
        ("layers.0.mlp.2.bias", (63,), "layers.0.mlp.2.bias should be"),
    ],
)
def test_wrong_shapes_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor], key: str, shape: tuple[int, ...], says: str
) -> None:
    torch.save({**tensors, key: torch.zeros(shape)}, tmp_path / "wrong.pt")
    refused(tmp_path / "wrong.pt", says)


def test_a_missing_key_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save({key: value for key, value in tensors.items() if key != "layers.0.mlp.0.bias"}, tmp_path / "less.pt")
    refused(tmp_path / "less.pt", "layers.0.mlp.0.bias missing")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.zeros(2), "no hypernetwork has: extra"),
        ("text", "'extra' isn't a plain tensor"),
        ([torch.zeros(2)], "'extra' isn't a plain tensor"),
        (torch.zeros(2).to_sparse(), "'extra' isn't a plain tensor"),
        (torch.zeros(1).expand(10**9), "'extra' isn't a plain tensor"),
        (nn.Parameter(torch.zeros(2)), "'extra' isn't a plain tensor"),
    ],
)
def test_an_extra_key_is_refused(tmp_path: Path, tensors: dict[str, Tensor], value: object, says: str) -> None:
    torch.save({**tensors, "extra": value}, tmp_path / "more.pt")
    refused(tmp_path / "more.pt", says)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


class Opener:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("payload", [Payload, Opener])
@pytest.mark.parametrize("place", ["extra", "hypernet_config", "base_model_name_or_path", "head.weight"])
def test_a_payload_is_refused_and_not_executed(
    tmp_path: Path, tensors: dict[str, Tensor], payload: type, place: str
) -> None:
    mark = tmp_path / "executed"
    torch.save({**tensors, place: payload(mark)}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.pt", "nothing in it was executed.*(system|open)")
    assert not mark.exists()


def test_a_payload_outside_a_zip_is_refused_and_not_executed(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(mark)))
    refused(tmp_path / "plain.pt", "neither a safetensors file nor a complete PyTorch checkpoint")
    torch.save({**tensors, "x": Payload(mark)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", "neither a safetensors file nor a complete PyTorch checkpoint")
    assert not mark.exists()


def test_a_payload_inside_a_known_class_is_refused_and_not_executed(
    tmp_path: Path, tensors: dict[str, Tensor], reference: Any
) -> None:
    mark = tmp_path / "executed"
    config = filled(reference.HypernetConfig, latent_size=Payload(mark))
    torch.save({**tensors, "hypernet_config": config}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.pt", "nothing in it was executed.*system")
    assert not mark.exists()


def test_a_scripted_module_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(TINY) as source, zipfile.ZipFile(tmp_path / "script.pt", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("checkpoint_tiny/constants.pkl", b"")
    refused(tmp_path / "script.pt", "damaged|refused")


def test_classes_that_no_released_file_names_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor], reference: Any
) -> None:
    torch.save({**tensors, "ctx_encoder_args": filled(reference.Other)}, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "refused.*Other")


@pytest.mark.parametrize(
    ("values", "aggregator", "says"),
    [
        ({"per_layer_processing": True}, {}, "per_layer_processing = True"),
        ({"use_bias": False}, {}, "use_bias = False"),
        ({"num_pre_head_layers": 2}, {}, "num_pre_head_layers = 2"),
        ({"num_pre_head_layers": torch.ones(3)}, {}, "num_pre_head_layers"),
        ({}, {"shared_weights": True}, "shared_weights = True"),
        ({}, {"num_self_attn_per_block": 6}, "num_self_attn_per_block = 6"),
    ],
)
def test_variants_of_the_algorithm_are_refused(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    reference: Any,
    values: dict[str, object],
    aggregator: dict[str, object],
    says: str,
) -> None:
    path = tmp_path / "variant.pt"
    config = filled(
        reference.HypernetConfig, aggregator_config=filled(reference.AggregatorConfig, **aggregator), **values
    )
    torch.save({**tensors, "hypernet_config": config}, path)
    refused(path, says)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"hypernet_config": "text"}, "its configuration can't be read"),
        ({"base_model_name_or_path": 5}, "name of its base model isn't text"),
        ({7: torch.zeros(1)}, "'7' isn't a plain tensor"),
    ],
)
def test_entries_of_other_kinds_are_refused(
    tmp_path: Path, tensors: dict[str, Tensor], entries: dict[Any, object], says: str
) -> None:
    torch.save({**tensors, **entries}, tmp_path / "odd.pt")
    refused(tmp_path / "odd.pt", says)


def test_a_list_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "it holds a list")


def test_parts_that_were_compiled_and_names_given_twice(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    inner = {key.replace("encoder.layers", "encoder._orig_mod.layers"): value for key, value in tensors.items()}
    assert set(inner) != set(tensors)
    torch.save(inner, tmp_path / "inner.pt")
    assert load_hypernetwork(tmp_path / "inner.pt").config == replace(load_hypernetwork(TINY).config, base_model="")
    torch.save({**tensors, "_orig_mod.head.weight": tensors["head.weight"] + 1}, tmp_path / "twice.pt")
    refused(tmp_path / "twice.pt", "it has head.weight twice")


def test_more_than_one_target_module_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    more = {**tensors}
    for name in ("bias_A", "bias_B", "scaler_A", "scaler_B"):
        more[f"{name}.up_proj"] = tensors[f"{name}.down_proj"].clone()
    more["head.weight"] = tensors["head.weight"][:, None].repeat(1, 2, 1, 1)
    torch.save(more, tmp_path / "two.pt")
    refused(tmp_path / "two.pt", r"up_proj.*only down_proj")
    other = {
        key.replace("_A.down_proj", "_A.q_proj").replace("_B.down_proj", "_B.q_proj"): tensors[key] for key in tensors
    }
    torch.save(other, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", r"q_proj.*only down_proj")


def test_tensors_that_share_their_numbers_are_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    """As float32 they would take many times the file's size."""
    rows = {key: value.numel() for key, value in tensors.items()}
    numbers = torch.zeros(max(rows.values()), dtype=torch.float16)
    shared = {key: numbers[: rows[key]].view(value.shape) for key, value in tensors.items()}
    torch.save(shared, tmp_path / "shared.pt")
    assert (tmp_path / "shared.pt").stat().st_size < sum(value.nbytes for value in shared.values())
    refused(tmp_path / "shared.pt", "its tensors share their numbers")
