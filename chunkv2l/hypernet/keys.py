"""Compare statements with segments by learned keys, before any adapter is tried (docs/algorithm.md, step 21)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet.init import normal

SENTENCE = 384
"""Width of what the sentence encoder gives."""


class Keys(nn.Module):
    """Map clips to keys and statements to query vectors; their product ranks segments.

    Keys pool the features of a clip (`VLM.look`) by attention with queries of their own: no text block has to have
    read the clip. Statements are embedded by a sentence encoder (`models.sentence.minilm`). Keys from text blocks'
    states or from codes, and statements from the language model's states, find less (docs/measurements.md#keys).

    Args:
        channels: C of the features.
        size: numbers of a key.
        value: width in which tokens are pooled.
        heads: queries of the attention.
        inner: width of the statement's hidden layer.
        dropout: share of pooled values and of the hidden layer that training leaves out (of the inputs, .3 as much).
    """

    def __init__(
        self,
        channels: int,
        size: int = 128,
        value: int = 256,
        heads: int = 8,
        inner: int = 512,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.value = nn.Linear(channels, value, bias=False)
        self.liking = nn.Parameter(normal(heads, value, std=0.05))
        self.key = nn.Linear(value * heads, size, bias=False)
        self.sentence_norm = nn.LayerNorm(SENTENCE)
        self.bend = nn.Linear(SENTENCE, inner)
        self.query = nn.Linear(inner, size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(15.0)))
        self.dropout = dropout

    @property
    def channels(self) -> int:
        return self.value.in_features

    def of_clips(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the unit keys [B, size] of features [B, S, C]; mask [B, S] is 1 where one is real."""
        values = self.value(self._dropped(self.norm(features.float()), 0.3))  # [B, S, value]
        liking = values @ self.liking.T  # [B, S, heads]
        if mask is not None:
            liking = liking.masked_fill(mask[:, :, None] == 0, -torch.inf)
        pooled = (liking.softmax(1).transpose(1, 2) @ values).flatten(1)
        return F.normalize(self.key(self._dropped(pooled)), dim=-1)

    def of_sentences(self, embeddings: Tensor) -> Tensor:
        """Return the unit queries [T, size] of statements' embeddings [T, SENTENCE]."""
        bent = F.gelu(self.bend(self._dropped(self.sentence_norm(embeddings), 0.3)))
        return F.normalize(self.query(self._dropped(bent)), dim=-1)

    def _dropped(self, x: Tensor, share: float = 1.0) -> Tensor:
        return F.dropout(x, share * self.dropout, self.training)
