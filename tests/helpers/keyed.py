"""Learned keys for models in tests, and a sentence encoder for them: deterministic, nothing is fetched."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from chunkv2l.hypernet.keys import SENTENCE, Keys


def by_words(texts: Sequence[str]) -> Tensor:
    """Each text the mean of its words' own random vectors: [n, SENTENCE]."""
    return torch.stack([torch.stack([_vector(word) for word in text.lower().split()]).mean(0) for text in texts])


def _vector(word: str) -> Tensor:
    random = torch.Generator().manual_seed(zlib.crc32(word.strip(".,?").encode()))
    made: Tensor = torch.randn(SENTENCE, generator=random)
    return made


def random_keys(channels: int, size: int = 6, seed: int = 3) -> Keys:
    """Small, untrained, frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        keys = Keys(channels, size, value=8, heads=2, inner=12)
        torch.nn.init.normal_(keys.liking)
    return keys.requires_grad_(False).eval()


def unit_keys(count: int, size: int = 6, seed: int = 4) -> Tensor:
    """Of `count` segments, made from nothing: [count, size]."""
    random = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(random, dim=-1)
