"""Compute a Llama text decoder as one pure function a block, for training: few kernels, compiled once for all blocks.

Every VLM of the toolkit has a Llama decoder (SmolLM2). Questions are answered by transformers'
modules. Training takes their weights once (q, k, v and gate, up fused), runs blocks in bfloat16 without a padding mask
(rows are padded on the right, which a causal block never attends to), and lets gradients flow through adapters.
`tests/models/mini/test_shipped.py` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.fx.experimental._config
from torch import Tensor
from torch.nn import functional as F

from chunkv2l.errors import InputError
from chunkv2l.models.text.decoder import TextDecoder


class Block(NamedTuple):
    """Weights of one text block; Dq, Dk: widths of all query and all key heads."""

    norm1: Tensor  # [D]
    qkv: Tensor  # [Dq + 2 Dk, D]
    out: Tensor  # [D, Dq]
    norm2: Tensor  # [D]
    gate_up: Tensor  # [2 I, D]
    down: Tensor  # [D, I]


@dataclass(frozen=True)
class Decoder:
    """The weights of a Llama decoder."""

    blocks: tuple[Block, ...]
    norm: Tensor  # [D]
    embedding: Tensor  # [V, D]
    head: Tensor  # [V, D]
    heads: int
    kv_heads: int
    eps: float
    rope_theta: float

    def embed(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.embedding)

    def with_blocks(self, blocks: list[Block]) -> Decoder:
        """Return the decoder with other block weights."""
        return Decoder(
            tuple(blocks), self.norm, self.embedding, self.head, self.heads, self.kv_heads, self.eps, self.rope_theta
        )


def from_llama(model: Any, dtype: torch.dtype = torch.bfloat16) -> Decoder:
    """Take the weights of a `LlamaForCausalLM`, or of anything with its `.model.layers` and `.lm_head`, in `dtype`."""
    text, config = model.model, model.config
    blocks = []
    for layer in text.layers:
        attention, mlp = layer.self_attn, layer.mlp
        block = Block(
            layer.input_layernorm.weight,
            torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]),
            attention.o_proj.weight,
            layer.post_attention_layernorm.weight,
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
            mlp.down_proj.weight,
        )
        blocks.append(Block(*(weight.detach().to(dtype) for weight in block)))
    return Decoder(
        tuple(blocks),
        text.norm.weight.detach().to(dtype),
        text.embed_tokens.weight.detach().to(dtype),
        model.lm_head.weight.detach().to(dtype),
        config.num_attention_heads,
        config.num_key_value_heads,
        config.rms_norm_eps,
        config.rope_parameters["rope_theta"],
    )


def from_text(text: TextDecoder, dtype: torch.dtype = torch.bfloat16) -> Decoder:
    """Take the weights of a VLM's language model.

    Raises:
        InputError: it isn't a Llama as these functions compute it.
    """
    config: Any = text.model.config
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    odd = [
        ("biases", getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)),
        (f"rotary embeddings of the type {rope_type!r}", rope_type != "default"),
        (f"the activation {config.hidden_act!r}", config.hidden_act != "silu"),
        ("heads of another width", head_dim * config.num_attention_heads != config.hidden_size),
        ("a head with a bias", getattr(text.head, "bias", None) is not None),
    ]
    if unsupported := [name for name, is_there in odd if is_there]:
        raise InputError(f"This language model can't be trained for: it has {', '.join(unsupported)}.")
    return from_llama(SimpleNamespace(model=text.model, lm_head=text.head, config=config), dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def rope(
    length: int, head_dim: int, theta: float, device: torch.device, dtype: torch.dtype, start: int = 0
) -> tuple[Tensor, Tensor]:
    """Return cos and sin [S, head_dim] of the rotary embedding at positions `start` … `start` + S − 1."""
    frequency = theta ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angle = torch.arange(start, start + length, device=device, dtype=torch.float32)[:, None] * frequency
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def run_block(
    x: Tensor,
    block: Block,
    cos: Tensor,
    sin: Tensor,
    a: Tensor | None,
    b: Tensor | None,
    heads: int,
    kv_heads: int,
    eps: float,
) -> Tensor:
    """Run one text block. x [Q, S, D]; a [n, R, I] and b [n, R, D] serve Q / n consecutive rows each (scaling inside
    b)."""
    q, k, v = _project(x, block, cos, sin, heads, kv_heads, eps)
    k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _after(x, attended, block, a, b, eps)


def _project(
    x: Tensor, block: Block, cos: Tensor, sin: Tensor, heads: int, kv_heads: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [Q, heads, S, h], keys and values [Q, kv_heads, S, h], rotated."""
    rows, length, _ = x.shape
    head_dim = block.out.shape[1] // heads
    qkv = F.linear(rms_norm(x, block.norm1, eps), block.qkv)
    q, k, v = torch.split(qkv, [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim], dim=-1)
    q = rotate(q.view(rows, length, heads, head_dim).transpose(1, 2), cos, sin)
    k = rotate(k.view(rows, length, kv_heads, head_dim).transpose(1, 2), cos, sin)
    return q, k, v.view(rows, length, kv_heads, head_dim).transpose(1, 2)


