"""Learned keys: unit vectors that don't depend on how long a movie's batch is, and that training can move."""

from __future__ import annotations

import torch

from chunkv2l.hypernet.keys import Keys

LAYERS, RANK, LATENT, HIDDEN = 3, 2, 8, 16


def keys() -> Keys:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Keys(LAYERS, RANK, LATENT, HIDDEN, size=5)
        torch.nn.init.normal_(made.pool)
    return made


def codes(count: int) -> torch.Tensor:
    random = torch.randn(count, LAYERS, RANK, LATENT, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(random, dim=-1)


def test_keys_and_queries_are_unit_vectors_a_row_each() -> None:
    states = torch.randn(4, HIDDEN, generator=torch.Generator().manual_seed(2))
    for made in (keys().of_codes(codes(6)), keys().of_states(states), keys().of_states(states.bfloat16())):
        assert made.shape[1] == 5
        torch.testing.assert_close(made.norm(dim=-1), torch.ones(len(made)))
    torch.testing.assert_close(keys().of_codes(codes(6))[2:3], keys().of_codes(codes(6)[2:3]))


def test_each_channel_is_pooled_with_weights_of_its_own() -> None:
    made, given = keys(), codes(1)
    weights = made.pool.flatten(0, 1).softmax(0)
    pooled = torch.stack(
        [(given.flatten(1, 2)[0, :, channel] * weights[:, channel]).sum() for channel in range(LATENT)]
    )
    expected = torch.nn.functional.normalize(made.key(pooled), dim=0)
    torch.testing.assert_close(made.of_codes(given)[0], expected)
    made.pool.data[0, 0] += 50  # all of the weight on the first vector
    first = torch.nn.functional.normalize(made.key(given[0, 0, 0]), dim=0)
    torch.testing.assert_close(made.of_codes(given)[0], first, atol=1e-5, rtol=0.0)


def test_gradients_reach_everything_that_makes_a_similarity() -> None:
    made = keys()
    states = torch.randn(2, HIDDEN, generator=torch.Generator().manual_seed(3))
    ((made.of_codes(codes(2)) * made.of_states(states)).sum() * made.log_scale.exp()).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in made.parameters())


def test_a_bent_query_is_a_unit_vector_and_dropout_is_for_training_alone() -> None:
    made = Keys(LAYERS, RANK, LATENT, HIDDEN, size=5, inner=12, dropout=0.5)
    states = torch.randn(4, HIDDEN)
    assert not torch.equal(made.of_states(states), made.of_states(states))
    made.eval()
    torch.testing.assert_close(made.of_states(states), made.of_states(states))
    torch.testing.assert_close(made.of_states(states).norm(dim=-1), torch.ones(4))
    assert made.of_codes(codes(2)).shape == (2, 5)
