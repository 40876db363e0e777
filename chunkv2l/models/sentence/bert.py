"""Compute a BERT's states of short texts without transformers, from the folder in which that saves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Bert:
    """The encoder: absolute positions, the norms behind, GELU.

    Attributes:
        weights: by transformers' names, float32, the pooler left out.
        layers, heads, eps: of its configuration.
    """

    weights: Mapping[str, Tensor]
    layers: int
    heads: int
    eps: float

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> Bert:
        """Load the encoder from `config.json` and `model.safetensors`.

        Raises:
            ValueError: a configuration that asks for another activation or other positions.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        variant = config.get("hidden_act", "gelu"), config.get("position_embedding_type", "absolute")
        if variant != ("gelu", "absolute"):
            raise ValueError(f"{folder} holds a BERT of another kind: {variant}")
        tensors = load_file(folder / "model.safetensors", device=str(device))
        weights = {name: t.float() for name, t in tensors.items() if t.is_floating_point() and "pooler" not in name}
        layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        return Bert(weights, layers, heads, float(config.get("layer_norm_eps", 1e-12)))

    @property
    def width(self) -> int:
        """Return D, the width of the states."""
        return self.weights["embeddings.word_embeddings.weight"].shape[1]

    @property
    def device(self) -> torch.device:
        """Return the weights' device."""
        return self.weights["embeddings.word_embeddings.weight"].device

    def __call__(self, ids: Tensor, real: Tensor) -> Tensor:
        """Return the last states [B, S, D] of tokens [B, S]; `real` [B, S] is 1 where one counts."""
        types, positions = (self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("token_type", "position"))
        x = self.weights["embeddings.word_embeddings.weight"][ids] + types[0] + positions[: ids.shape[1]]
        x = self._norm("embeddings", x)
        mask = None if bool(real.all()) else (real != 0)[:, None, None]
        for number in range(self.layers):
            x = self._layer(f"encoder.layer.{number}", x, mask)
        return x

    def _layer(self, name: str, x: Tensor, mask: Tensor | None) -> Tensor:
        shape = (*x.shape[:-1], self.heads, -1)
        q, k, v = (
            self._linear(f"{name}.attention.self.{part}", x).view(shape).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = self._norm(f"{name}.attention.output", x + self._linear(f"{name}.attention.output.dense", heads))
        inner = F.gelu(self._linear(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output", x + self._linear(f"{name}.output.dense", inner))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)
