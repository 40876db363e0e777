"""Composing few segments and many: the same sum, in a size that a movie's length doesn't change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.errors import InputError
from chunkv2l.graph import Node, Weight
from chunkv2l.hypernet import compose as composing
from chunkv2l.hypernet.compose import CODES_AT_ONCE, compose, compressed, count_kept
from chunkv2l.index.file import IndexFile
from tests.helpers.fake_vlm import LATENT, LAYERS, RANK, fake_hypernet
from tests.helpers.indexes import some_codes, write_index
from tests.helpers.written import random_codes

SEGMENTS = 150


def effect(adapter: Adapter) -> Tensor:
    """scaling · Bᵀ A of every block, [L, D, I]."""
    return adapter.scaling * (adapter.B.double().mT @ adapter.A.double())


def weights(count: int) -> dict[int, float]:
    """Of both signs, in no order of time."""
    drawn = torch.randn(count, generator=torch.Generator().manual_seed(1)).tolist()
    return {(7 * i) % count: weight for i, weight in enumerate(drawn)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, LATENT // RANK, LATENT // RANK + 1, SEGMENTS])
def test_the_effect_is_the_weighted_sum_whatever_the_number(count: int, bias: bool) -> None:
    hypernet, codes = fake_hypernet(), random_codes(count)
    asked: list[int] = []

    def read(numbers: Sequence[int]) -> Tensor:
        asked.append(len(numbers))
        return codes[list(numbers)]

    chosen = weights(count)
    found = compose(hypernet, read, chosen, bias)
    parts = [hypernet.expand(codes[number]) for number in chosen]
    expected = effect(concat(parts, list(chosen.values()), bias=hypernet.bias if bias else None))
    torch.testing.assert_close(effect(found), expected, rtol=0, atol=2e-6 * float(expected.abs().max()))
    assert found.rank == min(count * RANK, LATENT) + (RANK if bias else 0)
    assert sum(asked) == count and max(asked) <= CODES_AT_ONCE and not found.A.requires_grad


def test_a_group_composes_with_its_chapters_own_code(tmp_path: Path) -> None:
    codes = some_codes(5)
    path = write_index(tmp_path / "a.idx", codes=codes, kind="fp32", chapters=[(0, 1), (2, 4)])
    hypernet = fake_hypernet()
    with IndexFile(path) as index:
        own = index.chapter_codes()
        weights: dict[Node, float] = {"g1": 0.5, 0: -1.0}
        found = compose(hypernet, index.codes, weights)
        assert not torch.equal(own[1], codes[3])
    expected = concat([hypernet.expand(own[1]), hypernet.expand(codes[0])], [0.5, -1.0], bias=hypernet.bias)
    torch.testing.assert_close(found.A, expected.A)
    torch.testing.assert_close(found.B, expected.B)


def test_compressed_members_are_the_best_of_their_rank() -> None:
    hypernet, codes = fake_hypernet(), random_codes(6)

    def read(numbers: Sequence[int]) -> Tensor:
        return codes[list(numbers)]

    mean = dict.fromkeys(range(6), 1 / 6)
    whole = effect(compose(hypernet, read, mean, bias=False))
    small, error = compressed(hypernet, read, mean)
    assert small.rank == RANK
    left = float((effect(small) - whole).norm() / whole.norm())
    singular = torch.linalg.svdvals(whole)
    best = float((singular[:, RANK:].square().sum() / singular.square().sum()).sqrt())
    assert left == pytest.approx(best, rel=1e-3) and float(error) == pytest.approx(best, rel=1e-3)
    exact, none = compressed(hypernet, read, mean, LATENT)
    torch.testing.assert_close(effect(exact), whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
    assert float(none) < 1e-3


# ---- weights of rank slots


def slot_weights(count: int, seed: int = 3) -> dict[int, NDArray[np.float32]]:
    """Of both signs, nodes in no order of time."""
    drawn = torch.randn(count, LAYERS, RANK, generator=torch.Generator().manual_seed(seed)).numpy()
    return {(7 * i) % count: drawn[i] for i in range(count)}


def effect_of_slots(codes: Tensor, weights: Mapping[int, Weight]) -> Tensor:
    """The sum over all slots, without the bias."""
    parts = []
    for node, weight in weights.items():
        adapter = fake_hypernet().expand(codes[node])
        factors = torch.as_tensor(np.broadcast_to(weight, (LAYERS, RANK)).copy())
        parts.append(effect(Adapter(adapter.A * factors[..., None], adapter.B, adapter.scaling)))
    return torch.stack(parts).sum(0)


def test_gates_of_one_compose_as_numbers_do() -> None:
    hypernet, codes = fake_hypernet(), random_codes(4)
    numbers = {2: 0.7, 0: -0.2, 3: 0.5}
    slots: dict[int, Weight] = {
        node: np.full((LAYERS, RANK), weight, dtype=np.float32) for node, weight in numbers.items()
    }
    expected = compose(hypernet, lambda nodes: codes[list(nodes)], numbers)
    for mixed in (slots, {**slots, 0: -0.2}):
        found = compose(hypernet, lambda nodes: codes[list(nodes)], mixed)
        torch.testing.assert_close(found.A, expected.A)
        torch.testing.assert_close(found.B, expected.B)


@pytest.mark.parametrize("kept", [1, 3, 2 * RANK, 64])
def test_the_largest_slots_of_each_layer_are_kept_in_order(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hypernet, codes, weights = fake_hypernet(), random_codes(9), slot_weights(9)
    table = np.stack(list(weights.values()))  # [n, L, r]
    largest = [np.sort(np.abs(table[:, layer]).ravel())[::-1][: kept + 1] for layer in range(LAYERS)]
    pruned: dict[int, Weight] = {
        node: np.stack(
            [
                np.where(np.abs(row) >= values[min(kept, len(values)) - 1], row, 0)
                for row, values in zip(weight, largest, strict=True)
            ]
        )
        for node, weight in weights.items()
    }
    read: list[int] = []

    def codes_of(nodes: Sequence[int]) -> Tensor:
        read.extend(nodes)
        return codes[list(nodes)]

    found = compose(hypernet, codes_of, weights, bias=False, slots_kept=kept)
    assert found.rank == min(kept, 9 * RANK)
    expected = effect_of_slots(codes, pruned)
    torch.testing.assert_close(effect(found), expected, rtol=0, atol=2e-6 * float(expected.abs().max()))
    counts = count_kept((LAYERS, RANK), weights, kept)
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == [found.rank] * LAYERS
    assert sorted(read) == sorted(node for node, by_layer in counts.items() if any(by_layer))  # no other code is read
    monkeypatch.setattr(composing, "CODES_AT_ONCE", 2)
    in_parts = compose(hypernet, codes_of, weights, bias=False, slots_kept=kept)
    torch.testing.assert_close(in_parts.A, found.A)
    torch.testing.assert_close(in_parts.B, found.B)
    with_bias = compose(hypernet, codes_of, weights, slots_kept=kept)
    assert with_bias.rank == found.rank + RANK and torch.equal(with_bias.A[:, -RANK:], hypernet.bias.A)


def test_of_equal_slots_the_earlier_are_kept_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {node: np.ones((LAYERS, RANK), dtype=np.float32) for node in range(9)}
    for batch in (64, 2):
        monkeypatch.setattr(composing, "CODES_AT_ONCE", batch)
        counts = count_kept((LAYERS, RANK), weights, 3)
        assert counts[0] == (RANK,) * LAYERS and counts[1] == (3 - RANK,) * LAYERS and not any(counts[8])


def test_ten_thousand_segments_slots_read_few_codes_at_a_time() -> None:
    hypernet, asked = fake_hypernet(), []
    some = random_codes(64)

    def codes_of(nodes: Sequence[int]) -> Tensor:
        asked.append(len(nodes))
        return some[: len(nodes)]

    found = compose(hypernet, codes_of, slot_weights(10_001))
    assert found.rank == composing.SLOTS_KEPT + RANK
    assert max(asked) <= CODES_AT_ONCE and sum(asked) <= composing.SLOTS_KEPT * LAYERS


def test_nothing_to_compose_is_a_sentence() -> None:
    with pytest.raises(InputError, match="Nothing to compose"):
        compose(fake_hypernet(), lambda numbers: random_codes(1), {})


MINI = """
import sys, torch
from chunkv2l.hypernet.compose import compose
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.indexing.progress import peak_memory
sizes = dict(latent_size=256, rank=8, num_blocks=1, num_heads=4, num_kv_heads=1)
hypernet = Hypernetwork(HypernetConfig(30, 576, 1536, **sizes))
def read(numbers):
    return torch.nn.functional.normalize(torch.randn(len(numbers), 30, 8, 256), dim=-1)
compose(hypernet, read, {i: 1.0 for i in range(4)})
before = peak_memory()
adapter = compose(hypernet, read, {i: 1.0 for i in range(600)})
print(adapter.rank, peak_memory() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory isn't known there")
def test_an_hour_of_the_default_models_size_fits() -> None:
    """600 segments side by side would take 1.2 GB, and as much again to get there."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", MINI], cwd=root, capture_output=True, text=True, check=True)
    rank, more = map(int, done.stdout.split())
    assert rank == 256 + 8 and more < 400 << 20
