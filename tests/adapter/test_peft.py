"""PEFT: our folders load there and theirs here, and our composing and batching equal PEFT's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter, concat, stack
from chunkv2l.adapter.inject import inject
from chunkv2l.adapter.peft import SMOLVLM
from chunkv2l.errors import InputError
from tests.helpers import frames2lora

PROMPT = torch.arange(8, 120).view(4, 28)


def tiny() -> Any:
    from transformers import AutoModelForImageTextToText

    model: Any = AutoModelForImageTextToText.from_pretrained(frames2lora.MODEL, dtype=torch.float32)
    return model.eval()


def targets(model: Any) -> list[nn.Module]:
    return [layer.mlp.down_proj for layer in model.model.text_model.layers]


def adapter(seed: int, rank: int = 8, scaling: float = 16.0) -> Adapter:
    random = torch.Generator().manual_seed(seed)
    a, b = (0.1 * torch.randn(4, rank, size, generator=random) for size in (160, 64))
    return Adapter(a, b, scaling)


@torch.no_grad()
def logits(model: Any, ids: Tensor = PROMPT, **options: Any) -> Tensor:
    out: Tensor = model(input_ids=ids, **options).logits
    return out


def ours(one: Adapter | None, ids: Tensor = PROMPT) -> Tensor:
    model = tiny()
    with inject(targets(model), one):
        return logits(model, ids)


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0.0)


def peft(folders: dict[str, Path]) -> Any:
    from peft import PeftModel

    names = list(folders)
    model: Any = PeftModel.from_pretrained(tiny(), str(folders[names[0]]), adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(str(folders[name]), adapter_name=name)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reference's own adapter and two random ones, exported."""
    root = tmp_path_factory.mktemp("adapters")
    case = frames2lora.load("e2e")
    real = Adapter(case["combined_A"][0], case["combined_B"][0], 16.0)
    for name, one in {"real": real, "one": adapter(1), "two": adapter(2)}.items():
        one.save_pretrained(root / name, module=SMOLVLM, base_model=str(frames2lora.MODEL))
    return {name: root / name for name in ("real", "one", "two")}


def test_peft_computes_what_injection_computes(folders: dict[str, Path]) -> None:
    case = frames2lora.load("e2e")
    prompt = case["prompt_input_ids"]
    theirs = logits(peft({"real": folders["real"]}), prompt)
    mine = ours(Adapter(case["combined_A"][0], case["combined_B"][0], 16.0), prompt)
    close(theirs, mine, 1e-5)
    close(theirs, case["adapted_logits"], 1e-4)
    assert float((mine - ours(None, prompt)).abs().max()) > 0.01


def test_an_odd_scaling_survives(tmp_path: Path) -> None:
    odd = adapter(3, rank=5, scaling=2 * 5**1.5 / 7)
    odd.save_pretrained(tmp_path, module=SMOLVLM)
    close(logits(peft({"odd": tmp_path})), ours(odd), 1e-5)
    assert Adapter.from_pretrained(tmp_path).scaling == pytest.approx(odd.scaling, rel=1e-12)


def test_concat_is_add_weighted_adapter_cat(folders: dict[str, Path], tmp_path: Path) -> None:
    model = peft({"one": folders["one"], "two": folders["two"]})
    model.add_weighted_adapter(["one", "two"], [0.7, 0.3], "both", combination_type="cat")
    model.set_adapter("both")
    whole = concat([adapter(1), adapter(2)], [0.7, 0.3])
    layer = model.base_model.model.model.text_model.layers[2].mlp.down_proj
    theirs = layer.scaling["both"] * layer.lora_B["both"].weight @ layer.lora_A["both"].weight
    close(whole.scaling * whole.B[2].T @ whole.A[2], theirs.detach(), 1e-6)
    close(logits(model), ours(whole), 1e-5)
    model.save_pretrained(tmp_path, selected_adapters=["both"])
    again = Adapter.from_pretrained(tmp_path / "both")
    assert again.rank == 16
    close(again.scaling * again.B.mT @ again.A, whole.scaling * whole.B.mT @ whole.A, 1e-6)


def test_a_batch_of_adapters_is_adapter_names(folders: dict[str, Path]) -> None:
    model = peft({"one": folders["one"], "two": folders["two"]})
    names = ["two", "one", "one", "two"]
    mine = ours(stack([adapter(1 if name == "one" else 2) for name in names]))
    close(logits(model, adapter_names=names), mine, 1e-5)


