"""Choose rank slots for a statement, from segments' codes alone: no adapter is tried (docs/algorithm.md, step 24).

A code is L × r vectors, one a rank slot. Words of the statement look for slots that answer to them (late interaction,
as ColBERT's between words of a question and words of a text, arXiv 2004.12832): that gives each segment an evidence,
from which its probability follows, and each slot a gate by which its rank is made stronger, weaker or negative.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet.config import HypernetConfig
from chunkv2l.hypernet.init import normal
from chunkv2l.hypernet.keys import SENTENCE

SIZE: Final = 64
"""Width in which words and slots are compared."""
MOST_GATE: Final = 2.0
"""Gates lie between 1 − MOST_GATE and 1 + MOST_GATE, so a rank may be turned around."""


class Words(NamedTuple):
    """Statements as the sentence encoder's states.

    Attributes:
        states: [T, S, SENTENCE].
        mask: [T, S], 1 where a word is real.
    """

    states: Tensor
    mask: Tensor


class Selection(NamedTuple):
    """Hold what a selector makes of T statements and M segments.

    Attributes:
        evidence: how well segment m answers to statement t, [T, M], in the scale of logits.
        gates: factors of the rank slots, [T, M, L, r]; 1 leaves a rank as it is.
    """

    evidence: Tensor
    gates: Tensor


class Selector(nn.Module):
    """Compare statements' words with segments' rank slots.

    Args:
        config: of the hypernetwork whose codes are compared.
        size: width in which words and slots are compared.
        dropout: share of words' and slots' values that training leaves out.
    """

    def __init__(self, config: HypernetConfig, size: int = SIZE, dropout: float = 0.0) -> None:
        super().__init__()
        layers, rank, d = config.num_layers, config.rank, config.latent_size
        self.layers, self.rank, self.size, self.dropout = layers, rank, size, dropout
        self.slot_norm = nn.LayerNorm(d)
        self.slot = nn.Parameter(normal(layers, d, 2 * size, std=d**-0.5))
        self.slot_bias = nn.Parameter(torch.zeros(layers, rank, 2 * size))
        self.word_norm = nn.LayerNorm(SENTENCE)
        self.word = nn.Linear(SENTENCE, 2 * size, bias=False)
        self.importance = nn.Linear(SENTENCE, 1)
        self.generic = nn.Linear(size, 1)
        self.gate_scale = nn.Parameter(torch.zeros(()))
        self.gate_bias = nn.Parameter(torch.zeros(layers, rank))
        self.gate_word = nn.Linear(SENTENCE, layers * rank, bias=False)
        nn.init.zeros_(self.gate_word.weight)
        self.log_scale = nn.Parameter(torch.tensor([math.log(4.0), math.log(4.0)]))

    @torch.no_grad()
    def reset_gates(self) -> None:
        """Make every gate 1 again, as in a fresh selector."""
        self.gate_scale.zero_()
        self.gate_bias.zero_()
        self.gate_word.weight.zero_()

    def slots(self, codes: Tensor) -> Tensor:
        """Return what words are compared with: [M, L · r, 2 · size] of codes [M, L, r, d]."""
        projected = torch.einsum("mlrd,lds->mlrs", self._dropped(self.slot_norm(codes.float())), self.slot)
        return (projected + self.slot_bias).flatten(1, 2)

    def forward(self, words: Words, codes: Tensor) -> Selection:
        """Return the evidence and the gates of segments with codes [M, L, r, d], for each of T statements."""
        return self.compare(words, self.slots(codes))

    def compare(self, words: Words, slots: Tensor) -> Selection:
        """Return what `forward` does, from `slots` [M, L · r, 2 · size]."""
        normed = self._dropped(self.word_norm(words.states.float()))
        asked, looked = self.word(normed).chunk(2, dim=-1)  # [T, S, size] each
        keys, values = slots.chunk(2, dim=-1)  # [M, K, size] each
        importance = self.importance(normed)[..., 0].masked_fill(words.mask == 0, -torch.inf).softmax(-1)  # [T, S]
        sharp, scale = self.log_scale.exp().unbind()
        fit = torch.einsum("tsc,mkc->tmsk", F.normalize(asked, dim=-1), F.normalize(keys, dim=-1)).float() * sharp
        attended = torch.einsum("tmsk,mkc->tmsc", fit.softmax(-1), F.normalize(values, dim=-1))
        match = torch.einsum("tmsc,tsc->tms", attended, F.normalize(looked, dim=-1)) * scale
        match = match + fit.logsumexp(-1) - math.log(fit.shape[-1])
        evidence = torch.einsum("tms,ts->tm", match, importance) * scale + self.generic(keys.mean(1))[:, 0]
        about = torch.einsum("tmsk,ts->tmk", fit, importance)
        about = (about - about.mean(-1, keepdim=True)) * self.gate_scale
        sentence = torch.einsum("tsc,ts->tc", normed, importance)
        gates = about + (self.gate_word(sentence) + self.gate_bias.flatten())[:, None]
        gates = 1.0 + MOST_GATE * torch.tanh(gates / MOST_GATE)
        return Selection(evidence, gates.view(*gates.shape[:-1], self.layers, self.rank))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
