"""The hypernetwork against a plain restatement of the published algorithm, over batches and sizes no fixture has.

The restatement below follows the description step by step, loops where the code batches, and shares nothing with it but
the names of the parameters. It is held against the reference's own numbers first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter, concat, scale
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork
from tests.helpers import frames2lora

HEADS, KV_HEADS, WIDTH = 16, 4, 128
State = dict[str, Tensor]


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return weight * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gated(x: Tensor, state: State, name: str) -> Tensor:
    gate, up, down = (state[f"{name}.{part}_proj.weight"] for part in ("gate", "up", "down"))
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def attend(latents: Tensor, context: Tensor, state: State, name: str) -> Tensor:
    """Latents [n, d] over context [S, d] (real tokens only) and themselves, head by head."""
    both = torch.cat([context, latents])
    q, k, v = (
        x @ state[f"{name}.{letter}_proj.weight"].T for letter, x in zip("qkv", (latents, both, both), strict=True)
    )
    out = []
    for head in range(HEADS):
        mine, shared = slice(head * WIDTH, (head + 1) * WIDTH), head // (HEADS // KV_HEADS)
        theirs = slice(shared * WIDTH, (shared + 1) * WIDTH)
        scores = q[:, mine] @ k[:, theirs].T / math.sqrt(WIDTH)
        out.append(scores.softmax(-1) @ v[:, theirs])
    return torch.cat(out, dim=1) @ state[f"{name}.o_proj.weight"].T


def resample(context: Tensor, state: State, name: str) -> Tensor:
    latents = state[f"{name}.latents_q"]
    block = 0
    while f"{name}.layers.{block}.input_latents_layernorm.weight" in state:
        here = f"{name}.layers.{block}"
        zn = rms(latents, state[f"{here}.input_latents_layernorm.weight"])
        cn = rms(context, state[f"{here}.input_context_layernorm.weight"])
        attended = attend(zn, cn, state, f"{here}.self_attn")
        latents = latents + rms(attended, state[f"{here}.post_attention_layernorm.weight"])
        inner = gated(rms(latents, state[f"{here}.pre_ff_layernorm.weight"]), state, f"{here}.mlp")
        latents = latents + rms(inner, state[f"{here}.post_ff_layernorm.weight"])
        block += 1
    return rms(latents, state[f"{name}.layernorm.weight"])


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return weight * centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5) + bias


def factors(state: State, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """features [B, L, S, D], mask [B, S] -> A [B, L, r, I], B [B, L, r, D]; one text block of one clip at a time."""
    made_a, made_b = [], []
    intermediate = state["bias_A.down_proj"].shape[-1]
    for clip, real in zip(features, mask != 0, strict=True):
        for layer, states in enumerate(clip):
            perceiver = "aggregator.perceiver"
            context = gated(states[real], state, f"{perceiver}.modality_projection")
            ranks = resample(resample(context, state, f"{perceiver}.encoder"), state, f"{perceiver}.decoder")
            mlp = "layers.0.mlp"
            inner = layer_norm(ranks, state[f"{mlp}.0.weight"], state[f"{mlp}.0.bias"])
            inner = silu(inner @ state[f"{mlp}.2.weight"].T + state[f"{mlp}.2.bias"])
            inner = inner @ state[f"{mlp}.5.weight"].T + state[f"{mlp}.5.bias"]
            ranks = ranks + layer_norm(inner, state[f"{mlp}.6.weight"], state[f"{mlp}.6.bias"])
            ranks = ranks / ranks.norm(dim=-1, keepdim=True)
            out = ranks @ state["head.weight"][layer]
            made_a.append(out[:, :intermediate] * state["scaler_A.down_proj"][0, layer])
            made_b.append(out[:, intermediate:] * state["scaler_B.down_proj"][0, layer])
    shape = features.shape[:2]
    return torch.stack(made_a).view(*shape, *made_a[0].shape), torch.stack(made_b).view(*shape, *made_b[0].shape)


def state_of(hypernet: Hypernetwork) -> State:
    return {key: value.detach().double() for key, value in hypernet.state_dict().items()}


def agrees(hypernet: Hypernetwork, features: Tensor, mask: Tensor, tolerance: float = 1e-5) -> None:
    a, b = factors(state_of(hypernet), features.double(), mask)
    with torch.no_grad():
        made = hypernet(features, mask)
    torch.testing.assert_close(made.A.double(), a, atol=tolerance, rtol=0.0)
    torch.testing.assert_close(made.B.double(), b, atol=tolerance, rtol=0.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Hypernetwork:
    return load_hypernetwork(frames2lora.hypernet_file(tmp_path_factory.mktemp("hypernet")))


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_restatement_is_the_reference(tiny: Hypernetwork) -> None:
    for name, hypernet in (
        ("case_b1", tiny),
        ("case_checkpoint", load_hypernetwork(frames2lora.FOLDER / "checkpoint_tiny.pt")),
    ):
        case = frames2lora.load(name)
        a, b = factors(state_of(hypernet), case["ctx_features"].double(), case["ctx_attn_mask"])
        torch.testing.assert_close(a.float(), case["A"], atol=1e-5, rtol=0.0)
        torch.testing.assert_close(b.float(), case["B"], atol=1e-5, rtol=0.0)


@dataclass(frozen=True)
class Case:
    batch: int
    tokens: int
    real: tuple[tuple[int, ...], ...]
    """For each clip the tokens that count; empty for all."""


CASES = {
    "one token": Case(1, 1, ((),)),
    "three clips": Case(3, 9, ((), (), ())),
    "padded right": Case(3, 9, ((0, 1, 2, 3), (), tuple(range(7)))),
    "padded left": Case(3, 9, (tuple(range(5, 9)), (), (8,))),
    "padded on both sides": Case(2, 12, (tuple(range(3, 8)), tuple(range(1, 11)))),
    "holes": Case(2, 12, ((0, 2, 4, 5, 9), (1, 11))),
    "many tokens": Case(2, 700, ((), tuple(range(0, 700, 3)))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float32])
def test_batches_and_masks(tiny: Hypernetwork, name: str, kind: torch.dtype) -> None:
    case = CASES[name]
    features = 3 * random_features(case.batch, 4, case.tokens, 64)
    mask = torch.zeros(case.batch, case.tokens)
    for clip, row, real in zip(features, mask, case.real, strict=True):
        row[list(real) if real else slice(None)] = 1
        clip[:, row == 0] = 1e4  # what is hidden must not matter
    agrees(tiny, features, mask.to(kind))


def test_a_clip_of_which_nothing_counts(tiny: Hypernetwork) -> None:
    """The latents still attend to each other: a number, not NaN."""
    mask = torch.ones(2, 5)
    mask[1] = 0
    agrees(tiny, random_features(2, 4, 5, 64), mask)


@pytest.mark.parametrize(
    "config",
    [
        HypernetConfig(1, 24, 40, latent_size=8, rank=1, num_blocks=1, num_queries=1),
        HypernetConfig(5, 20, 56, latent_size=40, rank=6, num_blocks=2, num_queries=3),
        HypernetConfig(2, 36, 12, latent_size=64, rank=16, num_blocks=4, num_queries=8),
        HypernetConfig(3, 16, 16, latent_size=16, rank=2, num_blocks=3, num_queries=16),
    ],
)
def test_other_sizes_from_a_file(config: HypernetConfig, tmp_path: Path) -> None:
    """All sizes of a file with the reference's names follow from its shapes; so does the scaling, 2·r^1.5."""
    torch.manual_seed(config.num_layers)
    made = Hypernetwork(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        made.scaler_B["down_proj"].normal_()
    torch.save(dict(made.state_dict()), tmp_path / "other.pt")
    loaded = load_hypernetwork(tmp_path / "other.pt")
    assert loaded.config == config
    assert loaded.scaling == pytest.approx(2 * config.rank**1.5)
    mask = torch.tensor([[0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]])
    agrees(loaded, random_features(2, config.num_layers, 6, config.hidden_size), mask)


def test_scalers_of_zero_and_below(tiny: Hypernetwork) -> None:
    changed = Hypernetwork(tiny.config)
    changed.load_state_dict(tiny.state_dict())
    with torch.no_grad():
        changed.scaler_A["down_proj"][0, 1] = 0.0
        changed.scaler_A["down_proj"][0, 2, 3] = -2.0
        changed.scaler_B["down_proj"].neg_()
    agrees(changed, random_features(2, 4, 7, 64), torch.ones(2, 7))


def test_bfloat16_states(tiny: Hypernetwork) -> None:
    """As the reference infers: the perceiver in bfloat16, its residual stream and all after it in float32."""
    features, mask = random_features(3, 4, 17, 64), torch.ones(3, 17)
    mask[1, :6] = 0
    with torch.no_grad():
        made = tiny(features.bfloat16(), mask)
    a, b = factors(state_of(tiny), features.bfloat16().double(), mask)
    assert made.A.dtype == made.B.dtype == torch.float32
    for found, expected in ((made.A, a), (made.B, b)):
        assert float((found - expected).norm() / expected.norm()) < 0.02
        assert float((found - expected).norm()) > 0


# --- several chunks, contexts and questions --------------------------------------------------------------------------


def combined(
    a: Tensor, b: Tensor, counts: list[int], scalers: Tensor | None, bias: tuple[Tensor, Tensor] | None, by: float
) -> list[Tensor]:
    """The effect Bᵀ A [L, D, I] of each context: chunks' updates added up, times scalers, and the bias's by² once.

    The reference's `bias_scaler` multiplies both of the bias's factors.
    """
    effects, start = [], 0
    for count in counts:
        total = torch.zeros(a.shape[1], b.shape[-1], a.shape[-1], dtype=torch.float64)
        for chunk in range(start, start + count):
            weight = 1.0 if scalers is None else float(scalers[chunk])
            total += weight * (b[chunk].double().mT @ a[chunk].double())
        if bias is not None:
            total += by * by * (bias[1].double().mT @ bias[0].double())
        effects.append(total)
        start += count
    return effects


@pytest.mark.parametrize("counts", [[1], [3], [2, 3], [1, 4, 2], [8, 1, 1, 6]])
@pytest.mark.parametrize("scalers", [None, "positive", "any sign", "zeros"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_chunks_of_contexts(tiny: Hypernetwork, counts: list[int], scalers: str | None, with_bias: bool) -> None:
    chunks = sum(counts)
    with torch.no_grad():
        made = tiny(random_features(chunks, 4, 6, 64, seed=chunks), torch.ones(chunks, 6))
    given = {
        None: None,
        "positive": torch.linspace(0.1, 2, chunks),
        "any sign": torch.linspace(-2, 2, chunks + 1)[1:],
        "zeros": torch.zeros(chunks),
    }[scalers]
    by = 0.5
    bias = tiny.bias.detach()
    expected = combined(made.A, made.B, counts, given, (bias.A, bias.B) if with_bias else None, by)
    start = 0
    for count, effect in zip(counts, expected, strict=True):
        mine = slice(start, start + count)
        whole = concat(
            made[mine].unbind(), None if given is None else given[mine], bias if with_bias else None, bias_weight=by**2
        )
        assert whole.rank == (count + with_bias) * 4 and whole.scaling == 16.0
        torch.testing.assert_close(whole.B.double().mT @ whole.A.double(), effect, atol=1e-5, rtol=0.0)
        start += count


def test_a_bias_of_weight_zero_is_none(tiny: Hypernetwork) -> None:
    with torch.no_grad():
        made = tiny(random_features(2, 4, 6, 64), torch.ones(2, 6))
    bias = tiny.bias.detach()
    without, zero = concat(made.unbind()), concat(made.unbind(), bias=bias, bias_weight=0.0)
    torch.testing.assert_close(zero.B.mT @ zero.A, without.B.mT @ without.A, atol=1e-6, rtol=0.0)
    negative: Adapter = concat([scale(bias, -1.0)], bias=bias)
    assert float((negative.B.mT @ negative.A).abs().max()) < 1e-6
