"""Train a LoRA by which the language model reads visual tokens; it is merged when `mini` is loaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.train.core.decoder import Block, Decoder

MATRICES = ("qkv", "out", "gate_up", "down")


class DecoderLora(nn.Module):
    """Hold rank factors for the four (fused) matrices of every text block: W + B A, B zero at first (Hu et al.
    2021)."""

    def __init__(self, decoder: Decoder, rank: int) -> None:
        super().__init__()
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        for name in MATRICES:
            out_size, in_size = getattr(decoder.blocks[0], name).shape
            count = len(decoder.blocks)
            self.down[name] = nn.Parameter(torch.randn(count, rank, in_size) * in_size**-0.5)
            self.up[name] = nn.Parameter(torch.zeros(count, out_size, rank))

    def apply_to(self, decoder: Decoder, drop: float = 0.0) -> Decoder:
        """Return the decoder with the LoRA added to its weights; gradients flow to the factors.

        Args:
            drop: share of ranks that are left out, drawn for each matrix.
        """
        deltas: dict[str, Tensor] = {}
        for name in MATRICES:
            down = self.down[name]
            if drop:
                down = down * F.dropout(torch.ones_like(down[..., :1]), drop)
            deltas[name] = torch.bmm(self.up[name], down).to(decoder.embedding.dtype)
        return decoder.with_blocks(
            [
                Block(
                    block.norm1,
                    block.qkv + deltas["qkv"][i],
                    block.out + deltas["out"][i],
                    block.norm2,
                    block.gate_up + deltas["gate_up"][i],
                    block.down + deltas["down"][i],
                )
                for i, block in enumerate(decoder.blocks)
            ]
        )