def test_what_peft_saves_is_read(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=6, lora_alpha=9, target_modules=["down_proj"], init_lora_weights=False, use_rslora=True)
    model = get_peft_model(tiny(), config)
    model.eval()
    model.save_pretrained(str(tmp_path))
    one = Adapter.from_pretrained(tmp_path)
    assert (one.rank, one.num_layers, one.target) == (6, 4, "down_proj") and one.scaling == pytest.approx(9 / 6**0.5)
    close(ours(one), logits(model), 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_there_and_back(tmp_path: Path, dtype: torch.dtype) -> None:
    one = adapter(5).to(dtype=dtype)
    one.save_pretrained(tmp_path)
    again = Adapter.from_pretrained(str(tmp_path))
    assert torch.equal(again.A, one.A) and torch.equal(again.B, one.B) and again.A.dtype == dtype
    assert (again.scaling, again.target) == (one.scaling, one.target)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["r"] == 8 and config["lora_alpha"] == 128
    keys = load_file(tmp_path / "adapter_model.safetensors")
    assert "base_model.model.model.layers.3.mlp.down_proj.lora_A.weight" in keys and len(keys) == 8


def test_links_in_the_folder_are_replaced_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "adapter" / name).symlink_to(other)
    adapter(5).save_pretrained(tmp_path / "adapter")
    assert other.read_text() == "mine"
    assert torch.equal(Adapter.from_pretrained(tmp_path / "adapter").A, adapter(5).A)


def test_a_stack_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one by one"):
        stack([adapter(1)]).save_pretrained(tmp_path)


@pytest.mark.parametrize("module", ["layers.0.mlp.down_proj", "model.layers.{i}.mlp.up_proj"])
def test_a_module_path_that_cannot_be_is_refused(tmp_path: Path, module: str) -> None:
    with pytest.raises(InputError, match="module path"):
        adapter(1).save_pretrained(tmp_path, module=module)


KEY = "base_model.model.model.layers.{}.mlp.down_proj.lora_{}.weight"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop(KEY.format(0, "A")), "every block from 0 on"),
        (lambda t: t.pop(KEY.format(3, "B")), "every block from 0 on"),
        (lambda t: t.clear(), "every block from 0 on"),
        (lambda t: t.update({KEY.replace("down", "up").format(0, "A"): torch.zeros(8, 64)}), "every block from 0 on"),
        (lambda t: t.update({KEY.format(1, "A"): torch.zeros(8, 161)}), "different shapes"),
        (lambda t: t.update({KEY.format(1, "A"): torch.zeros(8)}), "one linear module per block"),
        (lambda t: t.update(head=torch.zeros(8, 1)), "one linear module per block: head"),
        (lambda t: t.update({KEY.format("00", "A"): torch.zeros(8, 160)}), "every block from 0 on"),
        (lambda t: t.update({KEY.format("\u0663", "A"): torch.zeros(8, 160)}), "one linear module per block"),
        (lambda t: t.update({KEY.replace("down_proj", "\x1b[31m").format(0, "A"): torch.zeros(8, 160)}), "per block"),
        (lambda t: t.update({KEY.format(0, "A"): torch.full((8, 160), torch.nan)}), "aren't finite numbers"),
        (lambda t: t.update({KEY.format(0, "A"): torch.ones(8, 160).to(torch.int64)}), "aren't finite numbers"),
        (
            lambda t: t.update({key: torch.zeros(64, 5) for key in list(t) if "lora_B" in key}),
            "has 5 ranks, its configuration 8",
        ),
    ],
)
def test_other_tensors_are_refused(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], says: str) -> None:
    adapter(1).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match=says):
        Adapter.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"peft_type": "VERA"}, "isn't a LoRA's"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"layers.0": 2}}, "rank_pattern"),
        ({"r": 4}, "has 8 ranks, its configuration 4"),
        ({"r": 0}, "no usable r"),
        ({"lora_alpha": None}, "no usable r and lora_alpha"),
        ({"lora_alpha": 10**400}, "no usable r and lora_alpha"),
        ({"lora_alpha": True}, "no usable r and lora_alpha"),
        ({"lora_alpha": 1e300}, "no usable r and lora_alpha"),
    ],
)
def test_other_configurations_are_refused(tmp_path: Path, values: dict[str, object], says: str) -> None:
    adapter(1).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    with pytest.raises(InputError, match=says):
        Adapter.from_pretrained(tmp_path)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter_config\.json"):
        Adapter.from_pretrained(tmp_path)
    adapter(1).save_pretrained(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="can't be read"):
        Adapter.from_pretrained(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match="only PEFT folders with safetensors"):
        Adapter.from_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        Adapter.from_pretrained(tmp_path)
