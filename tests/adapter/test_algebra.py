"""The algebra of adapters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter, compress, concat, largest, scale, stack, truncate
from chunkv2l.adapter.inject import inject
from chunkv2l.errors import InputError
from tests.helpers import frames2lora


def adapter(rank: int = 4, seed: int = 0, leading: tuple[int, ...] = (), scaling: float = 2.0) -> Adapter:
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(*leading, 3, rank, 10, generator=random)
    return Adapter(a, torch.randn(*leading, 3, rank, 6, generator=random), scaling)


def effect(x: Adapter) -> Tensor:
    """scaling · Bᵀ A of every block, [..., L, D, I], in float64."""
    return x.scaling * (x.B.double().mT @ x.A.double())


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", ["plain", "bias", "scalers", "bias_scalers"])
def test_concat_is_exactly_the_references(name: str) -> None:
    case = frames2lora.load(f"combined_{name}")
    scaling = float(case["linear.scaling"])
    chunks = Adapter(case["in.A"], case["in.B"], scaling)
    bias = Adapter(case["in.bias_A"], case["in.bias_B"], scaling) if "in.bias_A" in case else None
    weights = case.get("in.scalers")
    linear = nn.Linear(24, 10, bias=False)
    linear.weight = nn.Parameter(case["linear.weight"], requires_grad=False)
    block = int(case["linear.layer_idx"])
    start = row = 0
    for context, (count, queries) in enumerate(
        zip(case["in.n_chunks"].tolist(), case["linear.n_qs"].tolist(), strict=True)
    ):
        mine = slice(start, start + count)
        whole = concat(chunks[mine].unbind(), None if weights is None else weights[mine], bias)
        assert whole.rank == (count + (bias is not None)) * 4
        assert torch.equal(whole.A, case["out.A"][context, :, : whole.rank])
        assert torch.equal(whole.B, case["out.B"][context, :, : whole.rank])
        assert not case["out.A"][context, :, whole.rank :].any()  # the reference's padding
        rows = slice(row, row + queries)
        only = Adapter(whole.A[block : block + 1], whole.B[block : block + 1], scaling)
        with inject([linear], only):
            found, expected = linear(case["linear.x"][rows]), case["linear.y"][rows]
        size = float(expected.abs().max())  # some hundreds: a CPU adds float32 in an order of its own
        torch.testing.assert_close(found / size, expected / size, atol=1e-6, rtol=0.0)
        start, row = start + count, row + queries


def test_the_effect_of_a_concatenation_is_the_weighted_sum() -> None:
    parts = [adapter(rank, seed) for seed, rank in enumerate((4, 1, 7))]
    bias = adapter(2, 9)
    whole = concat(parts, np.array([0.0, -1.5, 0.25], dtype=np.float32), bias=bias, bias_weight=0.5)
    expected = -1.5 * effect(parts[1]) + 0.25 * effect(parts[2]) + 0.5 * effect(bias)
    close(effect(whole), expected)
    assert whole.rank == 14
    assert torch.equal(whole.B, torch.cat([part.B for part in (*parts, bias)], dim=1))  # weights touch A only


def test_other_scalings_are_folded_into_a() -> None:
    parts = [adapter(2, 0, scaling=8.0), adapter(3, 1, scaling=1.0)]
    close(effect(concat(parts)), effect(parts[0]) + effect(parts[1]))
    close(
        effect(stack([adapter(2, 0, scaling=8.0), adapter(2, 1, scaling=3.0)])[1]), effect(adapter(2, 1, scaling=3.0))
    )


def test_leading_dimensions_broadcast() -> None:
    many, bias = adapter(4, 0, leading=(5,)), adapter(2, 1)
    whole = concat([many], bias=bias)
    assert whole.A.shape == (5, 3, 6, 10)
    for one, part in zip(whole.unbind(), many.unbind(), strict=True):
        close(effect(one), effect(part) + effect(bias))


def test_weights_may_be_tensors_of_the_batch_and_keep_their_gradient() -> None:
    many = adapter(4, 0, leading=(5,))
    weights = torch.linspace(-1, 1, 10).view(2, 5).requires_grad_()
    whole = concat([many, many], weights)
    close(effect(whole[1]), float(weights.detach()[:, 1].sum()) * effect(many[1]))
    whole.A.square().sum().backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None and bool((weights.grad != 0).all())
    close(effect(scale(many, weights[0].detach())[4]), float(weights.detach()[0, 4]) * effect(many[4]))


@pytest.mark.parametrize("weights", [None, [0.5, -2.0]])
def test_precisions_mix_and_gradients_pass(weights: list[float] | None) -> None:
    half, whole = adapter(2).to(dtype=torch.bfloat16), adapter(3, 1)
    mixed = concat([half, whole], weights)
    assert mixed.A.dtype == mixed.B.dtype == torch.float32
    close(effect(mixed), effect(concat([half.to(dtype=torch.float32), whole], weights)))
    whole.A.requires_grad_()
    concat([adapter(2), whole], weights).A.sum().backward()  # type: ignore[no-untyped-call]
    assert whole.A.grad is not None and torch.equal(
        whole.A.grad, torch.full_like(whole.A, 1.0 if weights is None else weights[1])
    )


def test_stack_and_unbind_undo_each_other() -> None:
    parts = [adapter(4, seed) for seed in range(3)]
    many = stack(parts)
    assert many.leading == (3,) and many.rank == 4 and many.num_layers == 3
    for one, part in zip(many.unbind(), parts, strict=True):
        assert torch.equal(one.A, part.A) and torch.equal(one.B, part.B)
    assert torch.equal(many[1].A, parts[1].A)


def test_scale() -> None:
    one = adapter()
    close(effect(scale(one, -2.0)), -2 * effect(one))
    assert torch.equal(scale(one, 0.0).A, torch.zeros_like(one.A))
    assert scale(one, -2.0).B is one.B


def test_truncate_keeps_the_largest_ranks_of_each_block_in_order() -> None:
    one = adapter(6, leading=(2,))
    few = truncate(one, 2)
    sizes = one.A.norm(dim=-1) * one.B.norm(dim=-1)
    slots = largest(one, 2)
    for index in [(n, block) for n in range(2) for block in range(3)]:
        expected = sorted(sorted(range(6), key=lambda rank: float(sizes[index][rank]))[-2:])
        assert slots[index].tolist() == expected
        assert torch.equal(few.A[index], one.A[index][expected])
        assert torch.equal(few.B[index], one.B[index][expected])
    assert torch.equal(truncate(one, 99).A, one.A)


def test_compress_is_the_best_approximation() -> None:
    whole = concat([adapter(4, 0, leading=(2,)), adapter(4, 1, leading=(2,))])
    for rank in (1, 3, 5):
        small, error = compress(whole, rank)
        assert small.rank == rank and small.scaling == whole.scaling and error.shape == (2,)
        full = effect(whole)
        u, s, vh = torch.linalg.svd(full, full_matrices=False)
        best = u[..., :rank] * s[..., None, :rank] @ vh[..., :rank, :]
        close(effect(small), best, 1e-4)
        true = (effect(small) - full).square().sum((-3, -2, -1)).sqrt() / full.square().sum((-3, -2, -1)).sqrt()
        close(error, true, 1e-5)


def test_compress_loses_nothing_that_ranks_suffice_for() -> None:
    one = adapter(3)
    double, error = compress(concat([one, one, scale(one, -0.5)]), 3)
    close(effect(double), 1.5 * effect(one), 1e-5)
    assert float(error) < 1e-5
    wide, error = compress(adapter(40), 64)  # no more than D = 6 ranks are needed
    assert wide.rank == 6 and float(error) == 0.0
    close(effect(wide), effect(adapter(40)), 1e-4)


def test_compress_of_nothing_is_nothing() -> None:
    nothing, error = compress(scale(adapter(), 0.0), 2)
    assert float(error) == 0.0 and not effect(nothing).any() and bool(torch.isfinite(nothing.B).all())


def test_to() -> None:
    half = adapter().to(dtype=torch.bfloat16)
    assert half.A.dtype == half.B.dtype == torch.bfloat16
    assert half.to("cpu").A is half.A


def other_model() -> Adapter:
    return Adapter(torch.zeros(3, 4, 11), torch.zeros(3, 4, 6), 2.0)


def other_target() -> Adapter:
    return Adapter(torch.zeros(3, 4, 10), torch.zeros(3, 4, 6), 2.0, target="up_proj")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: concat([]), "no adapter to compose"),
        (lambda: concat([adapter(), other_model()]), "different models"),
        (lambda: concat([adapter()], bias=other_target()), "different models"),
        (lambda: concat([adapter()], [1.0, 2.0]), "1 adapters need as many weights, not 2"),
        (lambda: stack([]), "no adapter to stack"),
        (lambda: stack([adapter(4), adapter(5)]), "one rank to be stacked, not 4 and 5"),
        (lambda: truncate(adapter(), 0), "at least one rank"),
        (lambda: compress(adapter(), 0), "at least one rank"),
        (lambda: Adapter(torch.zeros(3, 4, 10), torch.zeros(3, 5, 6), 1.0), "agree up to the last dimension"),
        (lambda: Adapter(torch.zeros(4, 10), torch.zeros(4, 6), 1.0), "agree up to the last dimension"),
        (lambda: adapter()[0], "not a stack"),
        (lambda: adapter().unbind(), "can't be taken apart"),
    ],
)
def test_mistakes_get_a_sentence(wrong: object, says: str) -> None:
    assert callable(wrong)
    with pytest.raises(InputError, match=says):
        wrong()
