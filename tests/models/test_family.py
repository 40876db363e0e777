"""`mini`'s coarse way to score, at a tiny size: bfloat16 on a CPU that is made for it, nothing elsewhere."""

from __future__ import annotations

import pytest
import torch

from chunkv2l.adapter.inject import inject
from chunkv2l.graph import segment_graph
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.models import UNFITTED, Model
from chunkv2l.models.mini.vlm import MiniVLM
from chunkv2l.routing.router import Router
from chunkv2l.routing.scoring import EXACT, Budget, Scoring
from tests.helpers import tiny_mini
from tests.helpers.pieces import pieces

STATEMENTS = ["A dog runs.", "Two men in red shirts walk."]
RANK, LATENT = 2, 8


def vlm(reading: torch.dtype) -> MiniVLM:
    parts = tiny_mini.tiny().vlm
    return MiniVLM(parts.language, parts.vision, parts.connector, parts.tokenizer, reading=reading)


def model(reading: torch.dtype) -> Model:
    config = HypernetConfig(
        num_layers=tiny_mini.LAYERS, hidden_size=tiny_mini.HIDDEN, intermediate_size=tiny_mini.INTERMEDIATE,
        latent_size=LATENT, rank=RANK, num_blocks=1, num_queries=2, num_heads=2, num_kv_heads=1, head_dim=4,
        scaling=1.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        hypernet = Hypernetwork(config)
        for name, parameter in hypernet.named_parameters():
            if "scaler_B" in name or "head.weight" in name:
                torch.nn.init.normal_(parameter, std=0.5)
    return Model("mini", vlm(reading), hypernet.requires_grad_(False).eval(), UNFITTED, {})


def test_coarse_scores_are_near_the_exact_ones_and_leave_them_alone() -> None:
    fast, adapters = vlm(torch.bfloat16), tiny_mini.adapter(5)
    exact = fast.score(STATEMENTS, adapters)
    assert fast.coarse is not None and fast.coarse.precision == torch.bfloat16
    coarse = fast.coarse.score(STATEMENTS, adapters)
    low = fast.coarse.score(STATEMENTS, adapters.to(dtype=torch.bfloat16))
    assert coarse.dtype == torch.float32 and coarse.shape == exact.shape
    for found in (coarse, low):
        assert 0 < float((found - exact).abs().max()) < 0.1 * float(exact.std())
    assert torch.equal(fast.score(STATEMENTS, adapters), exact)
    assert torch.equal(exact, tiny_mini.tiny().vlm.score(STATEMENTS, adapters))


def test_the_coarse_way_has_hooks_and_matrices_of_its_own() -> None:
    fast = vlm(torch.bfloat16)
    assert fast.coarse is not None
    exact, coarse = fast.score(STATEMENTS), fast.coarse.score(STATEMENTS)
    with inject(fast.targets, tiny_mini.adapter()):
        assert torch.equal(fast.coarse.score(STATEMENTS), coarse)
    with inject(fast.coarse.targets, tiny_mini.adapter()):
        assert torch.equal(fast.score(STATEMENTS), exact)
        assert not torch.equal(fast.coarse.score(STATEMENTS), coarse)
    assert {p.dtype for p in fast.language.parameters()} == {torch.float32}
    matrices = [m for m in fast.coarse.decoder.model.modules() if isinstance(m, torch.nn.Linear)]
    assert {m.weight.dtype for m in [*matrices, fast.coarse.decoder.head]} == {torch.bfloat16}
    assert fast.coarse is fast.coarse  # cast once


def test_in_float32_there_is_no_coarse_way() -> None:
    assert vlm(torch.float32).coarse is None


@pytest.mark.parametrize("reading", [torch.float32, torch.bfloat16])
def test_a_question_is_answered_with_exact_scores_in_either_precision(reading: torch.dtype) -> None:
    codes = torch.nn.functional.normalize(
        torch.randn(24, tiny_mini.LAYERS, RANK, LATENT, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    graph = segment_graph(pieces(24))

    def asked(precision: torch.dtype) -> Scoring:
        router = Router(model(precision), lambda nodes: codes[[int(node) for node in nodes]], [None] * 24)
        scoring = Scoring(router, STATEMENTS[0], Budget(None), lambda _: [], graph)
        scoring.score(range(24))
        return scoring

    found, exact = asked(reading).nats, asked(torch.float32).nats
    best = sorted(range(24), key=lambda node: -found[node])[:EXACT]
    assert [found[node] for node in best] == pytest.approx([exact[node] for node in best], abs=1e-4)
    equal = [found[node] == pytest.approx(exact[node], abs=1e-4) for node in range(24) if node not in best]
    assert all(equal) if reading == torch.float32 else not any(equal)
