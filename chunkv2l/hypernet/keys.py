"""Learned keys: 128 numbers a segment, against which a statement is compared before any adapter is tried."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Keys(nn.Module):
    """k = P · pool(code) of a segment, q = R · (mean output state of a statement under the bias); k · q ranks segments.

    Args:
        layers, rank, latent: L, r, d of the codes.
        hidden: D, width of the language model's output states.
        size: numbers of a key.
    """

    def __init__(self, layers: int, rank: int, latent: int, hidden: int, size: int = 128) -> None:
        super().__init__()
        self.pool = nn.Parameter(torch.zeros(layers, rank, latent))
        self.key = nn.Linear(latent, size, bias=False)
        self.query = nn.Linear(hidden, size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def of_codes(self, codes: Tensor) -> Tensor:
        """codes [B, L, r, d] → unit keys [B, size]; each latent channel has its own weights over layers and slots."""
        weights = self.pool.flatten(0, 1).softmax(0)  # [L·r, d]
        return F.normalize(self.key((codes.flatten(1, 2) * weights).sum(1) * codes.shape[1] ** 0.5), dim=-1)

    def of_states(self, states: Tensor) -> Tensor:
        """mean output states [T, D] → unit queries [T, size]."""
        return F.normalize(self.query(states.float()), dim=-1)
