"""Stage 2: the hypernetwork learns to internalise clips, to be composed, and to be found; the VLM is frozen.

- internalise: cross-entropy on text with zero visual tokens (arXiv 2606.04351), and the distribution of the same VLM
  with the frames in context as a second target;
- compose: 2 … 8 clips' adapters side by side, weighted as the policies do, the bias once; one clip answers;
- find: symmetric InfoNCE over the matrix of router scores (clips × texts), and over learned keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet import Hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.train.batches import Batch
from chunkv2l.train.decoder import Decoder, Runner, forward
from chunkv2l.train.features import FeatureBank
from chunkv2l.train.losses import distil, info_nce, row_sums, token_nll
from chunkv2l.train.vlm_stage import Sight
from chunkv2l.vlm.mini_parts import unit_states

Figures = dict[str, Tensor]


class Trained(nn.Module):
    """Everything that stage 2 trains."""

    def __init__(self, hypernet: Hypernetwork) -> None:
        super().__init__()
        c = hypernet.config
        self.hypernet = hypernet
        self.keys = Keys(c.num_layers, c.rank, c.latent_size, c.hidden_size)
        self.log_temperature = nn.Parameter(torch.tensor(0.0))


@dataclass(frozen=True)
class HypernetStage:
    trained: Trained
    decoder: Decoder
    bank: FeatureBank
    sight: Sight
    tail: Tensor
    """ids that close the clip's turn when its states are read"""
    generator: torch.Generator
    runner: Runner
    distil: float = 0.5
    find: float = 0.3

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, Figures]:
        batch = batch.to(self.bank.first.device)
        with torch.no_grad():
            prefix = self.sight.prefix(self.bank.clips(batch.images, batch.frames, self.generator))
            states = read_states(self.decoder, prefix, self.tail, self.runner)
        with torch.autocast(states.device.type, torch.bfloat16):
            codes = self.trained.hypernet.encode(states)
        a, b = self._factors(codes)
        if batch.kind == "internalise":
            return self._internalise(batch, prefix, a, b)
        if batch.kind == "compose":
            return self._compose(batch, a, b)
        return self._find(batch, codes, a, b)

    def _factors(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """A [B, L, r, I] and scaling · B [B, L, r, D] in the decoder's precision."""
        with torch.autocast(codes.device.type, torch.bfloat16):
            adapter = self.trained.hypernet.expand(codes)
        dtype = self.decoder.embedding.dtype
        return adapter.A.to(dtype), (adapter.B * adapter.scaling).to(dtype)

    def bias(self, count: int) -> tuple[Tensor, Tensor]:
        bias, dtype = self.trained.hypernet.bias, self.decoder.embedding.dtype
        return bias.A.to(dtype).expand(count, -1, -1, -1), (bias.B * bias.scaling).to(dtype).expand(count, -1, -1, -1)

    def with_bias(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        bias_a, bias_b = self.bias(a.shape[0])
        return torch.cat([a, bias_a], dim=2), torch.cat([b, bias_b], dim=2)

    def answer(self, ids: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Output states of text-only rows; each adapter serves the same number of consecutive rows."""
        return forward(self.decoder, self.decoder.embed(ids), a, b, runner=self.runner)[0]

    def _internalise(self, batch: Batch, prefix: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Figures]:
        hidden = self.answer(batch.ids, *self.with_bias(a, b))
        nll = token_nll(hidden, self.decoder.head, batch.labels)[0].mean()
        figures = {"internalise": nll.detach()}
        loss = nll
        if self.distil and batch.draw % 2:
            with torch.no_grad():
                teacher = self.sight.behind(prefix, batch.owner, batch.behind_ids, self.runner, self.decoder)
            kl = distil(hidden, teacher, self.decoder.head, batch.labels, batch.behind_labels)
            loss = (1 - self.distil) * nll + self.distil * kl
            figures["distil"] = kl.detach()
        return loss, figures

    def _compose(self, batch: Batch, a: Tensor, b: Tensor) -> tuple[Tensor, Figures]:
        groups, parts = a.shape[0] // batch.parts, batch.parts
        rows = batch.owner.shape[0] // groups
        way = batch.draw % 5
        if way < 3:  # one composition a group: all at weight 1, or all at 1 / k
            weight = 1.0 if way < 2 else 1.0 / parts
            a, b = (_grouped(t, groups, parts).transpose(1, 2).flatten(2, 3) for t in (a * weight, b))
        else:  # a composition a row: a router that mostly, but not always, trusts the right clip
            owner = F.one_hot(batch.owner % parts, parts).float()  # [Q, N]
            noise = torch.randn(owner.shape, device=a.device, generator=self.generator)
            weights = (2.0 * owner + noise).softmax(-1).to(a.dtype)
            group = torch.arange(groups, device=a.device).repeat_interleave(rows)
            chosen = _grouped(a, groups, parts)[group] * weights[:, :, None, None, None]
            a = chosen.transpose(1, 2).flatten(2, 3)
            b = _grouped(b, groups, parts)[group].transpose(1, 2).flatten(2, 3)
        hidden = self.answer(batch.ids, *self.with_bias(a, b))
        nll = token_nll(hidden, self.decoder.head, batch.labels)[0].mean()
        return nll, {f"compose_{'sum' if way < 2 else 'mean' if way == 2 else 'route'}": nll.detach()}

    def _find(self, batch: Batch, codes: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Figures]:
        count = a.shape[0]
        ids, labels = batch.ids.repeat(count, 1), batch.labels.repeat(count, 1)
        hidden = self.answer(ids, *self.with_bias(a, b))
        own = torch.arange(count, device=ids.device) * (count + 1)
        nll, row = token_nll(hidden, self.decoder.head, labels)
        matrix = -row_sums(nll, row, count * count).view(count, count)  # log p of text j under clip i
        blank = self.answer(batch.ids, *self.bias(count))
        prior, prior_row = token_nll(blank, self.decoder.head, batch.labels)
        tokens = (batch.labels != -100).sum(1)
        scores = (matrix + row_sums(prior, prior_row, count)) / tokens.sqrt()
        nce = info_nce(scores, self.trained.log_temperature.exp())
        spoken = (batch.labels != -100).unsqueeze(-1)
        states = (blank.float() * spoken).sum(1) / spoken.sum(1)
        keys = self.trained.keys
        similarity = keys.of_codes(codes) @ keys.of_states(states).T
        key_nce = info_nce(similarity * keys.log_scale.exp(), 1.0)
        caption = -matrix.flatten()[own].sum() / tokens.sum()
        right = torch.arange(count, device=ids.device)
        figures = {
            "find": nce.detach(),
            "found": (scores.argmax(0) == right).float().mean(),
            "key": key_nce.detach(),
            "key_found": (similarity.argmax(0) == right).float().mean(),
        }
        return self.find * nce + 0.1 * key_nce + 0.5 * caption, figures


def read_states(decoder: Decoder, prefix: Tensor, tail: Tensor, runner: Runner) -> Tensor:
    """What the hypernetwork reads: the input of every text block, each state over its root mean square.

    Args:
        prefix: [B, P, D], opening and visual tokens.
        tail: [t] ids.

    Returns:
        [B, L, P + t, D] in the decoder's precision.
    """
    tokens = decoder.embed(tail).expand(prefix.shape[0], -1, -1)
    _, states = forward(decoder, torch.cat([prefix, tokens], dim=1), states=True, runner=runner)
    assert states is not None
    return unit_states(states)


def _grouped(x: Tensor, groups: int, parts: int) -> Tensor:
    """[groups · parts, …] → [groups, parts, …]."""
    return x.view(groups, parts, *x.shape[1:])
