"""Read and write adapters as PEFT's folders: `adapter_config.json` and `adapter_model.safetensors`.

PEFT computes `lora_alpha / r · lora_B(lora_A(x))`, so lora_A is A, lora_B is Bᵀ, and lora_alpha = scaling · r: the
reference's scaling isn't divided by the rank (docs/algorithm.md, steps 13 and 18).
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.files import atomic_write, check_safetensors, read_json, write_text
from chunkv2l.sanitize import is_finite, quoted

LLAMA = "model.layers.{i}.mlp.down_proj"
SMOLVLM = "model.text_model.layers.{i}.mlp.down_proj"
KEY = re.compile(r"(?P<before>.*?)(?P<block>0|[1-9][0-9]{0,3})\.(?P<after>[^0-9]*)\.lora_(?P<factor>[AB])\.weight")
MAX_RANK = 1 << 16
MAX_ALPHA = 1e6
PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_FILE = 16 << 30  # bytes
UNREAD = ("use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save")


@dataclass(frozen=True, eq=False)
class Factors:
    """An adapter's numbers: A [L, r, I], B [L, r, D], the scaling of Bᵀ(A x), and the name of the linear module."""

    A: Tensor
    B: Tensor
    scaling: float
    target: str


def save(factors: Factors, folder: str | os.PathLike[str], module: str = LLAMA, base_model: str = "") -> None:
    """Write one adapter as a folder that `PeftModel.from_pretrained` and vLLM load.

    Args:
        factors: written in their own precision.
        folder: made if it isn't there; the two files in it are replaced.
        module: where a block's module is in the model, {i} standing for the block's number: "model.layers.{i}…" in
            Llama-like models, "model.text_model.layers.{i}…" in SmolVLM.
        base_model: the name or folder of the model that it belongs to, as PEFT notes it.

    Raises:
        InputError: a stack of adapters, or a module path without {i} or of another module than the adapter's.
    """
    if factors.A.ndim != 3:
        raise InputError(f"This is a stack of {list(factors.A.shape[:-3])} adapters: save them one by one.")
    if module.count("{i}") != 1 or module.rsplit(".", 1)[-1] != factors.target:
        raise InputError(f"The module path must contain {{i}} once and end in .{factors.target}, not be {module!r}.")
    tensors: dict[str, Tensor] = {}
    for block, (a, b) in enumerate(zip(factors.A.detach().cpu(), factors.B.detach().cpu(), strict=True)):
        name = f"base_model.model.{module.replace('{i}', str(block))}"
        tensors[f"{name}.lora_A.weight"] = a.clone(memory_format=torch.contiguous_format)
        tensors[f"{name}.lora_B.weight"] = b.T.clone(memory_format=torch.contiguous_format)
    rank = factors.A.shape[-2]
    alpha = factors.scaling * rank
    config = {
        "base_model_name_or_path": base_model or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": [factors.target],
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "adapter_model.safetensors") as part:
        # Not save_file, whose files only their owner can read: a server may run as somebody else.
        part.write_bytes(to_bytes(tensors, metadata={"format": "pt"}))
    write_text(folder / "adapter_config.json", json.dumps(config, indent=2) + "\n")


def load(folder: str | os.PathLike[str]) -> Factors:
    """Read an adapter of one linear module per block from a PEFT folder.

    Raises:
        InputError: no such folder, files that can't be read, or a LoRA of another kind (DoRA, ranks that differ
            between blocks, several modules per block, …).
    """
    folder = Path(folder)
    config = _config(folder)
    file = folder / "adapter_model.safetensors"
    if not file.exists():
        raise InputError(f"There is no {file}: only PEFT folders with safetensors are read.")
    check_safetensors(file, MAX_FILE)
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} can't be read ({quoted(error)}).") from None
    blocks: dict[str, dict[int, Tensor]] = {"A": {}, "B": {}}
    modules = set()
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None or tensor.ndim != 2 or not match["after"].rpartition(".")[2].isidentifier():
            raise InputError(f"{file} isn't a LoRA of one linear module per block: {quoted(key)}.")
        if tensor.dtype not in PRECISIONS or not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{file} has values that aren't finite numbers of 16 to 64 bits: {quoted(key)}.")
        modules.add((match["before"], match["after"]))
        blocks[match["factor"]][int(match["block"])] = tensor
    count = len(blocks["A"])
    if len(modules) != 1 or any(sorted(part) != list(range(count)) for part in blocks.values()) or not count:
        raise InputError(f"{file} doesn't hold one linear module of every block from 0 on.")
    try:
        a = torch.stack([blocks["A"][block] for block in range(count)])
        b = torch.stack([blocks["B"][block].T for block in range(count)])
    except RuntimeError:
        raise InputError(f"{file} has blocks of different shapes.") from None
    for ranks in (a.shape[1], b.shape[1]):
        if ranks != config["r"]:
            raise InputError(f"{file} has {ranks} ranks, its configuration {config['r']}.")
    rank = math.sqrt(config["r"]) if config.get("use_rslora") else config["r"]
    return Factors(a, b.contiguous(), config["lora_alpha"] / rank, modules.pop()[1].rsplit(".", 1)[-1])


def _config(folder: Path) -> dict[str, Any]:
    """Read a LoRA's configuration, checked: r and lora_alpha are usable, nothing is asked for that isn't read."""
    file = folder / "adapter_config.json"
    if not file.exists():
        raise InputError(f"{folder} isn't a PEFT adapter: there is no adapter_config.json in it.")
    config = read_json(file)
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise InputError(f"{file} isn't a LoRA's configuration.")
    for name in UNREAD:
        if config.get(name):
            raise InputError(f"{file} asks for {name}, which chunkv2l's adapters don't have.")
    r: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    if type(r) is not int or not 1 <= r <= MAX_RANK or not is_finite(alpha) or abs(alpha) > MAX_ALPHA:
        raise InputError(f"{file} has no usable r and lora_alpha: {quoted(repr(r))}, {quoted(repr(alpha))}.")
    return config
