"""Greedy answers and log-likelihoods under per-row adapters, on the tiny SmolVLM's text model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.adapter.inject import inject
from chunkv2l.errors import InputError
from chunkv2l.models.text.decoder import TextDecoder, log_likelihood, pad, score, stacked
from chunkv2l.models.text.greedy import greedy
from tests.helpers import frames2lora, tiny_smolvlm

PROMPTS = [[1, 30, 40, 50], [1, 30], [1, 60, 61, 62, 63, 64, 65], [1, 9, 8], [1, 77, 12]]


def decoder() -> TextDecoder:
    return replace(tiny_smolvlm.vlm().decoder, end_ids=frozenset())


def random_adapters(count: int, seed: int = 0) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 4, 3, 160, generator=generator)
    return Adapter(a, torch.randn(count, 4, 3, 64, generator=generator), 0.2)


def full_logits(ids: list[int], adapter: Adapter | None) -> Tensor:
    vlm = tiny_smolvlm.vlm()
    with torch.no_grad(), inject(vlm.targets, adapter):
        out: Tensor = vlm.model(input_ids=torch.tensor([ids])).logits[0]
    return out


def greedy_by_hand(prompt: list[int], adapter: Adapter | None, steps: int, ends: frozenset[int]) -> list[int]:
    """Without a cache, a batch or a mask."""
    out: list[int] = []
    while len(out) < steps and not (out and out[-1] in ends):
        out.append(int(full_logits(prompt + out, adapter)[-1].argmax()))
    return out


@pytest.mark.parametrize("max_rows", [1, 2, 64])
def test_each_prompt_is_continued_under_its_own_adapter(max_rows: int) -> None:
    adapters = random_adapters(len(PROMPTS))
    found = greedy(decoder(), PROMPTS, adapters, 6, max_rows=max_rows)
    expected = [greedy_by_hand(*pair, 6, frozenset()) for pair in zip(PROMPTS, adapters.unbind(), strict=True)]
    assert found == expected
    assert len({tuple(row) for row in found}) == len(PROMPTS)


def test_one_adapter_for_all_and_none() -> None:
    adapter = random_adapters(1)[0]
    assert greedy(decoder(), PROMPTS, adapter, 5) == [greedy_by_hand(p, adapter, 5, frozenset()) for p in PROMPTS]
    assert greedy(decoder(), PROMPTS, None, 5) == [greedy_by_hand(p, None, 5, frozenset()) for p in PROMPTS]


def test_rows_end_at_their_end_token_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import DynamicCache

    kept: list[int] = []
    select = DynamicCache.batch_select_indices

    def spy(cache: Any, rows: Tensor) -> None:
        kept.append(len(rows))
        select(cache, rows)

    monkeypatch.setattr(DynamicCache, "batch_select_indices", spy)
    adapters = random_adapters(len(PROMPTS))
    free = greedy(decoder(), PROMPTS, adapters, 10)
    # One row ends at once, others later: the batch is thinned out on the way.
    ends = frozenset({free[0][0], free[1][2], free[3][4]})
    ending = replace(decoder(), end_ids=ends)
    found = greedy(ending, PROMPTS, adapters, 10)
    assert found == [greedy_by_hand(*pair, 10, ends) for pair in zip(PROMPTS, adapters.unbind(), strict=True)]
    assert kept
    lengths = {len(row) for row in found}
    assert 1 in lengths
    assert len(lengths) > 2
    for row, unbounded in zip(found, free, strict=True):
        assert row == unbounded[: len(row)]


def test_hooks_are_gone_after_an_error() -> None:
    before = full_logits(PROMPTS[0], None)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        greedy(decoder(), PROMPTS, random_adapters(len(PROMPTS)), 4, on_first_token=stop)
    assert torch.equal(full_logits(PROMPTS[0], None), before)


def test_the_first_token_is_announced_once() -> None:
    calls: list[None] = []
    greedy(decoder(), PROMPTS, None, 4, max_rows=2, on_first_token=lambda: calls.append(None))
    assert len(calls) == 1


def test_the_first_prompts_tokens_are_passed_on_as_they_come() -> None:
    steps: list[list[int]] = []
    answers = greedy(decoder(), PROMPTS, None, 4, max_rows=2, on_tokens=lambda tokens: steps.append(list(tokens)))
    assert steps == [answers[0][:count] for count in range(1, 5)]


def test_nothing_to_generate() -> None:
    assert greedy(decoder(), [], None, 4) == []
    assert greedy(decoder(), PROMPTS, None, 0) == [[] for _ in PROMPTS]


def test_adapters_and_prompts_must_be_as_many() -> None:
    with pytest.raises(InputError, match="3 adapters can't answer 5 prompts"):
        greedy(decoder(), PROMPTS, random_adapters(3), 4)


def by_hand(prompt: list[int], target: list[int], adapter: Adapter | None) -> float:
    table = full_logits(prompt + target, adapter).double().log_softmax(-1)
    return float(sum(table[len(prompt) - 1 + i, token] for i, token in enumerate(target)))


@pytest.mark.parametrize(("max_rows", "max_tokens"), [(64, 8192), (3, 8192), (2, 10), (64, 1)])
def test_score_of_adapters_and_statements(max_rows: int, max_tokens: int) -> None:
    adapters = random_adapters(4)
    statements = [[11, 12, 13, 14, 15], [], [16], [17, 18, 19]]
    found = score(decoder(), PROMPTS[2], statements, adapters, max_rows=max_rows, max_tokens=max_tokens)
    expected = [[by_hand(PROMPTS[2], target, adapter) for target in statements] for adapter in adapters.unbind()]
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-5, rtol=0.0)
    assert found[:, 1].tolist() == [0.0] * 4


def test_score_without_and_with_one_adapter() -> None:
    statements = [[11, 12], [13]]
    for adapter in (None, random_adapters(1)[0]):
        found = score(decoder(), PROMPTS[0], statements, adapter)
        expected = [[by_hand(PROMPTS[0], target, adapter) for target in statements]]
        torch.testing.assert_close(found, torch.tensor(expected), atol=2e-5, rtol=0.0)
    assert score(decoder(), PROMPTS[0], [], None).shape == (1, 0)


@pytest.mark.parametrize(("rows", "at_a_time"), [("_LOGIT_ROWS", 4), ("_SOFTMAX_ROWS", 1), ("_SOFTMAX_ROWS", 4)])
def test_logits_are_made_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch, rows: str, at_a_time: int) -> None:
    whole = score(decoder(), PROMPTS[0], [[11, 12, 13], [14, 15]], random_adapters(3))
    monkeypatch.setattr(f"chunkv2l.models.text.decoder.{rows}", at_a_time)
    torch.testing.assert_close(
        score(decoder(), PROMPTS[0], [[11, 12, 13], [14, 15]], random_adapters(3)), whole, atol=1e-5, rtol=0.0
    )


def test_embeddings_are_prompts_too() -> None:
    embeds = decoder().embed(PROMPTS[0])
    assert torch.equal(score(decoder(), embeds, [[5, 6]]), score(decoder(), PROMPTS[0], [[5, 6]]))
    assert greedy(decoder(), [embeds], None, 4) == greedy(decoder(), [PROMPTS[0]], None, 4)


def test_the_references_loss_and_a_gradient() -> None:
    case, batch = frames2lora.load("train_step"), frames2lora.load("e2e_b2_pad")
    prompts = [
        ids[: int((labels == -100).sum())] for ids, labels in zip(case["input_ids"], case["labels"], strict=True)
    ]
    targets = [labels[labels != -100].tolist() for labels in case["labels"]]
    made = Adapter(batch["A"], batch["B"], 16.0)  # the fixtures' hypernetwork made these
    bias = bias_of_the_fixtures()
    leaf = made.A.clone().requires_grad_(True)
    rows = log_likelihood(decoder(), [p.tolist() for p in prompts], targets, concat([replace(made, A=leaf)], bias=bias))
    losses = -rows / torch.tensor([len(target) for target in targets])
    torch.testing.assert_close(losses.detach(), case["per_sample_loss"], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(losses.mean().detach(), case["loss"], atol=1e-5, rtol=0.0)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert bool(leaf.grad.abs().sum(dim=(1, 2, 3)).gt(0).all())


def bias_of_the_fixtures() -> Adapter:
    """The constant half of the fixtures' compositions: the last ranks of `combined_A` and `combined_B`."""
    case = frames2lora.load("e2e")
    return Adapter(case["combined_A"][0, :, 4:], case["combined_B"][0, :, 4:], 16.0)


