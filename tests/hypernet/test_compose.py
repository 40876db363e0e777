"""Composing few segments and many: the same sum, in a size that a movie's length doesn't change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.errors import InputError
from chunkv2l.graph import Node
from chunkv2l.hypernet.compose import CODES_AT_ONCE, compose, compressed
from chunkv2l.index.file import IndexFile
from tests.helpers.fake_vlm import LATENT, RANK, fake_hypernet
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
