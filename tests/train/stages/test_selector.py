"""The selector's losses on a tiny random decoder: they are finite, training lowers them, and figures come of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from chunkv2l.hypernet.keys import SENTENCE
from chunkv2l.hypernet.selector import Selector, Words
from chunkv2l.train.stages.code_bank import CodeBank, build_code_bank
from chunkv2l.train.stages.selector_measure import SelectorSubject
from chunkv2l.train.stages.selector_stage import SelectorSettings, SelectorStage, TrainedSelector, WordEncoder
from tests.train.stages.test_stages import DESCRIBED, PROMPTS, batches, hypernet_stage


def words_of(texts: Sequence[str]) -> Words:
    """Return a random vector for each word, the same for the same word."""
    rows = [text.lower().rstrip(".?").split() or [""] for text in texts]
    longest = max(map(len, rows))
    states = torch.zeros(len(rows), longest, SENTENCE)
    for number, row in enumerate(rows):
        for position, word in enumerate(row):
            states[number, position] = torch.randn(
                SENTENCE, generator=torch.Generator().manual_seed(sum(map(ord, word)))
            )
    return Words(states, torch.tensor([[int(k < len(row)) for k in range(longest)] for row in rows]))


def selector_stage(takes: int = 2) -> SelectorStage:
    stage = hypernet_stage()
    scaler = stage.trained.hypernet.scaler_B["down_proj"]
    scaler.data.fill_(0.3)
    stage.trained.requires_grad_(False)
    bank = build_code_bank(stage, len(DESCRIBED), takes, frames=(2,))
    torch.manual_seed(5)
    selector = TrainedSelector(Selector(stage.trained.hypernet.config, size=8))
    generator = torch.Generator().manual_seed(6)
    return SelectorStage(selector, stage, bank, WordEncoder(words_of), generator, SelectorSettings(takes=takes))


@pytest.mark.parametrize("kind", ["keys", "compose"])
def test_training_lowers_the_loss(kind: str) -> None:
    stage = selector_stage()
    stream = batches(kind)
    optimizer = torch.optim.Adam(stage.trained.parameters(), lr=0.01)
    losses = []
    for number in range(40):
        loss, figures = stage.loss(stream.make(number % 2), 0.0)
        assert all(bool(torch.isfinite(value)) for value in figures.values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-8:]) < sum(losses[:8])


def test_gates_begin_at_one() -> None:
    stage = selector_stage()
    gates = stage.gates(["A dog."], stage.bank.codes[0].float(), torch.tensor([1]), 2)
    assert gates.shape == (1, 2, 3, 2)
    assert bool((gates == 1).all())


def test_trained_gates_can_be_set_back() -> None:
    stage = selector_stage()
    selector = stage.trained.selector
    torch.nn.init.normal_(selector.gate_word.weight)
    codes = stage.bank.codes[0].float()
    words = stage.words(["A dog runs."])
    before = selector(words, codes)
    selector.reset_gates()
    after = selector(words, codes)
    assert not bool((before.gates == 1).all())
    assert bool((after.gates == 1).all())
    assert bool((before.evidence == after.evidence).all())


def test_a_clip_of_each_take_is_drawn() -> None:
    bank: CodeBank = selector_stage(takes=2).bank
    images = torch.arange(6).repeat(20)
    codes, keys = bank.draw(images, torch.Generator().manual_seed(0))
    first = (codes == bank.codes[0, images]).flatten(1).all(1)
    assert 0 < int(first.sum()) < len(images)
    assert bool((bank.draw(images)[0] == bank.codes[0, images]).all())
    assert keys.shape == (120, bank.keys.shape[2])


def test_figures_of_clips_kept_aside() -> None:
    stage = selector_stage(takes=1)
    figures = SelectorSubject(stage, stage.bank, DESCRIBED * 1, PROMPTS).kept_figures(10.0, sizes=(2, 3))
    assert figures["kept both/2"] == pytest.approx(figures["kept gated/2"])
    assert {"kept keys/3", "kept uniform/3", "first both/3"} <= set(figures)
