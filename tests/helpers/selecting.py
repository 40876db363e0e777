"""A random selector for the fake model, with keys and words: deterministic, nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from chunkv2l.hypernet import HypernetConfig
from chunkv2l.hypernet.keys import SENTENCE
from chunkv2l.hypernet.selector import Selector, Words
from chunkv2l.models import Calibration, SelectorCalibration
from tests.helpers.fake_vlm import HIDDEN, FakeModel, fake_model
from tests.helpers.keyed import by_words, random_keys


def word_states(texts: Sequence[str]) -> Words:
    """Each word a random vector of its own."""
    rows = [torch.cat([by_words([word]) for word in text.split()]) for text in texts]
    mask = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    states = torch.zeros(*mask.shape, SENTENCE)
    for i, row in enumerate(rows):
        states[i, : len(row)], mask[i, : len(row)] = row, 1
    return Words(states, mask)


def random_selector(config: HypernetConfig, seed: int = 6, size: int = 4) -> Selector:
    """Small, untrained, frozen; its gates differ from slot to slot, and some are negative."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        selector = Selector(config, size)
        for parameter in selector.parameters():
            if parameter.ndim < 2 or not bool(parameter.any()):
                nn.init.normal_(parameter, std=1.5 if parameter.ndim > 1 else 0.5)
    return selector.requires_grad_(False).eval()


def selective(key: float = 0.0, beta: float = 0.0) -> FakeModel:
    """The fake model with keys, words and a selector."""
    model = fake_model()
    return replace(
        model,
        keys=random_keys(HIDDEN),
        sentences=by_words,
        words=word_states,
        calibration=Calibration(key=3.0),
        selector=random_selector(model.hypernet.config),
        selector_calibration=SelectorCalibration(key=key, slots=2.0, beta=beta, epsilon=0.1),
    )
