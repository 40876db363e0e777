"""`mini`'s files at the tiny size: a cache as fetching leaves it, and the files that the two training stages write."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models.mini import dinov2, smollm2
from chunkv2l.models.mini import frozen as mini_frozen
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.sentence import minilm
from chunkv2l.train.core.lora import DecoderLora
from tests.helpers import tiny_mini
from tests.helpers.tiny_mini import CHANNELS, HIDDEN, INTERMEDIATE, LAYERS

CONFIG = HypernetConfig(
    LAYERS, HIDDEN, INTERMEDIATE, latent_size=64, rank=2, num_blocks=1, num_heads=2, num_kv_heads=1, head_dim=8
)


def frozen(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A cache that holds the tiny frozen parts as `mini`'s, whose sizes the loaders now expect; no sentence encoder."""
    parts = tiny_mini.untrained()
    monkeypatch.setenv("CHUNKV2L_CACHE", str(cache))
    monkeypatch.setattr(smollm2, "config", lambda: parts.language.config)
    monkeypatch.setattr(smollm2, "SIZES", tiny_mini.sizes(parts.language.config))
    monkeypatch.setattr(dinov2, "config", lambda: parts.vision.config)
    monkeypatch.setattr(mini_model, "SIZES", (LAYERS, HIDDEN, INTERMEDIATE))
    folder = mini_frozen.folder()
    folder.mkdir(parents=True)
    language = {name: t.half() for name, t in parts.language.state_dict().items() if name != "lm_head.weight"}
    save_file(language, folder / "language.safetensors")
    save_file(dict(parts.vision.state_dict()), folder / "vision.safetensors")
    tiny_mini.tokenizer().save_pretrained(folder / "tokenizer")
    minilm.folder().mkdir()  # as if it were there: it is loaded when a statement comes
    return folder


def reader(path: Path) -> dict[str, Tensor]:
    """Stage 1's file."""
    parts = tiny_mini.untrained()
    state = {f"connector.{name}": t for name, t in parts.connector.state_dict().items()}
    state |= {f"lora.{name}": t for name, t in parts.lora.state_dict().items()}
    save_file(state, path)
    return state


def trained() -> dict[str, Tensor]:
    """What stage 2's file holds."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = Hypernetwork(CONFIG)
        nn.init.normal_(network.scaler_B["down_proj"])
        nn.init.normal_(network.bias_B["down_proj"], std=0.1)
        keys = Keys(CHANNELS, size=16, value=24, heads=3, inner=20)
    state = {f"hypernet.{name}": t.detach() for name, t in network.state_dict().items()}
    state |= {f"keys.{name}": t.detach() for name, t in keys.state_dict().items()}
    return state | {"log_temperature": torch.tensor(0.1)}


def hypernet(path: Path, state: dict[str, Tensor] | None = None, **metadata: str) -> Path:
    """Stage 2's file."""
    told = {"config": json.dumps(asdict(CONFIG)), **metadata}
    save_file(trained() if state is None else state, path, {name: text for name, text in told.items() if text})
    return path


def lora() -> DecoderLora:
    """The LoRA that `reader` writes."""
    return tiny_mini.untrained().lora
