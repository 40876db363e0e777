"""Turn frames into `mini`'s visual tokens: DINOv2's features, and the trained connector behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet.init import normal
from chunkv2l.hypernet.keys import rows_of_names

if TYPE_CHECKING:
    from transformers import Dinov2Model

SIZE = 224
"""Frames are SIZE × SIZE pixels, stretched: so were the photographs that the connector was trained on."""

GRID = 8
"""Patch features are averaged to GRID × GRID cells a frame; the connector folds 2 × 2 of them into one token."""

BLOCKS = (10, 12)
"""Blocks of the vision model whose outputs are read, of 1 … 12 (docs/measurements.md#dinov2-blocks)."""

CHANNELS = 384 * len(BLOCKS)
"""C, the numbers of a cell: DINOv2 ViT-S/14's width for each of BLOCKS."""

MAX_FRAMES = 8
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class VisionFeatures:
    """Vision features of frames: `grid` [..., GRID, GRID, C] and `cls` [..., C], C = CHANNELS.

    `names` [..., classes] are a classifier's probabilities, of each frame, where a classifier has looked.
    """

    grid: Tensor
    cls: Tensor
    names: Tensor | None = None

    def features(self) -> Tensor:
        """Return one row of cells a clip, [..., F · (1 + GRID²), C]; grid is [..., F, GRID, GRID, C], cls [..., F, C].

        Frames follow one another; of each first the class token, then its cells row by row. Behind the last one stand
        the means of a classifier's probabilities over the frames, if there are any, in as few rows as hold them.
        """
        cells = self.grid.flatten(-3, -2)  # [..., F, GRID², C]
        rows = torch.cat([self.cls.unsqueeze(-2), cells], dim=-2).flatten(-3, -2)
        if self.names is None:
            return rows
        return torch.cat([rows, rows_of_names(self.names.float().mean(-2), rows.shape[-1]).to(rows.dtype)], dim=-2)

    @staticmethod
    def of_features(features: Tensor) -> VisionFeatures:
        """Return what `features` [..., F · (1 + GRID²), C] were made of, without a classifier's rows."""
        *leading, rows, channels = features.shape
        each = 1 + GRID**2
        count = rows // each
        frames = features[..., : count * each, :].reshape(*leading, count, each, channels)
        grid = frames[..., 1:, :].reshape(*leading, count, GRID, GRID, channels)
        return VisionFeatures(grid, frames[..., 0, :])


@torch.no_grad()
def see(vision: Dinov2Model, images: Tensor) -> VisionFeatures:
    """Return the features of RGB images, uint8 or float 0…255, [N, 3, SIZE, SIZE]."""
    weight = vision.embeddings.patch_embeddings.projection.weight
    mean, std = images.new_tensor(_MEAN, dtype=torch.float32), images.new_tensor(_STD, dtype=torch.float32)
    pixels = (images.float() / 255 - mean[:, None, None]) / std[:, None, None]
    states = vision(pixels.to(weight.dtype), output_hidden_states=True).hidden_states
    tokens = torch.cat([vision.layernorm(states[block]) for block in BLOCKS], dim=-1)  # [N, 1 + 16·16, C]
    side = int((tokens.shape[1] - 1) ** 0.5)
    patches = tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)
    return VisionFeatures(F.adaptive_avg_pool2d(patches.float(), GRID).permute(0, 2, 3, 1), tokens[:, 0].float())


def unit_states(states: Tensor) -> Tensor:
    """Divide states [..., D] by their root mean square, which grows along the blocks; the hypernetwork reads these."""
    return F.rms_norm(states, (states.shape[-1],), None, 1e-6)


def to_tensor(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return frames uint8 [N, H, W, 3] as a tensor uint8 [N, 3, H, W] on `device`."""
    return torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)


class Connector(nn.Module):
    """Make visual tokens of vision features: GRID/2 × GRID/2 patch tokens and one class token a frame.

    A 2 × 2 pixel shuffle (as in SmolVLM) and a two-layer MLP for the patches, one matrix for the class token, and an
    embedding per frame position.

    Args:
        hidden_size: D, the language model's.
        width: of the patches' MLP.
        channels: C of the features.
    """

    tokens_per_frame = (GRID // 2) ** 2 + 1

    def __init__(self, hidden_size: int = 576, width: int = 768, channels: int = CHANNELS) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.up = nn.Linear(4 * channels, width)
        self.down = nn.Linear(width, hidden_size)
        self.cls_norm = nn.LayerNorm(channels)
        self.cls = nn.Linear(channels, hidden_size)
        self.position = nn.Parameter(normal(MAX_FRAMES, 1, hidden_size, std=0.02))

    def forward(self, features: VisionFeatures) -> Tensor:
        """Return tokens [B, F · tokens_per_frame, D] of grid [B, F, GRID, GRID, C] and cls [B, F, C]."""
        half = GRID // 2
        cells = features.grid.reshape(*features.cls.shape[:2], half, 2, half, 2, -1)  # [B, F, h, 2, w, 2, C]
        cells = cells.transpose(3, 4).flatten(4).flatten(2, 3)  # [B, F, h·w, 4·C]
        patches = self.down(F.gelu(self.up(self.norm(cells))))
        tokens = torch.cat([self.cls(self.cls_norm(features.cls)).unsqueeze(2), patches], dim=2)
        return (tokens + self.position[: tokens.shape[1]]).flatten(1, 2)