def test_pad_either_side() -> None:
    rows = [torch.ones(2, 3), torch.full((1, 3), 2.0)]
    right, mask = pad(rows)
    assert mask.tolist() == [[1, 1], [1, 0]]
    assert right[1].tolist() == [[2.0] * 3, [0.0] * 3]
    left, mask = pad(rows, "left")
    assert mask.tolist() == [[1, 1], [0, 1]]
    assert left[1].tolist() == [[0.0] * 3, [2.0] * 3]


@pytest.mark.parametrize("leading", [(), (3,)])
def test_rows_of_different_lengths_are_padded_on_either_side(leading: tuple[int, ...]) -> None:
    rows = [torch.rand(*leading, length, 2) + 1 for length in (2, 4, 1)]
    for side, places in (("right", [(0, 2), (0, 4), (0, 1)]), ("left", [(2, 4), (0, 4), (3, 4)])):
        padded, mask = pad(rows, side)
        assert padded.shape == (3, *leading, 4, 2) and mask.dtype == torch.long
        for row, (begin, end), one, real in zip(rows, places, padded, mask, strict=True):
            assert real.tolist() == [int(begin <= i < end) for i in range(4)]
            assert torch.equal(one[..., begin:end, :], row) and float(one.sum()) == pytest.approx(float(row.sum()))
    padded, found = stacked(rows)
    assert found is not None and torch.equal(padded, pad(rows)[0]) and torch.equal(found, pad(rows)[1])
    alike, none = stacked([rows[0], rows[0] * 2])
    assert none is None and torch.equal(alike[1], rows[0] * 2)
