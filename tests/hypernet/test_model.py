"""The hypernetwork at other sizes than the reference's, in training and in lower precision."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, model
from chunkv2l.hypernet.perceiver import CrossAttention

CONFIG = HypernetConfig(
    num_layers=3,
    hidden_size=12,
    intermediate_size=20,
    latent_size=16,
    rank=4,
    num_blocks=2,
    num_queries=5,
    num_heads=6,
    num_kv_heads=2,
    head_dim=8,
)


def perturbed(config: HypernetConfig = CONFIG) -> Hypernetwork:
    """A hypernetwork in which every parameter matters."""
    torch.manual_seed(0)
    hypernet = Hypernetwork(config)
    with torch.no_grad():
        for parameter in hypernet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        hypernet.scaler_B["down_proj"].add_(1.0)
    return hypernet


def features(batch: int = 2, tokens: int = 7) -> Tensor:
    return torch.randn(batch, 3, tokens, 12, generator=torch.Generator().manual_seed(1))


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0.0)


def test_shapes_and_lengths() -> None:
    hypernet = perturbed()
    codes = hypernet.encode(features())
    assert codes.shape == (2, 3, 4, 16)
    close(codes.norm(dim=-1), torch.ones(2, 3, 4))
    adapter = hypernet.expand(codes)
    assert adapter.A.shape == (2, 3, 4, 20) and adapter.B.shape == (2, 3, 4, 12)
    assert hypernet.bias.A.shape == (3, 4, 20) and hypernet.bias.B.shape == (3, 4, 12)
    assert adapter.scaling == hypernet.bias.scaling == hypernet.scaling == 16.0
    assert replace(CONFIG, scaling=2.5).scaling == Hypernetwork(replace(CONFIG, scaling=2.5)).scaling == 2.5


def test_heads_are_shared_by_consecutive_queries() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(CONFIG)
    latents, context, weight = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.rand(16)
    mask = torch.rand(2, 12) > 0.3
    both = torch.cat([context * weight, latents], dim=1)

    def heads(x: Tensor, count: int) -> Tensor:
        return x.unflatten(-1, (count, 8)).transpose(1, 2)  # type: ignore[no-untyped-call, no-any-return]

    q = heads(attention.q_proj(latents), 6)
    k, v = (heads(f(both), 2).repeat_interleave(3, dim=1) for f in (attention.k_proj, attention.v_proj))
    scores = q @ k.mT / math.sqrt(8) + torch.where(mask, 0.0, -torch.inf)[:, None, None]
    out = attention.o_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    close(attention(latents, context, weight, mask[:, None, None]), out)


def test_each_text_block_is_read_and_written_by_itself() -> None:
    hypernet = perturbed()
    changed = features()
    changed[1, 2] += 1.0
    before, after = hypernet.encode(features()), hypernet.encode(changed)
    same = (before == after).flatten(2).all(-1)
    assert same.tolist() == [[True, True, True], [True, True, False]]


def test_a_fresh_one_changes_nothing_and_learns() -> None:
    torch.manual_seed(0)
    hypernet = Hypernetwork(CONFIG)
    adapter = hypernet(features())
    assert not adapter.B.any() and not hypernet.bias.B.any()
    assert bool((hypernet.scaler_A["down_proj"] == 1).all())
    wanted = torch.randn(2, 3, 12, 20)
    optimizer = torch.optim.Adam(hypernet.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        adapter = hypernet(features())
        update = adapter.B.mT @ adapter.A + (hypernet.bias.B.mT @ hypernet.bias.A)
        loss = (update - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad is not None for parameter in hypernet.parameters())


def test_initial_spreads_are_the_references() -> None:
    torch.manual_seed(0)
    hypernet = Hypernetwork(replace(CONFIG, intermediate_size=400, latent_size=64, num_layers=8))
    hypernet.requires_grad_(False)
    assert float(hypernet.head.weight.std()) == pytest.approx(0.5 / math.sqrt(64 + 412 * 4), rel=0.02)
    assert float(hypernet.bias_A["down_proj"].std()) == pytest.approx(0.2 / math.sqrt(400 * 4), rel=0.05)
    encoder = hypernet.aggregator["perceiver"].encoder
    assert isinstance(encoder, torch.nn.Module)
    assert float(encoder.get_parameter("latents_q").std()) == pytest.approx(1.0, rel=0.1)
    uniform = hypernet.get_parameter("layers.0.mlp.2.weight")
    assert float(uniform.abs().max()) == pytest.approx(1 / math.sqrt(64), rel=0.01)


def test_in_pieces_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hypernet, mask = perturbed(), torch.ones(5, 7)
    mask[2, 4:] = 0
    whole = hypernet.encode(features(5), mask)
    monkeypatch.setattr(model, "INFERENCE_TOKENS", 7 * 4)
    with torch.no_grad():
        close(hypernet.encode(features(5), mask), whole.detach(), 1e-6)
        close(hypernet.encode(features(5)), hypernet.encode(features(5), torch.ones(5, 7)), 1e-6)


def test_a_batch_is_its_clips() -> None:
    hypernet = perturbed()
    for one, code in zip(features(4), hypernet.encode(features(4)), strict=True):
        close(hypernet.encode(one[None])[0], code)


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)])
def test_expand_takes_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    hypernet = perturbed()
    codes = F.normalize(torch.randn(*leading, 3, 4, 16), dim=-1)
    adapter = hypernet.expand(codes)
    out = torch.einsum("...lrd,ldo->...lro", codes, hypernet.head.weight)
    close(adapter.A, out[..., :20] * hypernet.scaler_A["down_proj"][0])
    close(adapter.B, out[..., 20:] * hypernet.scaler_B["down_proj"][0])


def test_a_truncated_code_keeps_its_slots() -> None:
    hypernet = perturbed()
    codes = hypernet.encode(features()).detach()
    whole = hypernet.expand(codes)
    few, slots = hypernet.truncate(codes, 2)
    assert few.shape == (2, 3, 2, 16) and slots.shape == (2, 3, 2)
    sizes = whole.A.norm(dim=-1) * whole.B.norm(dim=-1)
    assert torch.equal(slots, sizes.topk(2).indices.sort().values)
    assert not torch.equal(slots, torch.tensor([0, 1]).expand(2, 3, 2))
    adapter = hypernet.expand(few, slots)
    for name in ("A", "B"):
        full = getattr(whole, name)
        close(getattr(adapter, name), full.gather(-2, slots[..., None].expand(*slots.shape, full.shape[-1])))
    same = hypernet.expand(codes[..., [3, 1], :], torch.tensor([3, 1]))
    close(same.A, whole.A[..., [3, 1], :])
    close(hypernet.expand(codes[..., :2, :]).B, whole.B[..., :2, :])  # without slots: the first ones


def test_bfloat16_states_without_autocast_leave_the_rest_in_float32() -> None:
    hypernet, seen = perturbed(), []
    perceiver = hypernet.aggregator["perceiver"]
    perceiver.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    hypernet.layers[0].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    codes = hypernet.encode(features().bfloat16())
    assert seen == [torch.float32, torch.float32] and codes.dtype == torch.float32  # the residual stream stays float32
    assert hypernet.expand(codes).A.dtype == torch.float32
    exact = hypernet.encode(features())
    assert 1e-4 < float((codes - exact).detach().abs().max()) < 0.05


def test_autocast_covers_everything_in_training() -> None:
    hypernet = perturbed()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        adapter: Adapter = hypernet(features(), torch.ones(2, 7))
    assert adapter.A.dtype == adapter.B.dtype == torch.bfloat16
    adapter.B.float().sum().backward()  # type: ignore[no-untyped-call]
    exact = hypernet(features())
    assert float((adapter.A.float() - exact.A).detach().abs().max()) < 0.05


def test_mistakes_get_a_sentence() -> None:
    hypernet = perturbed()
    with pytest.raises(InputError, match=r"reads states \[B, 3, S, 12\], not \[2, 4, 7, 12\]"):
        hypernet.encode(torch.zeros(2, 4, 7, 12))
    with pytest.raises(InputError, match="mask must be"):
        hypernet.encode(features(), torch.ones(2, 8))
    with pytest.raises(InputError, match="belong to another model"):
        hypernet.expand(torch.zeros(3, 4, 17))
    with pytest.raises(InputError, match="at most 4 ranks, not 5"):
        hypernet.expand(torch.zeros(3, 5, 16))
    with pytest.raises(InputError, match="at least one rank"):
        hypernet.truncate(torch.zeros(3, 4, 16), 0)
    with pytest.raises(InputError, match="equally"):
        replace(CONFIG, num_kv_heads=4)
    with pytest.raises(InputError, match="rank must be a positive"):
        replace(CONFIG, rank=0)


def test_clips_of_one_length_go_together_without_their_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    hypernet = perturbed()
    batch = features(5, 9)
    lengths = [9, 4, 9, 1, 4]
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).long()
    mask[4] = torch.tensor([0, 0, 1, 0, 0, 1, 1, 0, 1])  # padded on the left and in between: another group
    seen: list[tuple[int, ...]] = []
    perceiver = hypernet.aggregator["perceiver"]
    with monkeypatch.context() as patch:

        def watched(states: Tensor, mask: Tensor | None = None) -> Tensor:
            seen.append((*states.shape[:2], mask is None))
            out: Tensor = type(perceiver).forward(perceiver, states, mask)
            return out

        patch.setattr(perceiver, "forward", watched)
        with torch.no_grad():
            together = hypernet.encode(batch, mask)
    assert sorted(seen) == [(3, 1, True), (3, 4, True), (3, 4, True), (6, 9, True)]
    close(together, hypernet.encode(batch, mask))  # with gradients: padded and masked
    for row in range(5):
        with torch.no_grad():
            close(together[row : row + 1], hypernet.encode(batch[row : row + 1, :, mask[row] != 0]))


def test_adapters_in_a_lower_precision_follow_the_weights() -> None:
    network = perturbed()
    with torch.no_grad():
        codes = network.encode(features())

    def low(grad: bool) -> Adapter:
        with torch.set_grad_enabled(grad), torch.autocast("cpu", dtype=torch.bfloat16):
            return network.expand(codes).detach()

    kept, plain = low(False), low(True)  # with gradients on, autocast itself casts
    assert kept.A.dtype == torch.bfloat16
    assert torch.equal(kept.A, plain.A) and torch.equal(kept.B, plain.B)
    with torch.no_grad():
        network.head.weight.mul_(2.0)
        assert network.expand(codes).A.dtype == torch.float32
    changed = low(False)
    assert torch.equal(changed.A, 2 * kept.A) and torch.equal(changed.B, 2 * kept.B)