def _after(x: Tensor, attended: Tensor, block: Block, a: Tensor | None, b: Tensor | None, eps: float) -> Tensor:
    """Run the part of a block after attention [Q, heads, S, h]."""
    rows, length, width = x.shape
    x = x + F.linear(attended.transpose(1, 2).reshape(rows, length, -1), block.out)
    gate, up = F.linear(rms_norm(x, block.norm2, eps), block.gate_up).chunk(2, dim=-1)
    inner = F.silu(gate) * up
    y = F.linear(inner, block.down)
    if a is not None and b is not None:
        grouped = inner.reshape(a.shape[0], -1, inner.shape[-1])
        y = y + torch.bmm(torch.bmm(grouped, a.transpose(1, 2)), b).view(rows, length, width)
    return x + y


Past = list[tuple[Tensor, Tensor]]
"""Keys and values [B, kv_heads, P, h] of every block."""


def read(decoder: Decoder, x: Tensor, states: bool = False) -> tuple[Past, Tensor | None]:
    """Run a prefix that several rows share.

    Args:
        x: [B, P, D], without padding.
        states: also return the input of every block.

    Returns:
        keys and values for `go_on`; states [B, L, P, D] or None.
    """
    cos, sin = _rope(decoder, x)
    past: Past = []
    kept = []
    for block in decoder.blocks:
        if states:
            kept.append(x)
        q, k, v = _project(x, block, cos, sin, decoder.heads, decoder.kv_heads, decoder.eps)
        past.append((k, v))
        k, v = (t.repeat_interleave(decoder.heads // decoder.kv_heads, dim=1) for t in (k, v))
        x = _after(x, F.scaled_dot_product_attention(q, k, v, is_causal=True), block, None, None, decoder.eps)
    return past, torch.stack(kept, dim=1) if states else None


def go_on(decoder: Decoder, past: Past, owner: Tensor, x: Tensor, keep: int | None = None) -> Tensor:
    """Run rows that follow prefixes which `read` has run: the same as running each row with its prefix.

    Args:
        owner: [Q], the prefix of each row.
        x: [Q, T, D], right-padded.
        keep: of the prefix only the first `keep` tokens count; all if None.

    Returns:
        normed output [Q, T, D].
    """
    before = past[0][0].shape[2] if keep is None else keep
    cos, sin = _rope(decoder, x, before)
    count = x.shape[1]
    mask = torch.ones(count, before + count, dtype=torch.bool, device=x.device).tril(before)
    for block, (k0, v0) in zip(decoder.blocks, past, strict=True):
        q, k, v = _project(x, block, cos, sin, decoder.heads, decoder.kv_heads, decoder.eps)
        k, v = (torch.cat([old[owner, :, :before], new], dim=2) for old, new in ((k0, k), (v0, v)))
        k, v = (t.repeat_interleave(decoder.heads // decoder.kv_heads, dim=1) for t in (k, v))
        x = _after(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), block, None, None, decoder.eps)
    return rms_norm(x, decoder.norm, decoder.eps)


def _rope(decoder: Decoder, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
    head_dim = decoder.blocks[0].out.shape[1] // decoder.heads
    return rope(x.shape[1], head_dim, decoder.rope_theta, x.device, x.dtype, start)


Runner = Callable[..., Tensor]


def compiled() -> Runner:
    """Return `run_block`, compiled once for all blocks and shapes.

    Sizes that happen to be equal must not be taken for the same size: each coincidence would compile anew.
    """
    torch.fx.experimental._config.use_duck_shape = False
    torch._dynamo.config.recompile_limit = 32
    return torch.compile(run_block, dynamic=True)


def forward(
    decoder: Decoder,
    x: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    *,
    states: bool = False,
    runner: Runner = run_block,
) -> tuple[Tensor, Tensor | None]:
    """Run all blocks over embeddings.

    Args:
        x: [Q, S, D], right-padded.
        a, b: adapters [n, L, R, I] and [n, L, R, D] (n divides Q), the scaling folded into b.
        states: also return the input of every block.
        runner: `run_block`, or its compiled form.

    Returns:
        normed output [Q, S, D]; states [Q, L, S, D] or None.
    """
    cos, sin = _rope(decoder, x)
    if a is not None and torch.is_grad_enabled() and a.requires_grad and not x.requires_grad:
        x = x.detach().requires_grad_()  # so that the first block compiles like all others
    kept = []
    for index, block in enumerate(decoder.blocks):
        if states:
            kept.append(x)
        layer_a = None if a is None else a[:, index]
        layer_b = None if b is None else b[:, index]
        x = runner(x, block, cos, sin, layer_a, layer_b, decoder.heads, decoder.kv_heads, decoder.eps)
    return rms_norm(x, decoder.norm, decoder.eps), torch.stack(kept, dim=1) if states else None
