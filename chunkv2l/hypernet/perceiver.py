"""Turn one text block's token states into r rank embeddings: the perceiver (docs/algorithm.md, steps 3–5).

Parameter names are the released checkpoints'. Symbols: N sequences (clips × text blocks), S tokens, D their width,
n latents, d the latents' width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.init import normal

EPS = 1e-6


def unit_rms(x: Tensor) -> Tensor:
    """Divide x by its root mean square along the last dimension, computed in float32, in x's dtype."""
    return F.rms_norm(x.float(), (x.shape[-1],), None, EPS).to(x.dtype)


class RMSNorm(nn.Module):
    """Compute weight · x / rms(x), the division in float32 (docs/algorithm.md, "The hypernetwork")."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * unit_rms(x)


class GatedMLP(nn.Module):
    """Compute down(silu(gate x) · up x), no biases."""

    def __init__(self, size: int, hidden: int, out: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size, hidden, bias=False)
        self.up_proj = nn.Linear(size, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class CrossAttention(nn.Module):
    """Let latents attend to context and latents together: grouped queries, no rotary, no biases.

    See docs/algorithm.md, step 4.
    """

    def __init__(self, config: HypernetConfig) -> None:
        super().__init__()
        d, width = config.latent_size, config.num_heads * config.head_dim
        self.kv_heads, self.head_dim = config.num_kv_heads, config.head_dim
        self.groups = config.num_heads // config.num_kv_heads
        self.q_proj = nn.Linear(d, width, bias=False)
        self.k_proj = nn.Linear(d, config.num_kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(d, config.num_kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(width, d, bias=False)

    def forward(self, latents: Tensor, context: Tensor, context_weight: Tensor, mask: Tensor | None) -> Tensor:
        """Attend.

        Args:
            latents: normed [N, n, d].
            context: [N, S, d] of unit RMS; its norm's weight comes apart, so that all layers share one normalisation.
            context_weight: [d].
            mask: bool [N, 1, 1, S + n], true where a key counts; None means that all do.

        Returns:
            [N, n, d].
        """
        n, queries, _ = latents.shape
        weight = torch.cat([self.k_proj.weight, self.v_proj.weight])
        keys_values = torch.cat([F.linear(context, weight * context_weight), F.linear(latents, weight)], dim=1)
        keys, values = keys_values.view(n, -1, 2, self.kv_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        # Query head h reads key head h // groups. The heads of a group are laid along the queries instead of repeating
        # keys and values for them: [N, n, kv, groups, head] -> [N, kv, groups · n, head].
        q = self.q_proj(latents).view(n, queries, self.kv_heads, self.groups, self.head_dim)
        q = q.permute(0, 2, 3, 1, 4).reshape(n, self.kv_heads, self.groups * queries, self.head_dim)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        out = out.view(n, self.kv_heads, self.groups, queries, self.head_dim).permute(0, 3, 1, 2, 4)
        result: Tensor = self.o_proj(out.reshape(n, queries, -1))
        return result


class PerceiverLayer(nn.Module):
    """Apply cross-attention, then an MLP, each normed before and after (docs/algorithm.md, step 4).

    The residual adds normed outputs.
    """

    def __init__(self, config: HypernetConfig) -> None:
        super().__init__()
        d = config.latent_size
        self.input_latents_layernorm = RMSNorm(d)
        self.input_context_layernorm = RMSNorm(d)
        self.self_attn = CrossAttention(config)
        self.post_attention_layernorm = RMSNorm(d)
        self.pre_ff_layernorm = RMSNorm(d)
        self.post_ff_layernorm = RMSNorm(d)
        self.mlp = GatedMLP(d, 4 * d, d)

    def forward(self, latents: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Return new latents [N, n, d] from latents [N, n, d] and context [N, S, d] of unit RMS."""
        normed = self.input_latents_layernorm(latents)
        attended = self.self_attn(normed, context, self.input_context_layernorm.weight, mask)
        latents = latents + self.post_attention_layernorm(attended)
        out: Tensor = latents + self.post_ff_layernorm(self.mlp(self.pre_ff_layernorm(latents)))
        return out


class Resampler(nn.Module):
    """Resample a context into learned latents: layers that each read the same context, and a final norm."""

    def __init__(self, config: HypernetConfig, num_latents: int, num_layers: int) -> None:
        super().__init__()
        self.latents_q = nn.Parameter(normal(num_latents, config.latent_size))
        self.layers = nn.ModuleList([PerceiverLayer(config) for _ in range(num_layers)])
        self.layernorm = RMSNorm(config.latent_size)

    def forward(self, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return latents [N, num_latents, d] of a context [N, S, d]; mask bool [N, S], or None for all."""
        n = context.shape[0]
        context = unit_rms(context)
        latents = self.latents_q.expand(n, -1, -1)
        if mask is not None:
            mask = F.pad(mask, (0, latents.shape[1]), value=True)[:, None, None]
        for layer in self.layers:
            latents = layer(latents, context, mask)
        out: Tensor = self.layernorm(latents)
        return out


class Perceiver(nn.Module):
    """Turn token states into rank embeddings: projection, encoder (8 latents), decoder (one layer, r latents)."""

    def __init__(self, config: HypernetConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.modality_projection = GatedMLP(d, 4 * d, config.latent_size)
        self.encoder = Resampler(config, config.num_queries, config.num_blocks)
        self.decoder = Resampler(config, config.rank, 1)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return rank embeddings [N, r, d] of states [N, S, D]; mask bool [N, S] or None."""
        out: Tensor = self.decoder(self.encoder(self.modality_projection(states), mask))
        return out
