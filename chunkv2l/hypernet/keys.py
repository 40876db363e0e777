"""Learned keys: 128 numbers a segment, against which a statement is compared before any adapter is tried."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet.init import normal

SENTENCE = 384
"""Width of what the sentence encoder gives."""


class Keys(nn.Module):
    """k = P · pool(features) of a clip, q = R(sentence) of a statement; k · q ranks segments.

    Pooling is attention, with queries of its own, over what the frozen model's vision side sees of a clip
    (`vlm.base.VLM.look`): no text block has to have read the clip. R is a layer and a matrix on an embedding of
    `models.minilm`. Both choices are measured, on 512 photographs of Flickr8k's dev split (five captions each), after
    training on its 6,091: keys pooled from vision features find the right one of 64 / 256 first in .56 / .35 of cases,
    from states of text blocks 0 and 10 in .50 / .28, and keys made from codes, earlier, the right one of 256 in .20;
    and with the language model's own states of the statement instead of the sentence encoder's, two towers found the
    right one of 64 first in .43 of cases instead of .51.

    Args:
        channels: C of the features.
        size: numbers of a key.
        value: width in which tokens are pooled.
        heads: queries of the attention.
        inner: width of R's layer.
        dropout: share of pooled values and of R's layer that training leaves out (of the inputs, .3 as much).
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
        """features [B, S, C], mask [B, S] (1 where one is real; None where all are) → unit keys [B, size]."""
        values = self.value(self._dropped(self.norm(features.float()), 0.3))  # [B, S, value]
        liking = values @ self.liking.T  # [B, S, heads]
        if mask is not None:
            liking = liking.masked_fill(mask[:, :, None] == 0, -torch.inf)
        pooled = (liking.softmax(1).transpose(1, 2) @ values).flatten(1)
        return F.normalize(self.key(self._dropped(pooled)), dim=-1)

    def of_sentences(self, embeddings: Tensor) -> Tensor:
        """Embeddings of statements [T, SENTENCE] → unit queries [T, size]."""
        bent = F.gelu(self.bend(self._dropped(self.sentence_norm(embeddings), 0.3)))
        return F.normalize(self.query(self._dropped(bent)), dim=-1)

    def _dropped(self, x: Tensor, share: float = 1.0) -> Tensor:
        return F.dropout(x, share * self.dropout, self.training)
