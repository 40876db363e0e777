"""Teach learned keys by others: the mean of several that were trained apart finds more than each of them.

The teachers score images without texts, on which none of them was trained: on its training images a teacher is
over-confident.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chunkv2l.hypernet.keys import Keys


@dataclass(frozen=True)
class KeyTeachers:
    """Trained keys, and the images that they score.

    Attributes:
        keys: the teachers.
        images: numbers of the images that they score, int64 [n].
        sharp: factor of their mean score, which is flatter than each teacher's.
    """

    keys: tuple[Keys, ...]
    images: Tensor
    sharp: float = 1.3

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the numbers of `count` random images, or of all if there are fewer."""
        order = torch.randperm(len(self.images), generator=generator, device=self.images.device)
        return self.images[order[:count]]

    @torch.no_grad()
    def scores(self, features: Tensor, mask: Tensor | None, sentences: Tensor, name_rows: int = 0) -> Tensor:
        """Return the teachers' mean scores of clips and statements, [clips, texts].

        Args:
            features: [B, S, C]; `mask` [B, S], None where all tokens are real.
            sentences: embeddings of the statements [T, SENTENCE].
            name_rows: rows at the end of the features that hold a classifier's probabilities; of use to some teachers.
        """
        visual = features[:, : features.shape[1] - name_rows]
        tables = [
            keys.of_clips(features if keys.has_names else visual, mask)
            @ keys.of_sentences(sentences).T
            * keys.log_scale.exp()
            for keys in self.keys
        ]
        return torch.stack(tables).mean(0) * self.sharp
