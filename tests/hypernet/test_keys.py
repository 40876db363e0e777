"""Learned keys: unit vectors that don't depend on what else is in a batch, and that training can move."""

from __future__ import annotations

import torch
from torch import Tensor

from chunkv2l.hypernet.keys import SENTENCE, Keys
from chunkv2l.models.text.decoder import stacked
from tests.helpers.keyed import by_words, random_keys

CHANNELS, SIZE = 16, 5
STATEMENTS = ("A dog runs.", "Two cats sleep.", "A red car stops.")


def keys() -> Keys:
    return random_keys(CHANNELS, SIZE)


def features(count: int, tokens: int = 6) -> Tensor:
    made: Tensor = torch.randn(count, tokens, CHANNELS, generator=torch.Generator().manual_seed(1))
    return made


def test_keys_and_queries_are_unit_vectors_a_row_each() -> None:
    made = keys()
    for found in (
        made.of_clips(features(6)),
        made.of_clips(features(6).bfloat16()),
        made.of_sentences(by_words(STATEMENTS)),
    ):
        assert found.shape[1] == SIZE and found.dtype == torch.float32
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(found)))
    torch.testing.assert_close(made.of_clips(features(6))[2:3], made.of_clips(features(6)[2:3]))


def test_tokens_are_pooled_by_what_each_head_likes() -> None:
    made, given = keys(), features(2)
    values = made.value(made.norm(given))
    pooled = []
    for liking in made.liking:
        shares = (values * liking).sum(-1).softmax(1)
        pooled.append((shares[..., None] * values).sum(1))
    expected = torch.nn.functional.normalize(made.key(torch.cat(pooled, dim=1)), dim=-1)
    torch.testing.assert_close(made.of_clips(given), expected)


def test_padding_has_no_say() -> None:
    made, given = keys(), features(2)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    found = made.of_clips(given, mask)
    torch.testing.assert_close(found[0], made.of_clips(given[:1, :4])[0])
    torch.testing.assert_close(found[1], made.of_clips(given[1:])[0])


def test_a_clips_key_does_not_depend_on_its_neighbours() -> None:
    made = keys()
    rows = [features(1, 3)[0], features(1, 7)[0] + 1, features(1, 5)[0] * 2]
    seen, mask = stacked(rows)
    assert mask is not None and mask.sum(1).tolist() == [3, 7, 5]
    for row, key in zip(rows, made.of_clips(seen, mask), strict=True):
        torch.testing.assert_close(key, made.of_clips(row[None])[0])
    alike, none = stacked([features(1)[0], features(2)[1]])
    assert none is None and alike.shape == (2, 6, CHANNELS)


def test_gradients_reach_everything_that_makes_a_similarity() -> None:
    made = keys().requires_grad_(True)
    similarity = made.of_clips(features(3)) @ made.of_sentences(by_words(STATEMENTS)).T
    (similarity.diagonal().sum() * made.log_scale.exp()).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in made.parameters())


def test_dropout_is_for_training_alone() -> None:
    made = Keys(CHANNELS, SIZE, dropout=0.5)
    texts = torch.randn(4, SENTENCE)
    assert not torch.equal(made.of_sentences(texts), made.of_sentences(texts))
    assert not torch.equal(made.of_clips(features(2)), made.of_clips(features(2)))
    made.eval()
    torch.testing.assert_close(made.of_sentences(texts), made.of_sentences(texts))
    torch.testing.assert_close(made.of_clips(features(2)), made.of_clips(features(2)))
