"""The Llama without transformers, against transformers' around the same weights."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from chunkv2l.models.text.decoder import TextDecoder, log_likelihood
from chunkv2l.models.text.greedy import greedy
from chunkv2l.models.text.llama import KeyValueCache, Language, Sizes
from chunkv2l.train.core.decoder import from_text
from tests.helpers import tiny_mini

PROMPTS = [[1, 40, 41, 42, 43], [1, 50], [1, 60, 61, 62]]


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).detach().abs().max()) <= tolerance


@cache
def theirs() -> Any:
    return tiny_mini.untrained().language.eval().requires_grad_(False)


@cache
def ours() -> Language:
    sizes: Sizes = tiny_mini.sizes(theirs().config)
    with torch.device("meta"):
        made = Language(sizes, lambda state: _around(state))
    made.load_state_dict(theirs().state_dict(), assign=True)
    return made.eval().requires_grad_(False)


def _around(state: dict[str, Tensor]) -> Any:
    whole = copy.deepcopy(theirs())
    whole.load_state_dict(state)
    return whole


def decoder(model: Any) -> TextDecoder:
    return TextDecoder(model.model, model.lm_head, frozenset({2}))


def ids(rows: int, length: int) -> Tensor:
    return torch.randint(3, 320, (rows, length), generator=torch.Generator().manual_seed(length))


def test_the_same_names_and_logits() -> None:
    assert set(ours().state_dict()) == set(theirs().state_dict())
    close(ours()(ids(3, 7)).logits, theirs()(input_ids=ids(3, 7)).logits, 1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_states_before_every_block(precision: torch.dtype) -> None:
    embeds = ours().model.embed_tokens(ids(2, 9))
    with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        found = ours().model(embeds, output_hidden_states=True)
        expected = theirs().model(inputs_embeds=embeds, output_hidden_states=True)
    assert found.hidden_states is not None
    assert len(found.hidden_states) == len(expected.hidden_states) == tiny_mini.LAYERS + 1
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        close(one.float(), other.float(), 1e-5)


def test_likelihoods_of_rows_of_many_lengths() -> None:
    targets = [[70, 71], [72, 73, 74, 75], [76]]
    found, expected = (log_likelihood(decoder(model), PROMPTS, targets) for model in (ours(), theirs()))
    close(found, expected, 1e-4)


def test_the_same_answers_from_prompts_of_many_lengths() -> None:
    assert greedy(decoder(ours()), PROMPTS, None, 12) == greedy(decoder(theirs()), PROMPTS, None, 12)


def test_going_on_from_a_cache_several_tokens_at_a_time() -> None:
    whole = ours().model.embed_tokens(ids(2, 9))
    once = ours().model(whole).last_hidden_state
    kinds: list[Any] = [KeyValueCache(), DynamicCache()]
    for kept in kinds:
        ours().model(whole[:, :5], cache=kept)
        close(ours().model(whole[:, 5:], torch.ones(2, 9), cache=kept).last_hidden_state, once[:, 5:], 1e-5)
        assert kept.get_seq_length() == 9


def test_rows_of_a_cache_are_those_kept() -> None:
    kept, whole = KeyValueCache(), ours().model.embed_tokens(ids(3, 6))
    ours().model(whole[:, :5], cache=kept)
    kept.batch_select_indices(torch.tensor([2, 0]))
    found = ours().model(whole[[2, 0], 5:], cache=kept).last_hidden_state
    close(found, ours().model(whole[[2, 0]]).last_hidden_state[:, 5:], 1e-5)


def test_taken_apart_for_training() -> None:
    found, expected = (from_text(decoder(model), torch.float32) for model in (ours(), theirs()))
    for one, other in zip(found.blocks, expected.blocks, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert (found.heads, found.kv_heads, found.eps, found.rope_theta) == (4, 2, expected.eps, 100_000.0)


def test_saved_as_transformers_saves_it(tmp_path: Path) -> None:
    ours().save_pretrained(tmp_path)
    load: Any = AutoModelForCausalLM.from_pretrained
    close(load(tmp_path)(input_ids=ids(2, 5)).logits, ours()(ids(2, 5)).logits, 1e-5)
