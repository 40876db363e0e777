"""Learned keys: 128 numbers a segment, against which a statement is compared before any adapter is tried."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Keys(nn.Module):
    """k = P · pool(code) of a segment, q = R(mean output state of a statement under the bias); k · q ranks segments.

    R is a matrix, or a layer and a matrix: text states that nothing was trained for this need a bend (on unseen
    photographs a two-tower probe found the right one of 256 first in .27 of cases with it, in .24 without).

    Args:
        layers, rank, latent: L, r, d of the codes.
        hidden: D, width of the language model's output states.
        size: numbers of a key.
        inner: width of R's layer; 0 for a matrix alone.
        dropout: share of pooled channels and of states that training leaves out.
    """

    def __init__(
        self, layers: int, rank: int, latent: int, hidden: int, size: int = 128, inner: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.pool = nn.Parameter(torch.zeros(layers, rank, latent))
        self.key = nn.Linear(latent, size, bias=False)
        self.norm = nn.LayerNorm(hidden) if inner else nn.Identity()
        self.bend = nn.Sequential(nn.Linear(hidden, inner), nn.GELU()) if inner else nn.Identity()
        self.query = nn.Linear(inner or hidden, size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.dropout = dropout

    def of_codes(self, codes: Tensor) -> Tensor:
        """codes [B, L, r, d] → unit keys [B, size]; each latent channel has its own weights over layers and slots."""
        weights = self.pool.flatten(0, 1).softmax(0)  # [L·r, d]
        pooled = (codes.flatten(1, 2) * weights).sum(1) * codes.shape[1] ** 0.5
        return F.normalize(self.key(self._dropped(pooled)), dim=-1)

    def of_states(self, states: Tensor) -> Tensor:
        """mean output states [T, D] → unit queries [T, size]."""
        bent = self.bend(self._dropped(self.norm(states.float())))
        return F.normalize(self.query(self._dropped(bent)), dim=-1)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
