"""Compute a Llama without transformers: `mini`'s language model on CPUs.

Importing transformers' Llama takes longer than loading its weights, and a question is so short that what transformers
does around the matrix products counts. Names, call signatures and numbers (but for rounding; a test compares them) are
those of `LlamaForCausalLM`, so that whatever takes one apart (`TextDecoder`, `inject`, `train`) takes this one as well.
Frozen weights only, rows padded on the right only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Sizes:
    """The sizes of a Llama, under the names that transformers' configurations have for them."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float

    @property
    def head_dim(self) -> int:
        """Return h, the width of an attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def hidden_act(self) -> str:
        """Return the only activation there is."""
        return "silu"

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """Return the only form of rotary embeddings there is."""
        return {"rope_type": "default", "rope_theta": self.rope_theta}


@dataclass(frozen=True)
class States:
    """The normed output [B, S, D]; on request every block's input and, last, the normed output."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Logits:
    """Logits [B, S, V]."""

    logits: Tensor


class Norm(nn.Module):
    """Divide x by its root mean square, in float32, and multiply by a weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, None, self.eps).to(x.dtype) * self.weight


class Rotary(nn.Module):
    """Compute cosines and sines [B, S, h] of positions [B, S]; the second half of h repeats the first."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._width, self._theta = sizes.head_dim, sizes.rope_theta

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.arange(0, self._width, 2, dtype=torch.float32, device=x.device) / self._width
        angles = position_ids[..., None].float() * (1.0 / self._theta**steps)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class Attention(nn.Module):
    """Attend with grouped queries."""

    def __init__(self, sizes: Sizes, number: int) -> None:
        super().__init__()
        self._number, self._width = number, sizes.head_dim
        self._each = sizes.num_attention_heads // sizes.num_key_value_heads
        size, kept = sizes.hidden_size, sizes.num_key_value_heads * sizes.head_dim
        self.q_proj = nn.Linear(size, size, bias=False)
        self.k_proj = nn.Linear(size, kept, bias=False)
        self.v_proj = nn.Linear(size, kept, bias=False)
        self.o_proj = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, cache: Any) -> Tensor:
        x = x.to(self.q_proj.weight.dtype)  # once: autocast would do it for every matrix
        shape = (*x.shape[:-1], -1, self._width)
        q, k, v = (linear(x).view(shape).transpose(1, 2) for linear in (self.q_proj, self.k_proj, self.v_proj))
        q, k = _rotate(q, *rotary), _rotate(k, *rotary)
        if cache is not None:
            k, v = cache.update(k, v, self._number)
        causal = mask is None and x.shape[1] > 1
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=self._each > 1)
        out: Tensor = self.o_proj(heads.transpose(1, 2).flatten(2))
        return out


class Gated(nn.Module):
    """Compute down(silu(gate x) · up x)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(sizes.hidden_size, sizes.intermediate_size, bias=False)
        self.up_proj = nn.Linear(sizes.hidden_size, sizes.intermediate_size, bias=False)
        self.down_proj = nn.Linear(sizes.intermediate_size, sizes.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.gate_proj.weight.dtype)
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """Add attention and MLP, each of the normed input, to x."""

    def __init__(self, sizes: Sizes, number: int) -> None:
        super().__init__()
        self.self_attn = Attention(sizes, number)
        self.mlp = Gated(sizes)
        self.input_layernorm = Norm(sizes.hidden_size, sizes.rms_norm_eps)
        self.post_attention_layernorm = Norm(sizes.hidden_size, sizes.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        cache: Any = None,
    ) -> Tensor:
        """Return [B, S, D] of x [B, S, D]; mask bool [B, 1, S, tokens in the cache + S], None for a causal one."""
        assert position_embeddings is not None
        x = x + self.self_attn(self.input_layernorm(x), position_embeddings, attention_mask, cache)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Llama(nn.Module):
    """The text model: from embedded tokens [B, S, D] to `States`."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.config = sizes
        table = torch.empty(sizes.vocab_size, sizes.hidden_size)  # beginning at random would import torch's compiler
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.hidden_size, _weight=table)
        self.layers = nn.ModuleList(Block(sizes, number) for number in range(sizes.num_hidden_layers))
        self.norm = Norm(sizes.hidden_size, sizes.rms_norm_eps)
        self.rotary_emb = Rotary(sizes)

    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
    ) -> States:
        """Read embedded tokens [B, S, D].

        Args:
            attention_mask: [B, tokens in the cache + S], 1 where a token is real; None if all are.
            position_ids: [B, S] or [1, S]; None for what follows the cache.
            cache: what is read before, added to: a `KeyValueCache` or a cache of transformers.
        """
        x, (tokens, past) = inputs_embeds, (inputs_embeds.shape[1], 0)
        if cache is not None:
            past = cache.get_seq_length()
        order = torch.arange(past, past + tokens, device=x.device)[None]
        mask = None  # what is padded on the right is behind what is real, which doesn't look there
        if past:
            mask = torch.arange(past + tokens, device=x.device) <= order[0, :, None]
            if attention_mask is not None:
                mask = mask & (attention_mask != 0)[:, None, None]
        rotary = self.rotary_emb(x, order if position_ids is None else position_ids)
        states = []
        for block in self.layers:
            states.append(x)
            x = block(x, mask, position_embeddings=rotary, cache=cache)
        x = self.norm(x)
        return States(x, (*states, x) if output_hidden_states else None)


class Language(nn.Module):
    """The text model and its head.

    Args:
        full: makes the same model as transformers has it, around the same weights; `LlamaForCausalLM` is needed where
            it is written as a folder.
    """

    def __init__(self, sizes: Sizes, full: Callable[[dict[str, Tensor]], Any]) -> None:
        super().__init__()
        self.config = sizes
        self.model = Llama(sizes)
        self.lm_head = nn.Linear(sizes.hidden_size, sizes.vocab_size, bias=False)
        self._full = full

    def forward(self, input_ids: Tensor) -> Logits:
        """Return the logits of token ids [B, S]."""
        return Logits(self.lm_head(self.model(self.model.embed_tokens(input_ids)).last_hidden_state))

    def save_pretrained(self, folder: Any) -> None:
        """Write the model as transformers writes it."""
        self._full(dict(self.state_dict())).save_pretrained(folder)


class KeyValueCache:
    """Keep keys and values for answering, as `Llama` and `greedy` use transformers' `DynamicCache`."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def get_seq_length(self) -> int:
        """Return how many tokens it holds."""
        return self._kept[0][0].shape[2] if self._kept else 0

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add a block's new keys and values [B, heads, S, h]; return all of them."""
        if layer in self._kept:
            keys, values = (torch.cat(pair, dim=2) for pair in zip(self._kept[layer], (keys, values), strict=True))
        self._kept[layer] = (keys, values)
        return keys, values

    def batch_select_indices(self, rows: Tensor) -> None:
        """Keep these rows only."""
        self._kept = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self._kept.items()}


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate heads [B, heads, S, h] by their positions' angles."""
    first, second = x.chunk(2, dim=-1)
    return x * cosines[:, None] + torch.cat([-second, first], dim=-1) * sines[:, None]
