"""Compute the losses of a selector: segments are found by their codes, and answers come from gated ranks.

- find: each statement looks for its clips among some of the batch's, drawn at random or among those that the learned
  keys confuse; for some statements no right clip is among them, and "not there" is the answer;
- answer: compositions of several clips whose ranks are gated for the row's question; the VLM with the composed adapter
  is to give the answer.

Hypernetwork, keys and VLM are frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.hypernet.selector import Selector, Words
from chunkv2l.models.sentence.minilm import EncodeWords
from chunkv2l.train.clips.sentences import TextCache
from chunkv2l.train.core.losses import short_weight, token_nll
from chunkv2l.train.data.batches import Batch
from chunkv2l.train.data.nouns import NOUNS
from chunkv2l.train.stages.code_bank import CodeBank
from chunkv2l.train.stages.hypernet_stage import Figures, HypernetStage, name_bare, side_by_side

ABSENT: Final = 0.15
"""Share of statements whose right clips are left out."""
NAMES: Final = 48
"""Bare names that a batch's clips are looked for by, at most."""
ROWS: Final = 96
"""Rows of a batch of compositions, at most: each has an adapter of its own."""


@dataclass(frozen=True)
class SelectorSettings:
    """Sizes of a selector, and weights of the parts of its loss.

    Attributes:
        size: width in which words and slots are compared.
        dropout: share of words' and slots' values that training leaves out.
        takes: how often each training image is filmed; codes of all takes are kept in memory.
        texts: statements of a batch that look for their clips, at most.
        hard: share of batches in which a statement's clips are those that keys confuse.
        named: weight of bare names beside captions.
        sparsity: weight of the gates' mean absolute value.
        gated: keep the trained gates; otherwise they are 1 in the selector that is written.
    """

    size: int = 64
    dropout: float = 0.1
    takes: int = 3
    texts: int = 128
    hard: float = 0.5
    named: float = 0.4
    sparsity: float = 0.002
    gated: bool = True


class TrainedSelector(nn.Module):
    """The selector, and what "not there" weighs against all clips."""

    def __init__(self, selector: Selector) -> None:
        super().__init__()
        self.selector = selector
        self.absent = nn.Parameter(torch.zeros(()))


