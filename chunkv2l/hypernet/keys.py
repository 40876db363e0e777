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
        vocabulary: what a classifier's classes are called, as sentence embeddings [classes, SENTENCE]. Clips' features
            then end with its probabilities (`rows_of_names`), and a class counts for statements that are like its name
            from the start.
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
        vocabulary: Tensor | None = None,
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
        self.has_names = vocabulary is not None
        if vocabulary is not None:
            self.vocabulary = nn.Buffer(vocabulary)
            self.names = nn.Linear(SENTENCE, size, bias=False)
            self.named = nn.Linear(SENTENCE, size, bias=False)

    @torch.no_grad()
    def align_names(self) -> None:
        """Initialise both maps of names with the vocabulary's principal directions."""
        centred = self.vocabulary.float() - self.vocabulary.float().mean(0)
        directions = torch.linalg.svd(centred, full_matrices=False).Vh[: self.names.out_features]
        for side in (self.names, self.named):
            side.weight.zero_()
            side.weight[: len(directions)] = directions

    @property
    def channels(self) -> int:
        return self.value.in_features

    @property
    def name_rows(self) -> int:
        """Return the number of rows at the end of a clip's features that hold a classifier's probabilities."""
        return -(-self.vocabulary.shape[0] // self.channels) if self.has_names else 0

    def of_clips(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the unit keys [B, size] of features [B, S, C]; mask [B, S] is 1 where one is real."""
        names = None
        if self.has_names:
            features, mask, names = split_names(features, mask, self.vocabulary.shape[0])
        values = self.value(self._dropped(self.norm(features.float()), 0.3))  # [B, S, value]
        liking = values @ self.liking.T  # [B, S, heads]
        if mask is not None:
            liking = liking.masked_fill(mask[:, :, None] == 0, -torch.inf)
        pooled = (liking.softmax(1).transpose(1, 2) @ values).flatten(1)
        key = self.key(self._dropped(pooled))
        if names is not None:
            key = key + self.names(self._dropped(names @ self.vocabulary.float()))
        return F.normalize(key, dim=-1)

    def of_sentences(self, embeddings: Tensor) -> Tensor:
        """Return the unit queries [T, size] of statements' embeddings [T, SENTENCE]."""
        bent = F.gelu(self.bend(self._dropped(self.sentence_norm(embeddings), 0.3)))
        query = self.query(self._dropped(bent))
        if self.has_names:
            query = query + self.named(embeddings)
        return F.normalize(query, dim=-1)

    def _dropped(self, x: Tensor, share: float = 1.0) -> Tensor:
        return F.dropout(x, share * self.dropout, self.training)


def rows_of_names(names: Tensor, channels: int) -> Tensor:
    """Return a classifier's probabilities [..., classes] as rows of features [..., R, channels], zeros at the end."""
    count = -(-names.shape[-1] // channels)
    padded = F.pad(names, (0, count * channels - names.shape[-1]))
    return padded.reshape(*names.shape[:-1], count, channels)


def split_names(features: Tensor, mask: Tensor | None, classes: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Take a classifier's rows off the end of clips' features.

    Args:
        features: [B, S, C], each clip's real rows first; mask: [B, S], 1 where one is real.

    Returns:
        the features without these rows, their mask (None where all are real), and the probabilities [B, classes].
    """
    count = -(-classes // features.shape[-1])
    if mask is None:
        return features[:, :-count], None, features[:, -count:].flatten(1)[:, :classes].float()
    lengths = mask.sum(1).long() - count  # [B], rows without names
    places = lengths[:, None] + torch.arange(count, device=features.device)
    rows = features.gather(1, places[:, :, None].expand(-1, -1, features.shape[-1]))
    kept = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    return features, kept.to(mask.dtype), rows.flatten(1)[:, :classes].float()
