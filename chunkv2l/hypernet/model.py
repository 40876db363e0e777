"""Turn a clip's per-layer states into a code, and codes into adapters (docs/algorithm.md, steps 2–11)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter, largest
from chunkv2l.errors import InputError
from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.init import normal
from chunkv2l.hypernet.perceiver import Perceiver

INFERENCE_TOKENS = 8192
"""Without gradients, so many tokens go through the perceiver at once (four times as many on a GPU): the 4·D-wide
projection of a whole batch of clips, L × S tokens each, would take gigabytes."""


class Hypernetwork(nn.Module):
    """States of a frozen VLM over a clip, in; the clip's code and adapter, out.

    Each text block's states go through the same perceiver, which knows no block number; a matrix per block turns the
    rank embeddings into that block's factors. A fresh one makes adapters that are exactly zero (scaler_B, bias_B).
    Parameters are float32. Names are the released checkpoints'.
    """

    def __init__(self, config: HypernetConfig) -> None:
        super().__init__()
        self.config = config
        layers, d, rank = config.num_layers, config.latent_size, config.rank
        i, out = config.intermediate_size, config.hidden_size
        self.aggregator = nn.ModuleDict({"perceiver": Perceiver(config)})
        self.layers = nn.ModuleList([PreHead(d)])
        self.head = Head(layers, d, i + out, std=0.5 / math.sqrt(d + (i + out) * rank))
        self.bias_A = _named(normal(layers, rank, i, std=0.2 / math.sqrt(i * rank)))
        self.bias_B = _named(torch.zeros(layers, rank, out))
        self.scaler_A = _named(torch.ones(1, layers, rank, 1))
        self.scaler_B = _named(torch.zeros(1, layers, rank, 1))

    @property
    def scaling(self) -> float:
        """Return the factor of the adapters: 2·r^1.5 unless the configuration says otherwise; not divided by r."""
        given = self.config.scaling
        return 2.0 * float(self.config.rank) ** 1.5 if given is None else given

    @property
    def bias(self) -> Adapter:
        """Return the bias adapter, A [L, r, I], B [L, r, D]: constant, composed once (docs/algorithm.md, step 11)."""
        return Adapter(self.bias_A["down_proj"], self.bias_B["down_proj"], self.scaling)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Adapter:
        """Return `expand(encode(features, mask))`."""
        return self.expand(self.encode(features, mask))

    def encode(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the codes of clips (docs/algorithm.md, steps 2–8).

        Args:
            features: [B, L, S, D], index l is the input of text block l, over all tokens of the clip's prompt. In
                bfloat16 the perceiver runs in bfloat16 autocast and the rest in float32, as the reference's inference.
            mask: [B, S], nonzero where a token is real; None if all are, which is faster.

        Returns:
            float32 [B, L, r, d], each rank embedding of length 1.

        Raises:
            InputError: shapes that don't fit the configuration.
        """
        config = self.config
        if features.ndim != 4 or features.shape[1] != config.num_layers or features.shape[3] != config.hidden_size:
            raise InputError(
                f"The hypernetwork reads states [B, {config.num_layers}, S, {config.hidden_size}], "
                f"not {list(features.shape)}: it belongs to another model."
            )
        batch, layers, tokens, _ = features.shape
        if mask is not None:
            if mask.shape != (batch, tokens):
                raise InputError(f"The mask must be {[batch, tokens]}, not {list(mask.shape)}.")
            mask = mask != 0
        with self._precision(features):
            if mask is None or torch.is_grad_enabled() or features.device.type != "cpu":
                ranks = self._perceive(features, mask)
            else:
                ranks = self._perceive_alike(features, mask)
        ranks = ranks.view(batch, layers, config.rank, config.latent_size)
        for block in self.layers:
            ranks = block(ranks)
        ranks = ranks.float()
        codes: Tensor = ranks / torch.linalg.vector_norm(ranks, dim=-1, keepdim=True)
        return codes

    def expand(self, codes: Tensor, slots: Tensor | None = None) -> Adapter:
        """Return the adapters that codes stand for (docs/algorithm.md, steps 9–10).

        Args:
            codes: [..., L, r, d], or fewer ranks with `slots`.
            slots: integers [..., L, ranks] or [ranks]: which of the r rank slots each rank vector came from, since
                the scalers belong to slots. Ranks may then be of several codes, and so more than r. Without it the
                ranks are the first ones, in order.

        Returns:
            A [..., L, ranks, I], B [..., L, ranks, D].

        Raises:
            InputError: shapes that don't fit the configuration.
        """
        config = self.config
        if codes.ndim < 3 or codes.shape[-3] != config.num_layers or codes.shape[-1] != config.latent_size:
            raise InputError(
                f"The hypernetwork expands codes [..., {config.num_layers}, r, {config.latent_size}], "
                f"not {list(codes.shape)}: they belong to another model."
            )
        ranks = codes.shape[-2]
        if slots is None and ranks > config.rank:
            raise InputError(f"A code has at most {config.rank} ranks, not {ranks}.")
        # Scaling the codes instead of the factors saves a pass over the factors.
        scaled = [codes * _at(table["down_proj"][0], slots, codes) for table in (self.scaler_A, self.scaler_B)]
        a, b = (_per_layer(x, w) for x, w in zip(scaled, self.head.parts(config.intermediate_size), strict=True))
        return Adapter(a, b, self.scaling)

    def gram(self, codes: Tensor, weights: Tensor) -> Tensor:
        """Return a weighted sum of adapters in the space of codes; sums of grams stand for sums of adapters.

        Every factor is a rank vector times head[l], so Σ w Bᵀ A = H_Bᵀ G H_A with G = Σ w (s_B c)ᵀ (s_A c), s the
        scalers of the slots.

        Args:
            codes: [n, L, r, d]; ranks are the first ones, in order.
            weights: [n].

        Returns:
            G [L, d, d].
        """
        a, b = (codes * table["down_proj"][0][:, : codes.shape[-2]] for table in (self.scaler_A, self.scaler_B))
        a = a * weights[:, None, None, None]
        a, b = (x.transpose(0, 1).flatten(1, 2) for x in (a, b))  # [L, n · r, d]
        return torch.bmm(b.mT, a)

    def expand_gram(self, gram: Tensor) -> Adapter:
        """Return the adapter that a gram [L, d, d] stands for: d ranks, A [L, d, I], B [L, d, D]."""
        weight, i = self.head.weight, self.config.intermediate_size
        return Adapter(torch.bmm(gram, weight[..., :i]), weight[..., i:], self.scaling)

    @torch.no_grad()
    def truncate(self, codes: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """Keep the rank vectors that count most in the adapters: largest ‖a‖·‖b‖ of every block.

        Args:
            codes: [..., L, r, d].
            rank: how many to keep.

        Returns:
            codes [..., L, rank, d] and their slots, int64 [..., L, rank]: both are what `expand` needs.

        Raises:
            InputError: shapes that don't fit the configuration, a rank that isn't positive.
        """
        slots = largest(self.expand(codes), rank)
        return codes.gather(-2, slots[..., None].expand(*slots.shape, codes.shape[-1])), slots

    def _perceive_alike(self, features: Tensor, mask: Tensor) -> Tensor:
        """Perceive each group of clips with one mask without the padding, which on a CPU would take time."""
        patterns, group = torch.unique(mask, dim=0, return_inverse=True)
        parts: list[Tensor] = []
        for number, pattern in enumerate(patterns):
            members = features[group == number]
            parts.append(self._perceive(members if bool(pattern.all()) else members[:, :, pattern], None))
        order = group.argsort(stable=True).argsort()  # where each clip lies in the parts put together
        ranks = torch.cat([part.view(-1, features.shape[1], *part.shape[1:]) for part in parts])
        return ranks[order].flatten(0, 1)

    def _perceive(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return the rank embeddings [B·L, r, d] of features [B, L, S, D]; mask bool [B, S] or None."""
        sequences = features.flatten(0, 1)  # [B·L, S, D]
        if mask is not None:
            mask = mask.repeat_interleave(features.shape[1], dim=0)  # [B·L, S]
        perceiver = self.aggregator["perceiver"]
        if torch.is_grad_enabled():
            step = max(1, sequences.shape[0])
        else:
            tokens = INFERENCE_TOKENS * (1 if sequences.device.type == "cpu" else 4)
            step = max(1, tokens // max(1, sequences.shape[1]))
        starts = range(0, sequences.shape[0], step)
        parts = [perceiver(sequences[i : i + step], None if mask is None else mask[i : i + step]) for i in starts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _precision(self, x: Tensor) -> AbstractContextManager[object]:
        device = x.device.type
        if x.dtype in (torch.bfloat16, torch.float16) and not torch.is_autocast_enabled(device):
            return torch.autocast(device, dtype=x.dtype)
        return nullcontext()


class PreHead(nn.Module):
    """Compute x + LN(W silu(W LN(x))), shared by all text blocks (docs/algorithm.md, step 7)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.LayerNorm(size),
            nn.Identity(),  # the reference's dropout, always 0
            nn.Linear(size, 4 * size),
            nn.SiLU(),
            nn.Identity(),
            nn.Linear(4 * size, size),
            nn.LayerNorm(size),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.mlp(x)
        return out


class Head(nn.Module):
    """Hold a matrix per text block, [L, d, I + D], A's columns first (docs/algorithm.md, step 9)."""

    def __init__(self, layers: int, size: int, out: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(layers, size, out, std=std))
        self._lowered: tuple[object, tuple[Tensor, Tensor]] | None = None

    def parts(self, columns: int) -> tuple[Tensor, Tensor]:
        """Return the first `columns` columns and the others, [L, d, ·]; under a CPU's autocast in its precision."""
        weight = self.weight
        parts = weight[..., :columns], weight[..., columns:]
        # Cast once: autocast would cast for every batch of codes (docs/measurements.md#head-in-lower-precision).
        if weight.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or torch.is_grad_enabled():
            return parts
        dtype = torch.get_autocast_dtype("cpu")
        of = (columns, dtype, weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        if self._lowered is None or self._lowered[0] != of:
            self._lowered = of, (parts[0].to(dtype), parts[1].to(dtype))
        return self._lowered[1]


def _named(tensor: Tensor) -> nn.ParameterDict:
    return nn.ParameterDict({"down_proj": nn.Parameter(tensor)})


def _at(table: Tensor, slots: Tensor | None, codes: Tensor) -> Tensor:
    """Return the scalers [L, r, 1] at each rank vector of codes: [..., L, ranks, 1]."""
    if slots is None:
        return table[:, : codes.shape[-2]]
    slots = slots.to(device=table.device, dtype=torch.long).expand(codes.shape[:-1])
    return table[..., 0].expand(*slots.shape[:-1], -1).gather(-1, slots)[..., None]


def _per_layer(codes: Tensor, weight: Tensor) -> Tensor:
    """Multiply codes [..., L, r, d] by weight [L, d, out]: [..., L, r, out], one matrix product a layer."""
    leading, (layers, ranks, d) = codes.shape[:-3], codes.shape[-3:]
    n = leading.numel()
    flat = codes.reshape(n, layers, ranks, d).transpose(0, 1).reshape(layers, n * ranks, d)
    out = torch.bmm(flat, weight).view(layers, n, ranks, weight.shape[-1]).transpose(0, 1)
    return out.view(*leading, layers, ranks, weight.shape[-1])