@dataclass(frozen=True)
class SelectorStage:
    """Compute the loss of a batch.

    Attributes:
        trained: what is trained.
        stage: the frozen parts.
        bank: codes and keys of the stage's images.
        words: texts -> the sentence encoder's states.
        names: what clips are looked for by name.
    """

    trained: TrainedSelector
    stage: HypernetStage
    bank: CodeBank
    words: WordEncoder
    generator: torch.Generator
    settings: SelectorSettings = SelectorSettings()
    names: tuple[str, ...] = NOUNS

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, Figures]:
        """Return the loss of a batch, and figures for the log."""
        batch = batch.to(self.stage.source.device)
        return self._answer(batch) if batch.objective == "compose" else self._find(batch)

    # ---- finding

    def _find(self, batch: Batch) -> tuple[Tensor, Figures]:
        codes, keys = self.bank.draw(batch.images, self.generator)
        texts = list(batch.said[: self.settings.texts])  # clips are in random order
        count = len(texts)
        right = torch.tensor([[a == b for b in batch.said] for a in texts], device=codes.device)  # [texts, clips]
        known = torch.ones_like(right)
        if batch.named is not None and batch.counted is not None and self.settings.named:
            which = self._drawn_names(batch.named)
            texts += [name_bare(self.names[number]) for number in which.tolist()]
            right = torch.cat([right, batch.named[:, which].T])
            known = torch.cat([known, batch.counted[:, which].T])
        words = self.words(texts)
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=codes.is_cuda):
            evidence = self.trained.selector(words, codes).evidence
        evidence = evidence.float()
        kept = self._kept(texts, keys, right, known)
        nce, hit = self._nce(evidence, right & kept, kept)
        weights = torch.ones(len(texts), device=codes.device)
        weights[count:] = self.settings.named * count / max(1, len(texts) - count)
        loss = (nce * weights).sum() / weights.sum()
        figures = {"find": nce[:count].mean().detach(), "found": hit[:count].float().mean()}
        if len(texts) > count:
            figures["named"] = nce[count:].mean().detach()
        return loss, figures

    def _drawn_names(self, named: Tensor) -> Tensor:
        """Return numbers of names, most of which some of the clips have."""
        there = named.any(0).float()
        chance = there + 0.1 * there.mean()
        count = min(NAMES, named.shape[1])
        return torch.multinomial(chance, count, generator=self.generator)

    def _kept(self, texts: list[str], keys: Tensor, right: Tensor, known: Tensor) -> Tensor:
        """Return which clips each statement is compared with, bool [texts, clips]: 2 … all of them."""
        count, device = right.shape[1], right.device
        exponent = torch.rand(len(right), 1, device=device, generator=self.generator)
        number = 2.0 * (count / 2.0) ** exponent  # [texts, 1]
        chance = torch.rand(right.shape, device=device, generator=self.generator)
        if float(torch.rand((), device=device, generator=self.generator)) < self.settings.hard:
            trained_keys = self.stage.trained.keys
            similarity = trained_keys.of_sentences(self.stage.sentences(texts)).detach() @ keys.T.float()
            similarity = similarity * trained_keys.log_scale.exp().detach()
            noise = -(-chance.clamp(1e-6, 1 - 1e-6).log()).log()
            order = (-(similarity + noise)).argsort(1).argsort(1)
        else:
            order = chance.argsort(1).argsort(1)
        kept = (order < number) & known
        absent = torch.rand(len(right), 1, device=device, generator=self.generator) < ABSENT
        return torch.where(right, ~absent, kept)

    def _nce(self, evidence: Tensor, right: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return −log p of a right clip, or of "not there" where none is kept, and whether it is likeliest: [texts]."""
        scores = evidence.masked_fill(~kept, -torch.inf)
        absent = self.trained.absent + kept.sum(1).clamp(min=1).float().log()
        everything = torch.cat([scores, absent[:, None]], dim=1)
        target = torch.cat([right, ~right.any(1, keepdim=True)], dim=1)
        log_p = everything.log_softmax(1)
        nce = -log_p.masked_fill(~target, -torch.inf).logsumexp(1)
        hit = target.gather(1, everything.argmax(1, keepdim=True))[:, 0]
        return nce, hit

    # ---- answering

    def _answer(self, batch: Batch) -> tuple[Tensor, Figures]:
        codes, _ = self.bank.draw(batch.images, self.generator)
        parts, groups = batch.parts, len(batch.images) // batch.parts
        rows = torch.arange(len(batch.owner), device=codes.device)
        if len(rows) > ROWS:
            rows = torch.randperm(len(rows), device=codes.device, generator=self.generator)[:ROWS].sort().values
        owner = batch.owner[rows]
        group = owner // parts
        gates = self.gates([batch.asked[row] for row in rows.tolist()], codes, group, parts)  # [Q, parts, L, r]
        right = F.one_hot(owner % parts, parts).float()
        noise = torch.randn(right.shape, device=codes.device, generator=self.generator)
        weights = (2.5 * right + noise).softmax(-1)
        a, b = self.stage.factors(codes.float())  # [clips, L, r, ·]
        composed = self.compose(a, b, group, weights, gates, groups, parts)
        hidden = self.stage.answer(batch.ids[rows], *self.stage.with_bias(*composed))
        values, row = token_nll(hidden, self.stage.decoder.head, batch.labels[rows])
        short = short_weight(batch.labels[rows], row, self.stage.weights.short)
        nll = (values * short).sum() / short.sum()
        size = gates.abs().mean()
        loss = nll + self.settings.sparsity * size
        return loss, {"answer": nll.detach(), "gate": size.detach(), "gates' spread": gates.std().detach()}

    def gates(self, statements: list[str], codes: Tensor, group: Tensor, parts: int) -> Tensor:
        """Return each row's gates of its group's clips, [Q, parts, L, r].

        Args:
            codes: [groups · parts, L, r, d].
            group: [Q], each row's group.
        """
        selector = self.trained.selector
        words = self.words(statements)
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=codes.is_cuda):
            everything: Tensor = selector(words, codes).gates  # [Q, clips, L, r]
        clips = group[:, None] * parts + torch.arange(parts, device=codes.device)
        index = clips[:, :, None, None].expand(-1, -1, *everything.shape[2:])
        return everything.gather(1, index).float()

    def compose(
        self, a: Tensor, b: Tensor, group: Tensor, weights: Tensor, gates: Tensor, groups: int, parts: int
    ) -> tuple[Tensor, Tensor]:
        """Return each row's composition, A and scaling · B [Q, L, parts · r, ·]."""
        factors = (weights[:, :, None, None] * gates).to(a.dtype)[..., None]
        grouped_a, grouped_b = (t.view(groups, parts, *t.shape[1:])[group] for t in (a, b))
        return side_by_side(grouped_a * factors), side_by_side(grouped_b)


class WordEncoder:
    """Encode texts as the states of their words, each text once."""

    def __init__(self, encode: EncodeWords) -> None:
        self._encode = encode
        self._states = TextCache(self._read)

    def _read(self, texts: list[str]) -> Iterator[Tensor]:
        """Yield each text's states [S, D], fp16."""
        for first in range(0, len(texts), 256):
            states, mask = self._encode(texts[first : first + 256])
            yield from (row[real != 0].half() for row, real in zip(states, mask, strict=True))

    def __call__(self, texts: list[str]) -> Words:
        """Return states [n, S, D] and mask [n, S], right-padded."""
        rows = self._states(texts)
        longest = max(len(row) for row in rows)
        states = torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], device=states.device)
        return Words(states.float(), (torch.arange(longest, device=states.device) < lengths[:, None]).long())
