"""Learned keys as teachers of others: several that were trained apart find more than each, and one can learn it.

They are asked about images without texts, on which none of them was trained: on its own training images each is surer
than it will ever be again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chunkv2l.hypernet.keys import Keys


@dataclass(frozen=True)
class KeyTeachers:
    """
    Attributes:
        keys: the teachers.
        images: numbers of the images that they are asked about, int64 [n].
        sharp: what their mean is multiplied by: it is flatter than each of them.
    """

    keys: tuple[Keys, ...]
    images: Tensor
    sharp: float = 1.3

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Numbers of `count` images, or of all if there are fewer."""
        order = torch.randperm(len(self.images), generator=generator, device=self.images.device)
        return self.images[order[:count]]

    @torch.no_grad()
    def scores(self, features: Tensor, mask: Tensor | None, sentences: Tensor) -> Tensor:
        """What they make of clips and statements [clips, texts].

        Args:
            features: [B, S, C]; `mask` [B, S], None where all tokens are real.
            sentences: embeddings of the statements [T, SENTENCE].
        """
        tables = [
            one.of_clips(features, mask) @ one.of_sentences(sentences).T * one.log_scale.exp() for one in self.keys
        ]
        return torch.stack(tables).mean(0) * self.sharp
